"""The difference between two states of a domain's XML."""

from __future__ import annotations

import difflib

from lxml import etree

from kvmlab.domain.declared_xml import Element
from kvmlab.domain.description import Domain


def unified(before: str, after: str, *, name: str) -> str:
    """Return a unified diff of two XML texts, with three lines of context."""
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            f"{name} before",
            f"{name} after",
        )
    )


def diff_of_attaching(domain_xml: str | None, device: Element) -> str:
    """Return the diff of attaching ``device`` to a domain; without a domain, the device alone."""
    if domain_xml is None:
        return unified("", device.xml(), name=device.tag)
    before = Domain.parse(domain_xml)
    after = with_device(domain_xml, device)
    return unified(before.xml(), after.xml(), name=f"domain {before.name}")


def with_device(domain_xml: str, device: Element) -> Domain:
    """Return the domain with ``device`` in it."""
    after = Domain.parse(domain_xml)
    added = etree.fromstring(device.xml())
    # Where libvirt itself will show it: behind its own kind, else before the serial ports.
    same = after.node.findall(f"devices/{device.tag}")
    later = next(
        (
            n
            for tag in ("serial", "console", "channel")
            for n in after.node.iterfind(f"devices/{tag}")
        ),
        None,
    )
    if same:
        same[-1].addnext(added)
    elif later is not None:
        later.addprevious(added)
    else:
        after.add("devices", type(device)(added))
    return after
