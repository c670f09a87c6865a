"""The persistent definition of a domain, as XML: one device more in it, or one less."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from kvmlab.domain.description import Domain
from kvmlab.domain.diff import with_device
from kvmlab.domain.interface import HostDevice, Interface, alias_for

_ALIAS_START = alias_for("")


def defined_with(domain_xml: str, device_xml: str, mac: str) -> str:
    """Return the definition with the device, under the alias by which kvmlab finds it again.

    Raises:
        OutputError: one of the two is not XML of a domain or of an interface.
    """
    kind = HostDevice if device_xml.lstrip().startswith("<hostdev") else Interface
    device = kind.parse(device_xml)
    device.alias = alias_for(mac)
    return with_device(domain_xml, device).xml()


def is_defined(domain_xml: str, mac: str) -> bool:
    """Return True if the definition has kvmlab's device of that MAC."""
    return next(_devices(Domain.parse(domain_xml), mac), None) is not None


def macs_of_ours(domain_xml: str) -> tuple[str, ...]:
    """Return the MACs of those devices in the definition that carry kvmlab's alias."""
    names = (
        str(node.get("name")) for node in Domain.parse(domain_xml).node.iterfind("devices/*/alias")
    )
    digits = (name.removeprefix(_ALIAS_START) for name in names if name.startswith(_ALIAS_START))
    return tuple(
        ":".join(text[at : at + 2] for at in range(0, 12, 2)) for text in digits if len(text) == 12
    )


def defined_without(domain_xml: str, mac: str, *, controllers: frozenset[str] | None) -> str:
    """Return the definition without kvmlab's device of that MAC, and with no other ``controllers``.

    libvirt adds a port of its own for a device that finds none free. None keeps them all.
    """
    domain = Domain.parse(domain_xml)
    for node in _devices(domain, mac):
        _drop(node)
    if controllers is not None:
        for node in domain.node.findall("devices/controller"):
            if _controller_name(node) not in controllers:
                _drop(node)
    return domain.xml()


def controllers_of(domain_xml: str) -> frozenset[str]:
    """Return the definition's controllers, each as "pci 4"."""
    nodes = Domain.parse(domain_xml).node.iterfind("devices/controller")
    return frozenset(_controller_name(node) for node in nodes)


def same(one: str, other: str) -> bool:
    """Return True if two definitions differ in nothing but blanks."""
    return Domain.parse(one).xml() == Domain.parse(other).xml()


def _devices(domain: Domain, mac: str) -> Iterator[etree._Element]:
    # By the alias alone: a card of the user's own is left, whatever its MAC.
    for node in domain.node.findall("devices/*"):
        alias = node.find("alias")
        if alias is not None and alias.get("name") == alias_for(mac):
            yield node


def _controller_name(node: etree._Element) -> str:
    return f"{node.get('type')} {node.get('index')}"


def _drop(node: etree._Element) -> None:
    parent = node.getparent()
    assert parent is not None
    parent.remove(node)
    if not len(parent):
        parent.text = None
