"""Facts from libvirt: its versions, capabilities and running guests."""

from __future__ import annotations

from typing import Any

from lxml import etree

from kvmlab.errors import (
    DomainNotFound,
    HostError,
    KvmlabError,
    LibvirtFailed,
    OutputError,
    Unavailable,
)
from kvmlab.facts.types import DomainCapabilities, DomainUse, LibvirtFacts
from kvmlab.hosts import Host, libvirt_client


def read_libvirt(host: Host) -> LibvirtFacts:
    """Read versions, capabilities and running guests; ``problem`` says why they are unknown.

    Raises:
        OutputError: libvirt's documents are not what libvirt prints.
    """
    try:
        connection = host.libvirt
        version = libvirt_client.call(connection.getLibVersion, what="tell its version")
        kvm_guests, domains = _running_domains(connection)
        return LibvirtFacts(
            uri=libvirt_client.call(connection.getURI, what="tell its URI").partition("?")[0],
            version=version_text(version),
            qemu_version=version_text(
                libvirt_client.call(connection.getVersion, what="tell QEMU's version")
            ),
            capabilities=_capabilities(connection),
            kvm_guests=kvm_guests,
            domains=domains,
        )
    except (HostError, Unavailable) as error:
        return LibvirtFacts(uri=host.libvirt_uri.partition("?")[0], problem=_one_line(error))


def _capabilities(connection: Any) -> DomainCapabilities | None:
    """Return the capabilities for KVM, or for emulation where libvirt sees no KVM."""
    for virt_type in ("kvm", "qemu"):
        try:
            return parse_domain_capabilities(
                libvirt_client.call(
                    connection.getDomainCapabilities,
                    None,
                    None,
                    None,
                    virt_type,
                    what=f"list what {virt_type} domains may have",
                )
            )
        except LibvirtFailed:
            continue
    return None


def _running_domains(connection: Any) -> tuple[tuple[str, ...], tuple[DomainUse, ...]]:
    """Return domains that run under KVM, or did until suspended, and what all use of the host.

    The former are KVM's cheapest proof.
    """
    libvirt = libvirt_client.library()
    flags = libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING | libvirt.VIR_CONNECT_LIST_DOMAINS_PAUSED
    names = []
    uses = []
    for domain in libvirt_client.call(
        connection.listAllDomains, flags, what="list the running domains"
    ):
        try:
            state, reason = libvirt_client.call(domain.state, what="tell a domain's state")
            text = libvirt_client.call(domain.XMLDesc, 0, what="describe a domain")
        except (DomainNotFound, LibvirtFailed):
            continue  # it ended in the meantime
        # A guest that KVM cannot run is paused, too, but not by its user.
        suspended = (state, reason) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
        lives = state == libvirt.VIR_DOMAIN_RUNNING or suspended
        if lives and parse_domain_type(text) == "kvm":
            names.append(domain.name())
        uses.append(parse_domain_use(text))
    return tuple(sorted(names)), tuple(sorted(uses, key=lambda use: use.name))


def _one_line(error: KvmlabError) -> str:
    return f"{error.message} {error.todo}".strip()


def parse_domain_capabilities(text: str) -> DomainCapabilities:
    """Parse what a domain may have, from virConnectGetDomainCapabilities.

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
        return tuple(str(element.text) for element in root.findall(f"{path}/value") if element.text)

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
    """Return the accelerator of a domain: "kvm" from ``<domain type='kvm' id='1'>…``.

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


def parse_domain_use(text: str) -> DomainUse:
    """Parse what a running domain uses of the host's interfaces and PCI functions.

    ::

        <domain type='kvm' id='1'><name>web1</name><devices>
          <interface type='direct'><source dev='eth1' mode='bridge'/><target dev='macvtap0'/>…
          <hostdev mode='subsystem' type='pci'><source><address bus='0x3b' …/></source></hostdev>

    Raises:
        OutputError: it is no domain's XML.
    """
    parse_domain_type(text)
    root = etree.fromstring(text.encode())
    sources = [
        name
        for source in root.iterfind("devices/interface/source")
        for name in (source.get("bridge"), source.get("network"))
        if name
    ]
    addresses = [
        _pci_address(address)
        for path in ("devices/hostdev/source/address", "devices/interface/source/address")
        for address in root.iterfind(path)
    ]
    return DomainUse(
        name=root.findtext("name") or "",
        taps=tuple(
            name
            for target in root.iterfind("devices/interface/target")
            if (name := target.get("dev"))
        ),
        sources=tuple(dict.fromkeys(sources)),
        ports=tuple(
            name
            for source in root.iterfind("devices/interface[@type='direct']/source")
            if (name := source.get("dev"))
        ),
        functions=tuple(address for address in addresses if address),
        lab=root.find("metadata/{urn:kvmlab:domain:1}vm") is not None,
    )


def _pci_address(address: etree._Element) -> str:
    """Return "0000:3b:00.1"; empty for an address on another bus."""
    parts = [address.get(part) for part in ("domain", "bus", "slot", "function")]
    if parts[1] is None or parts[2] is None:
        return ""
    try:
        domain, bus, slot, function = (int(part or "0", 0) for part in parts)
    except ValueError as error:
        raise OutputError(
            "A domain's XML holds a PCI address that could not be understood.",
            evidence=etree.tostring(address, encoding="unicode")[:400],
        ) from error
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def version_text(number: int) -> str:
    """Return a version number of libvirt as people write it.

    >>> version_text(11003000)
    '11.3.0'
    """
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
