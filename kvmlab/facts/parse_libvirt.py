"""Parsers of libvirt's documents and numbers."""

from __future__ import annotations

from lxml import etree

from kvmlab.errors import OutputError
from kvmlab.facts.types import DomainCapabilities


def parse_domain_capabilities(text: str) -> DomainCapabilities:
    """What a domain may have, from virConnectGetDomainCapabilities.

    ::

        <domainCapabilities>
          <path>/usr/bin/qemu-system-x86_64</path>
          <domain>kvm</domain>
          <machine>pc-i440fx-10.0</machine>
          <arch>x86_64</arch>
          <vcpu max='255'/>
          <cpu><mode name='host-passthrough' supported='yes'/>…</cpu>
          <devices>
            <interface supported='yes'><enum name='backendType'><value>default</value>…
            <hostdev supported='yes'><enum name='subsysType'><value>pci</value>…

    Raises:
        OutputError: it is no such document.
    """
    try:
        root = etree.fromstring(text.encode())
    except etree.XMLSyntaxError as error:
        raise OutputError(
            "libvirt's domain capabilities are no XML.", evidence=text[:400]
        ) from error
    if root.tag != "domainCapabilities":
        raise OutputError(
            "libvirt's domain capabilities could not be understood.", evidence=text[:400]
        )

    def value(path: str) -> str:
        return root.findtext(path) or ""

    def values(path: str) -> tuple[str, ...]:
        return tuple(str(found.text) for found in root.findall(f"{path}/value") if found.text)

    vcpu = root.find("vcpu")
    vcpus_max = vcpu.get("max", "0") if vcpu is not None else "0"
    hostdev = "devices/hostdev[@supported='yes']/enum[@name='subsysType']"
    return DomainCapabilities(
        emulator=value("path"),
        virt_type=value("domain"),
        machine=value("machine"),
        architecture=value("arch"),
        vcpus_max=int(vcpus_max) if vcpus_max.isdecimal() else 0,
        cpu_modes=tuple(
            mode.get("name", "") for mode in root.findall("cpu/mode[@supported='yes']")
        ),
        pci_hostdev="pci" in values(hostdev),
        interface_backends=values("devices/interface/enum[@name='backendType']"),
    )


def parse_domain_type(text: str) -> str:
    """The accelerator of a domain: "kvm" from ``<domain type='kvm' id='1'>…``.

    Raises:
        OutputError: it is no domain's XML.
    """
    try:
        root = etree.fromstring(text.encode())
    except etree.XMLSyntaxError as error:
        raise OutputError("A domain's XML is damaged.", evidence=text[:400]) from error
    if root.tag != "domain":
        raise OutputError("A domain's XML could not be understood.", evidence=text[:400])
    return str(root.get("type", ""))


def version_text(number: int) -> str:
    """Version numbers of libvirt as people write them.

    >>> version_text(11003000)
    '11.3.0'
    """
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
