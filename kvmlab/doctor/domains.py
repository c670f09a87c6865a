"""The VMs that run on a host, as far as the doctor's rules ask: read from their XML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.domain import Domain, Interface, PciAddress
from kvmlab.errors import DomainNotFound, HostError, LibvirtFailed, Unavailable
from kvmlab.hosts import libvirt_door

if TYPE_CHECKING:
    from lxml import etree

    from kvmlab.hosts import Host

_OSINFO: Final = "metadata/{*}libosinfo/{*}os"
_KIB: Final = {"b": 1 / 1024, "bytes": 1 / 1024, "KiB": 1, "k": 1, "MiB": 1024, "M": 1024,
               "GiB": 1024**2, "G": 1024**2}  # fmt: skip


@dataclass(frozen=True)
class Card:
    """One <interface> of a running VM."""

    kind: str
    mac: str
    model: str | None
    backend: str | None
    queues: int
    source: str | None
    mode: str | None
    trusts_filters: bool
    #: "persistent" or "transient" where it is one of a teaming pair.
    teaming: str | None

    @property
    def is_virtio(self) -> bool:
        """A virtio card, transitional ones included."""
        return (self.model or "").startswith("virtio")


@dataclass(frozen=True)
class RunningVm:
    """One running domain."""

    name: str
    vcpus: int
    memory_mib: int
    windows: bool
    lab: bool
    cards: tuple[Card, ...]
    #: PCI addresses of the host that it holds.
    devices: tuple[str, ...]


def read_vms(host: Host) -> tuple[tuple[RunningVm, ...], str]:
    """The running VMs, and why they could not be read, if so."""
    try:
        connection = host.libvirt
        active = libvirt_door.library().VIR_CONNECT_LIST_DOMAINS_ACTIVE
        domains = libvirt_door.call(
            connection.listAllDomains, active, what="list the running domains", host=host.label
        )
        texts = []
        for domain in domains:
            try:
                texts.append(libvirt_door.call(domain.XMLDesc, 0, what="describe a domain"))
            except (DomainNotFound, LibvirtFailed):
                continue  # it ended in the meantime
    except (HostError, Unavailable) as error:
        return (), error.message
    return tuple(sorted(map(parse_vm, texts), key=lambda vm: vm.name)), ""


def parse_vm(text: str) -> RunningVm:
    """A VM from its live XML."""
    domain = Domain.parse(text)
    os = domain.node.find(_OSINFO)
    return RunningVm(
        name=domain.name or "",
        vcpus=_vcpus(domain.node),
        memory_mib=round((domain.memory or 0) * _KIB.get(domain.memory_unit or "KiB", 1)) // 1024,
        windows=os is not None and "microsoft.com" in (os.get("id") or ""),
        lab=domain.is_lab,
        cards=tuple(map(_card, domain.interfaces)),
        devices=_devices(domain.node),
    )


def _vcpus(node: etree._Element) -> int:
    """<vcpu current='2'>4</vcpu> has two now."""
    vcpu = node.find("vcpu")
    return int(vcpu.get("current") or vcpu.text or 1) if vcpu is not None else 1


def _card(interface: Interface) -> Card:
    teaming = interface.node.find("teaming")
    return Card(
        kind=interface.type or "",
        mac=(interface.mac or "").lower(),
        model=interface.model,
        backend=interface.driver,
        queues=interface.queues or 1,
        source=interface.source_dev or interface.source_bridge or interface.source_network,
        mode=interface.source_mode,
        trusts_filters=bool(interface.trust_guest_filters),
        teaming=teaming.get("type") if teaming is not None else None,
    )


def _devices(node: etree._Element) -> tuple[str, ...]:
    found = []
    for path in ("devices/hostdev/source/address", "devices/interface/source/address"):
        for address in node.iterfind(path):
            parts = [address.get(part) for part in ("domain", "bus", "slot", "function")]
            if parts[1] is None or parts[2] is None:
                continue  # a USB device, or a card that is addressed in another way
            numbers = (int(part or "0", 0) for part in parts)
            found.append(str(PciAddress(*numbers)))
    return tuple(dict.fromkeys(found))
