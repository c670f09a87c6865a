"""What the libvirt connection of a host says."""

from __future__ import annotations

from typing import Any

from kvmlab.errors import HostError, KvmlabError, LibvirtFailed, Unavailable
from kvmlab.facts.parse_libvirt import (
    parse_domain_capabilities,
    parse_domain_type,
    version_text,
)
from kvmlab.facts.types import DomainCapabilities, LibvirtFacts
from kvmlab.hosts import Host, libvirt_door


def read_libvirt(host: Host) -> LibvirtFacts:
    """Versions, capabilities and running guests; a host without libvirt says so in ``problem``.

    Raises:
        OutputError: libvirt's documents are not what libvirt prints.
    """
    try:
        connection = host.libvirt
        version = libvirt_door.call(connection.getLibVersion, what="tell its version")
        return LibvirtFacts(
            uri=libvirt_door.call(connection.getURI, what="tell its URI").partition("?")[0],
            version=version_text(version),
            qemu_version=version_text(
                libvirt_door.call(connection.getVersion, what="tell QEMU's version")
            ),
            capabilities=_capabilities(connection),
            running_kvm_guests=_running_kvm_guests(connection),
        )
    except (HostError, Unavailable) as error:
        return LibvirtFacts(uri=host.libvirt_uri.partition("?")[0], problem=_one_line(error))


def _capabilities(connection: Any) -> DomainCapabilities | None:
    """Those for KVM, or for emulation where libvirt sees no KVM."""
    for virt_type in ("kvm", "qemu"):
        try:
            return parse_domain_capabilities(
                libvirt_door.call(
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


def _running_kvm_guests(connection: Any) -> tuple[str, ...]:
    """Domains whose vCPUs run under KVM at this moment: the cheapest proof that KVM works."""
    libvirt = libvirt_door.library()
    found = []
    for domain in libvirt_door.call(
        connection.listAllDomains,
        libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING,
        what="list the running domains",
    ):
        try:
            text = libvirt_door.call(domain.XMLDesc, 0, what="describe a domain")
        except KvmlabError:
            continue  # it ended in the meantime
        if parse_domain_type(text) == "kvm":
            found.append(domain.name())
    return tuple(sorted(found))


def _one_line(error: KvmlabError) -> str:
    return f"{error.message} {error.todo}".strip()
