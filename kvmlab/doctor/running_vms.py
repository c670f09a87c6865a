"""The VMs that run on a host, as far as the doctor's rules ask: read from their XML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kvmlab.domain import Domain, Interface, PciAddress
from kvmlab.errors import DomainNotFound, HostError, LibvirtFailed, Unavailable
from kvmlab.hosts import libvirt_client

if TYPE_CHECKING:
    from lxml import etree

    from kvmlab.hosts import Host

#: Kinds of <interface> that end in a tap or macvtap.
_WITH_TAP: Final = frozenset({"bridge", "network", "direct", "ethernet"})
#: QEMU's max_ports where libvirt's XML names no number.
_DEFAULT_PORTS: Final = 31
_OSINFO: Final = "metadata/{*}libosinfo/{*}os"
_KIB: Final = {"b": 1 / 1024, "bytes": 1 / 1024, "KiB": 1, "k": 1, "MiB": 1024, "M": 1024,
               "GiB": 1024**2, "G": 1024**2}  # fmt: skip


@dataclass(frozen=True)
class VirtualNic:
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
    #: Behind the VM's own IOMMU: <driver iommu='on'> alone asks for no translation.
    behind_iommu: bool = False
    #: The VLANs of a trunk; empty for an access port.
    trunk: tuple[int, ...] = ()
    #: The port of an Open vSwitch.
    openvswitch: bool = False
    #: Its end on the host, "vnet0".
    tap: str = ""
    #: Settings of its <driver> that are switched on or off there, such as "packed=on".
    settings: tuple[str, ...] = ()

    @property
    def is_virtio(self) -> bool:
        """A virtio card, transitional ones included."""
        return (self.model or "").startswith("virtio")

    @property
    def can_have_vhost(self) -> bool:
        """A virtio card over a tap or macvtap whose back end was not written to be QEMU's.

        A userspace switch (vhostuser) or the card itself (vdpa) serves others, and nobody on the
        host a user network.
        """
        return self.is_virtio and self.kind in _WITH_TAP and self.backend != "qemu"

    @property
    def is_served_by_qemu(self) -> bool:
        """True if QEMU's main loop moves its packets: neither vhost nor a device of the host."""
        if self.kind == "hostdev":
            return False
        return self.backend == "qemu" if self.is_virtio else True


@dataclass(frozen=True)
class SerialController:
    """One virtio-serial controller: its ports, and how many of them its channels need."""

    index: int
    ports: int
    needed: int

    @property
    def queues(self) -> int:
        """The queues that QEMU's main loop polls: two for each port, two for control messages."""
        return 2 * (self.ports + 1)


@dataclass(frozen=True)
class RunningVm:
    """One running domain."""

    name: str
    vcpus: int
    memory_mib: int
    windows: bool
    lab: bool
    cards: tuple[VirtualNic, ...]
    #: PCI addresses of the host that it holds.
    devices: tuple[str, ...]
    #: Devices of these that a teaming pair takes away before a migration.
    teamed: int = 0
    #: Host CPUs by vCPU, as <vcpupin> writes them; and those of QEMU's other threads.
    vcpu_pins: tuple[str, ...] = ()
    emulator_pin: str = ""
    serial: tuple[SerialController, ...] = ()
    #: What stops a migration, apart from functions of the host: "USB device of the host".
    anchors: tuple[str, ...] = ()
    #: <cpu mode> as it was written: "host-passthrough", "host-model", "custom", …; empty where
    #: the XML has none.
    cpu_mode: str = ""
    #: Files of the host that are its disks.
    disk_files: tuple[str, ...] = ()
    #: Features of the CPU that it must not have, as <cpu> names them.
    without: tuple[str, ...] = ()


def read_vms(host: Host) -> tuple[tuple[RunningVm, ...], str]:
    """Return the running VMs, and why they could not be read (empty if they could)."""
    texts, unread = read_domains(host)
    vms = (_with_written_cpu(host, parse_vm(text)) for text in texts)
    return tuple(sorted(vms, key=lambda vm: vm.name)), unread


def _with_written_cpu(host: Host, vm: RunningVm) -> RunningVm:
    """Return the VM with the mode of its CPU as it was written.

    The live XML has a named model in place of "host-model"; the XML for a migration has what was
    written.
    """
    if vm.cpu_mode != "custom":
        return vm
    migratable = libvirt_client.library().VIR_DOMAIN_XML_MIGRATABLE
    try:
        domain = libvirt_client.call(host.libvirt.lookupByName, vm.name, host=host.label)
        text = libvirt_client.call(domain.XMLDesc, migratable, what="describe a domain")
    except (DomainNotFound, HostError):
        return vm  # it has ended, or this connection may not ask for that
    return replace(vm, cpu_mode=Domain.parse(text).cpu_mode or vm.cpu_mode)


def read_domains(host: Host) -> tuple[tuple[str, ...], str]:
    """Return the live XML of the running VMs, and why it could not be read (empty if it could)."""
    try:
        connection = host.libvirt
        active = libvirt_client.library().VIR_CONNECT_LIST_DOMAINS_ACTIVE
        domains = libvirt_client.call(
            connection.listAllDomains, active, what="list the running domains", host=host.label
        )
        texts = []
        for domain in domains:
            try:
                texts.append(libvirt_client.call(domain.XMLDesc, 0, what="describe a domain"))
            except (DomainNotFound, LibvirtFailed):
                continue  # it ended in the meantime
    except (HostError, Unavailable) as error:
        return (), error.message
    return tuple(texts), ""


