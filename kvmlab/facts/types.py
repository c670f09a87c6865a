"""Parts of an inspection: frozen, complete when built; none needs the host again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kvmlab.facts.rules import Rule

#: Words of a description that tell no network device from another.
_SAME_FOR_ALL: Final = frozenset(
    ("corporation", "inc.", "gigabit", "ethernet", "network", "connection", "device")
)


@dataclass(frozen=True)
class CpuFacts:
    """The processors. Source: /proc/cpuinfo, /sys/devices/system/{cpu,node}/online."""

    model: str
    vendor: str
    architecture: str
    logical_cpus: int
    numa_nodes: int
    #: "vmx" or "svm" where the CPU can run guests.
    virtualisation: str | None
    #: The host is itself a guest.
    is_guest: bool
    memory_mib: int
    #: CPUs by NUMA node; empty in recordings of older versions.
    node_cpus: Mapping[int, frozenset[int]] = field(default_factory=dict)


class KvmProof(StrEnum):
    """Proofs that KVM runs guests; a device node proves nothing."""

    GUEST = "a guest runs"
    KERNEL = "booted a kernel"
    FIRMWARE = "ran firmware"
    NONE = "none"


@dataclass(frozen=True)
class KvmFacts:
    """KVM, and whether it runs guests. Source: CPU flags, /sys/module/kvm*, a guest that ran."""

    usable: bool
    proof: KvmProof
    #: One sentence that says why it is usable or not.
    reason: str
    node: bool
    accessible: bool
    module: str | None
    #: Guests of this host may run guests of their own.
    nested: bool | None
    parameters: Mapping[str, str]

    @property
    def rule(self) -> Rule | None:
        """The rule that an unusable KVM breaks."""
        return None if self.usable else Rule.KVM_NOT_USABLE


class ModuleState(StrEnum):
    """States of a kernel module."""

    LOADED = "loaded"
    AVAILABLE = "available"
    BUILTIN = "builtin"
    MISSING = "missing"


@dataclass(frozen=True)
class KernelFacts:
    """The kernel. Source: uname, /proc/cmdline, /etc/os-release."""

    release: str
    distribution: str
    command_line: str


@dataclass(frozen=True)
class DomainCapabilities:
    """Capabilities of domains. Source: virConnectGetDomainCapabilities."""

    emulator: str
    virt_type: str
    machine: str
    architecture: str
    vcpus_max: int
    cpu_modes: tuple[str, ...]
    #: PCI devices can be handed over, as far as libvirt and QEMU are concerned.
    pci_hostdev: bool
    #: Back ends of <interface> that libvirt names; empty where it is too old to say.
    interface_backends: tuple[str, ...]


@dataclass(frozen=True)
class LibvirtFacts:
    """libvirt and its QEMU. ``problem`` says why nothing more is known."""

    uri: str
    version: str | None = None
    qemu_version: str | None = None
    capabilities: DomainCapabilities | None = None
    #: Domains that run under KVM, or did until their user suspended them.
    kvm_guests: tuple[str, ...] = ()
    problem: str = ""
    #: Running and suspended domains, with what each uses of the host.
    domains: tuple[DomainUse, ...] = ()


@dataclass(frozen=True)
class IommuGroup:
    """Devices that can only be handed over together. Source: /sys/kernel/iommu_groups."""

    number: int
    members: tuple[str, ...]
    #: A driver's own name for it; "vfio-noiommu" isolates nothing.
    name: str = ""

    @property
    def isolates(self) -> bool:
        """An IOMMU stands behind it."""
        return self.name != "vfio-noiommu"


@dataclass(frozen=True)
class IommuFacts:
    """Source: /sys/class/iommu, /sys/kernel/iommu_groups."""

    units: tuple[str, ...]
    groups: tuple[IommuGroup, ...]
    #: Groups whose devices are on no PCI bus, as on small Arm boards.
    other_groups: int = 0

    @property
    def on(self) -> bool:
        """PCI devices can be isolated from each other."""
        return any(group.isolates for group in self.groups)


@dataclass(frozen=True)
class VfSettings:
    """Settings of one VF, as its PF reports them. Source: ``ip -d link``, vfinfo_list."""

    index: int
    mac: str
    spoof_check: bool | None
    trusted: bool | None
    link: str | None
    vlan: int | None = None
    #: Mbit/s; None where nothing limits it.
    max_tx_rate: int | None = None


@dataclass(frozen=True)
class Link:
    """One network interface. Source: ``ip -j -d address show``, /sys/class/net.

    ``kind`` is the kernel's ("bridge", "tun", "vlan", "macvtap", …) and empty for hardware.
    ``master`` is the bridge or bond it belongs to, ``parent`` what a VLAN or macvtap sits on (of a
    veth: its other end); ``parent_index`` is the parent's number where the parent is in another
    namespace. ``addresses`` carry their prefix length. ``device`` is the address behind it on the
    bus ``bus`` ("pci", "usb", "platform", …). ``remote`` and ``local`` are a tunnel's outer
    addresses.
    """

    name: str
    index: int
    kind: str
    up: bool
    carrier: bool
    mtu: int
    mac: str
    master: str | None = None
    parent: str | None = None
    addresses: tuple[str, ...] = ()
    alias: str | None = None
    netns: str | None = None
    device: str | None = None
    #: "tap" or "tun"; a macvtap's mode ("bridge", "vepa", …); a VLAN's number.
    detail: str = ""
    loopback: bool = False
    vfs: tuple[VfSettings, ...] = ()
    #: "ether", "infiniband", "none", …
    link_type: str = "ether"
    #: Other names by which `ip` knows it.
    altnames: tuple[str, ...] = ()
    #: "p0" of a port, "pf0vf1" of the representor of a VF; empty where the driver has none.
    phys_port_name: str = ""
    #: The switch inside the card that it is a port of; empty outside of switchdev mode.
    switch_id: str = ""
    bus: str = ""
    wireless: bool = False
    parent_index: int | None = None
    remote: str = ""
    local: str = ""
    #: A program sits in its receive path.
    xdp: bool = False
    #: One that runs in the kernel, not in the driver.
    generic_xdp: bool = False
    #: A port at which its bridge learns MACs.
    learns: bool = False
    #: A port to which its bridge passes what is for a MAC that it does not know.
    floods: bool = True
    #: A port whose bridge drops what comes from MACs that nobody has entered for it.
    locked: bool = False


@dataclass(frozen=True)
class Route:
    """One route, one entry for each next hop. Source: ``ip -j route show table all``.

    ``destination`` is "default", an address or a network. ``protocol`` is "kernel" for networks
    of the host's own addresses.
    """

    destination: str
    interface: str
    gateway: str = ""
    protocol: str = ""
    metric: int = 0


@dataclass(frozen=True)
class DomainUse:
    """Interfaces and functions of the host that a running domain uses. Source: its live XML.

    ``taps`` are its own ends on the host, by name; ``sources`` the bridges and networks to which it
    is plugged, ``ports`` the interfaces that it sits on itself.
    """

    name: str
    taps: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    #: kvmlab made it.
    lab: bool = False


@dataclass(frozen=True)
class VfioHolder:
    """A program that has an IOMMU group open. Source: /proc/PID/fd, /proc/PID/comm."""

    group: str
    pid: int
    program: str


class LinkState(StrEnum):
    """States of a port's link."""

    UP = "up"
    NO_CARRIER = "no carrier"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Handover:
    """Judgement whether a function can be given to a VM, and who is in the way if not."""

    possible: bool
    reason: str
    rule: Rule | None = None
    #: Other functions of its IOMMU group that drivers of the host hold.
    in_the_way: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetFunction:
    """One network function on the PCI bus. Source: /sys/bus/pci/devices, lspci, ip.

    ``names`` are its interfaces, in namespace ``netns`` (None: the host's own).
    """

    address: str
    vendor_id: str
    device_id: str
    description: str
    driver: str | None
    names: tuple[str, ...]
    netns: str | None
    mac: str | None
    link: LinkState
    speed_mbps: int | None
    numa_node: int | None
    vf_of: str | None
    vfs: tuple[str, ...]
    vf_settings: tuple[VfSettings, ...]
    sriov_totalvfs: int | None
    sriov_numvfs: int | None
    iommu_group: int | None
    #: None where the kernel is too old to say.
    reset_methods: tuple[str, ...] | None
    handover: Handover
    #: The only driver that may bind it, where one was written; None for any.
    driver_override: str | None = None
    #: Where its VFs appear: so many routing ids behind it, and so many apart.
    sriov_offset: int | None = None
    sriov_stride: int | None = None
    #: Drivers of the host bind its VFs as these appear.
    sriov_drivers_autoprobe: bool | None = None
    #: Interfaces that are ports of the switch inside the card, one for each VF, and no NICs.
    representors: tuple[str, ...] = ()
    #: "0x020000" for Ethernet, "0x028000" for most Wi-Fi, "0x020700" for InfiniBand.
    pci_class: str = "0x020000"

    @property
    def name(self) -> str | None:
        """The first interface, where there is one."""
        return self.names[0] if self.names else None

    @property
    def model(self) -> str:
        """The description without the words that every network device has: "Intel 82574L"."""
        words = (word.rstrip(",") for word in self.description.split())
        distinctive = " ".join(word for word in words if word.lower() not in _SAME_FOR_ALL)
        return distinctive or f"{self.vendor_id}:{self.device_id}"


@dataclass(frozen=True)
class HugePages:
    """Huge pages of one size, in all or of one NUMA node. Source: /sys/kernel/mm/hugepages."""

    size_kib: int
    numa_node: int | None
    total: int
    free: int
