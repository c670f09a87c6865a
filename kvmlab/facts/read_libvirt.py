"""What the libvirt connection of a host says."""

from __future__ import annotations

from typing import Any

from kvmlab.errors import DomainNotFound, HostError, KvmlabError, LibvirtFailed, Unavailable
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
            kvm_guests=_kvm_guests(connection),
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


def _kvm_guests(connection: Any) -> tuple[str, ...]:
    """Domains that run under KVM now, or did until they were suspended: KVM's cheapest proof."""
    libvirt = libvirt_door.library()
    wanted = libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING | libvirt.VIR_CONNECT_LIST_DOMAINS_PAUSED
    found = []
    for domain in libvirt_door.call(
        connection.listAllDomains, wanted, what="list the running domains"
    ):
        try:
            state, reason = libvirt_door.call(domain.state, what="tell a domain's state")
            text = libvirt_door.call(domain.XMLDesc, 0, what="describe a domain")
        except (DomainNotFound, LibvirtFailed):
            continue  # it ended in the meantime
        # A guest that KVM cannot run is paused, too, but not by its user.
        suspended = (state, reason) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
        lives = state == libvirt.VIR_DOMAIN_RUNNING or suspended
        if lives and parse_domain_type(text) == "kvm":
            found.append(domain.name())
    return tuple(sorted(found))


def _one_line(error: KvmlabError) -> str:
    return f"{error.message} {error.todo}".strip()