def parse_vm(text: str) -> RunningVm:
    """Parse a VM's live XML."""
    domain = Domain.parse(text)
    has_iommu = domain.node.find("devices/iommu") is not None
    return RunningVm(
        name=domain.name or "",
        vcpus=_vcpus(domain.node),
        memory_mib=round((domain.memory or 0) * _KIB.get(domain.memory_unit or "KiB", 1)) // 1024,
        windows=_is_windows(domain.node),
        lab=domain.is_lab,
        cards=tuple(_card(interface, has_iommu=has_iommu) for interface in domain.interfaces),
        devices=_devices(domain.node),
        teamed=len(domain.node.findall("devices/*/teaming[@type='transient']")),
        vcpu_pins=tuple(pin.get("cpuset", "") for pin in domain.node.iterfind("cputune/vcpupin")),
        emulator_pin=next(
            (pin.get("cpuset", "") for pin in domain.node.iterfind("cputune/emulatorpin")), ""
        ),
        serial=tuple(_serial(domain)),
        anchors=tuple(_anchors(domain.node)),
        cpu_mode=domain.cpu_mode or "",
        disk_files=tuple(
            path
            for source in domain.node.iterfind("devices/disk[@type='file']/source")
            if (path := source.get("file"))
        ),
        without=tuple(
            name
            for feature in domain.node.iterfind("cpu/feature[@policy='disable']")
            if (name := feature.get("name"))
        ),
    )


def _anchors(node: etree._Element) -> Iterator[str]:
    """Yield what ties a VM to this host, apart from PCI functions."""
    for device in node.iterfind("devices/hostdev"):
        if device.get("type") != "pci":
            yield f"{(device.get('type') or 'unknown').upper()} device of the host"
    for filesystem in node.iterfind("devices/filesystem"):
        target = filesystem.find("target")
        # virtiofsd can move its state since 1.11; libvirt asks it where QEMU has it.
        yield f"folder of the host ({target.get('dir') if target is not None else 'unnamed'})"
    for memory in node.iterfind("devices/shmem"):
        yield f"shared memory ({memory.get('name') or 'unnamed'})"
    cpu = node.find("cpu")
    if cpu is not None and cpu.get("migratable") == "off":
        yield "CPU declared migratable='off'"
    for source in node.iterfind("devices/interface[@type='direct']/source"):
        if source.get("dev") and not source.get("network"):
            yield f"macvtap on {source.get('dev')} by name"


def _is_windows(node: etree._Element) -> bool:
    """Return whether libosinfo's mark or the enlightenments for Windows say so."""
    os = node.find(_OSINFO)
    if os is not None:
        return "microsoft.com" in (os.get("id") or "")
    clock = node.find("clock/timer[@name='hypervclock']")
    return node.find("features/hyperv") is not None and clock is not None


def _serial(domain: Domain) -> Iterator[SerialController]:
    for controller in domain.controllers:
        if controller.type == "virtio-serial":
            index = controller.index or 0
            path = f"devices/*/address[@type='virtio-serial'][@controller='{index}']"
            used = [int(node.get("port") or "0", 0) for node in domain.node.iterfind(path)]
            # Port 0 is kept for a console.
            ports = _DEFAULT_PORTS if controller.ports is None else controller.ports
            yield SerialController(index, ports, max(used, default=0) + 1)


def _vcpus(node: etree._Element) -> int:
    """Return the number of vCPUs now: ``<vcpu current='2'>4</vcpu>`` has two."""
    vcpu = node.find("vcpu")
    return int(vcpu.get("current") or vcpu.text or 1) if vcpu is not None else 1


def _card(interface: Interface, *, has_iommu: bool) -> VirtualNic:
    teaming = interface.node.find("teaming")
    return VirtualNic(
        kind=interface.type or "",
        mac=(interface.mac or "").lower(),
        model=interface.model,
        backend=interface.driver,
        queues=interface.queues or 1,
        source=interface.source_dev or interface.source_bridge or interface.source_network,
        mode=interface.source_mode,
        trusts_filters=bool(interface.trust_guest_filters),
        teaming=teaming.get("type") if teaming is not None else None,
        behind_iommu=has_iommu and interface.node.find("driver[@iommu='on']") is not None,
        trunk=interface.vlan_trunk,
        openvswitch=interface.node.find("virtualport[@type='openvswitch']") is not None,
        tap=next((t.get("dev", "") for t in interface.node.iterfind("target")), ""),
        settings=tuple(_settings(interface.node)),
    )


def _settings(node: etree._Element) -> Iterator[str]:
    """Yield the switches of <driver>, <host> and <guest>: "packed=on", "host tso4=off"."""
    for path, prefix in (("driver", ""), ("driver/host", "host "), ("driver/guest", "guest ")):
        for element in node.iterfind(path):
            for name, value in element.items():
                if value in ("on", "off"):
                    yield f"{prefix}{name!s}={value!s}"


def _devices(node: etree._Element) -> tuple[str, ...]:
    addresses = []
    for path in ("devices/hostdev/source/address", "devices/interface/source/address"):
        for address in node.iterfind(path):
            parts = [address.get(part) for part in ("domain", "bus", "slot", "function")]
            if parts[1] is None or parts[2] is None:
                continue  # a USB device, or a card that is addressed in another way
            numbers = (int(part or "0", 0) for part in parts)
            addresses.append(str(PciAddress(*numbers)))
    return tuple(dict.fromkeys(addresses))
