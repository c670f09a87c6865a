"""What an inspection finds: frozen, complete when built, and nothing that needs the host again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


class KvmProof(StrEnum):
    """What shows that KVM runs guests; a device node shows nothing."""

    GUEST = "a guest runs"
    KERNEL = "booted a kernel"
    FIRMWARE = "ran firmware"
    NONE = "none"


@dataclass(frozen=True)
class KvmFacts:
    """Whether KVM is real here. Source: CPU flags, /sys/module/kvm*, and a guest that ran."""

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
        """Why not, for errors."""
        return None if self.usable else Rule.KVM_NOT_USABLE


class ModuleState(StrEnum):
    """Where a kernel module is."""

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
    """What libvirt says a domain may have. Source: virConnectGetDomainCapabilities."""

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


@dataclass(frozen=True)
class IommuGroup:
    """Devices that can only be handed over together. Source: /sys/kernel/iommu_groups."""

    number: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class IommuFacts:
    """Source: /sys/class/iommu, /sys/kernel/iommu_groups."""

    units: tuple[str, ...]
    groups: tuple[IommuGroup, ...]

    @property
    def on(self) -> bool:
        """Devices can be isolated from each other."""
        return bool(self.groups)


@dataclass(frozen=True)
class VfSettings:
    """What a PF says about one of its VFs. Source: ``ip -d link``, vfinfo_list."""

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
    """One network interface. Source: ``ip -j -d address show``.

    ``kind`` is the kernel's ("bridge", "tun", "vlan", "macvtap", …) and empty for hardware.
    ``master`` is the bridge or bond it belongs to, ``parent`` what a VLAN or macvtap sits on.
    ``addresses`` carry their prefix length. ``device`` is the bus address behind it.
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


class LinkState(StrEnum):
    """Whether packets could flow through a port."""

    UP = "up"
    NO_CARRIER = "no carrier"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Handover:
    """Whether a function can be given to a VM, and who is in the way if not."""

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

    @property
    def name(self) -> str | None:
        """The first interface, where there is one."""
        return self.names[0] if self.names else None

    @property
    def model(self) -> str:
        """The description without the words that every network device has: "Intel 82574L"."""
        words = (word.rstrip(",") for word in self.description.split())
        told = " ".join(word for word in words if word.lower() not in _SAME_FOR_ALL)
        return told or f"{self.vendor_id}:{self.device_id}"


@dataclass(frozen=True)
class HugePages:
    """Huge pages of one size, in all or of one NUMA node. Source: /sys/kernel/mm/hugepages."""

    size_kib: int
    numa_node: int | None
    total: int
    free: int
