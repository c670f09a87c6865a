"""The adviser's stated rules: what speaks for and against each kind of scheme, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.advice.candidates import HARDWARE, MOST_QUEUES, Candidate, Kind
from kvmlab.advice.model import Exclusion, Reason
from kvmlab.advice.needs import GuestOs, Load, Need
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts

_ARTICLE: Final = "the article"
_WITHOUT_IGBVF: Final = ("igb", "e1000e", "e1000")


@dataclass(frozen=True)
class Stated:
    """One rule: points for each kind of scheme, where ``when`` holds.

    ``when`` is given the need and the host; a kind without points is not touched by the rule.
    """

    id: str
    text: str
    source: str
    points: Mapping[Kind, int]
    when: Callable[[Need, HostFacts], bool]


def _always(_need: Need, _facts: HostFacts) -> bool:
    return True


def _loaded(*loads: Load) -> Callable[[Need, HostFacts], bool]:
    return lambda need, _facts: need.load in loads


def _windows(need: Need, _facts: HostFacts) -> bool:
    return need.guest_os is GuestOs.WINDOWS


def _crowded(need: Need, facts: HostFacts) -> bool:
    return need.density * MOST_QUEUES > facts.cpu.logical_cpus


def _shared(need: Need, _facts: HostFacts) -> bool:
    return need.density > 1


def _ties(need: Need, _facts: HostFacts) -> bool:
    return not need.migration


_FAST: Final = (Kind.VF, Kind.CARD, Kind.TEAMING)
RULES: Final[tuple[Stated, ...]] = (
    Stated(
        "no-layer",
        "A VF or a whole card leaves out tap, bridge and back end: the host spends next to "
        "nothing on a packet.",
        "Dong et al., HPCA 2010: 9.48 Gb/s over up to 60 VMs, +1.76 % CPU a VM",
        {**dict.fromkeys(_FAST, 3), Kind.MACVTAP_ON_VF: 2},
        _always,
    ),
    Stated(
        "kernel-back-end",
        "vhost moves packets inside the kernel, so that QEMU is not woken for them.",
        _ARTICLE,
        dict.fromkeys((Kind.VHOST, Kind.VHOST_QUEUES, Kind.MACVTAP), 2),
        _always,
    ),
    Stated(
        "qemu-wakes",
        "Every batch of packets wakes QEMU, a program in user space.",
        _ARTICLE,
        {Kind.VIRTIO_QEMU: -1, Kind.USER: -1},
        _always,
    ),
    Stated(
        "register-exits",
        "An emulated card leaves the guest for every register that its driver touches.",
        _ARTICLE,
        {Kind.E1000: -5, Kind.E1000E: -4},
        _always,
    ),
    Stated(
        "user-network",
        "QEMU's user network translates every connection in user space, and nobody outside can "
        "begin one: a last resort.",
        "QEMU documentation",
        {Kind.USER: -9},
        _always,
    ),
    Stated("no-bridge", "A macvtap leaves the bridge out.", _ARTICLE, {Kind.MACVTAP: 1}, _always),
    Stated(
        "macvtap-isolation",
        "Host and VM cannot talk to each other through a macvtap.",
        "libvirt formatdomain",
        {Kind.MACVTAP: -1, Kind.MACVTAP_ON_VF: -1},
        _always,
    ),
    Stated(
        "light-is-simple",
        "At a light load no scheme is in the way: the simple one that ties the VM to nothing comes "
        "first.",
        _ARTICLE,
        {
            Kind.VHOST: 3,
            Kind.VIRTIO_QEMU: 1,
            Kind.VHOST_QUEUES: -1,
            Kind.VF: -3,
            Kind.TEAMING: -4,
            Kind.MACVTAP_ON_VF: -3,
            Kind.CARD: -4,
        },
        _loaded(Load.LIGHT),
    ),
    Stated(
        "bulk-in-reach",
        "Large packets amortise the layers: bulk TCP at 10G is within reach of tuned virtio with "
        "vhost.",
        "virtink docs/vhost-user-net-test.md; wangzheng422, KVM NIC performance, 2026",
        {Kind.VHOST: 2, Kind.MACVTAP: 2, Kind.VHOST_QUEUES: 2, Kind.MACVTAP_ON_VF: 2},
        _loaded(Load.BULK),
    ),
    Stated(
        "bulk-cpu",
        "At line rate a VF leaves the host's CPU to the VMs.",
        "Dong et al., HPCA 2010",
        dict.fromkeys(_FAST, 3),
        _loaded(Load.BULK),
    ),
    Stated(
        "queues-for-flows",
        "Several queues spread many flows over the vCPUs; one flow gains nothing.",
        "RHEL 7 tuning guide; kvm-guest-drivers-windows issue 237: 15.3 to 25.2 Gb/s",
        {Kind.VHOST_QUEUES: 1},
        lambda need, _facts: need.load is Load.BULK and need.guest_os is not GuestOs.WINDOWS,
    ),
    Stated(
        "latency-is-layers",
        "Each layer adds its own wait to a round trip, and hardware has none.",
        "virtink: 48.1 µs over virtio and bridge against 13 µs bare",
        {
            **dict.fromkeys(_FAST, 4),
            Kind.MACVTAP: 1,
            Kind.MACVTAP_ON_VF: 2,
            Kind.VIRTIO_QEMU: -2,
            Kind.VHOST_QUEUES: -1,
        },
        _loaded(Load.LATENCY),
    ),
    Stated(
        "packets-cost-layers",
        "With small packets each layer is paid for each packet.",
        "virtink: 172 kpps over virtio and bridge with 64 B datagrams",
        {**dict.fromkeys(_FAST, 4), Kind.MACVTAP: 1, Kind.MACVTAP_ON_VF: 2, Kind.VIRTIO_QEMU: -2},
        _loaded(Load.PACKETS),
    ),
    Stated(
        "queues-small-packets",
        "With several queues small outgoing packets can be slower.",
        "RHEL 7 tuning guide",
        {Kind.VHOST_QUEUES: -2},
        _loaded(Load.PACKETS),
    ),
    Stated(
        "queues-need-cpus",
        "The VMs' queues are more than the host has CPUs: workers would take turns.",
        "Linux drivers/net/virtio_net.c",
        {Kind.VHOST_QUEUES: -2},
        _crowded,
    ),
    Stated(
        "a-card-a-vm",
        "Every VM takes a whole card away from the host.",
        _ARTICLE,
        {Kind.CARD: -3},
        _shared,
    ),
    Stated(
        "a-vf-a-vm",
        "One port gives each VM a card of its own.",
        "Dong et al., HPCA 2010: up to 60 VMs",
        {Kind.VF: 1, Kind.TEAMING: 1},
        _shared,
    ),
    Stated(
        "memory-pinned",
        "All memory of the VM is pinned, and the VM is tied to this host: no migration, no saving.",
        "libvirt formatdomain",
        {Kind.VF: -1, Kind.CARD: -2},
        _ties,
    ),
    Stated(
        "teaming-moves",
        "The VF is unplugged for a migration, and a virtio card stands in for it meanwhile.",
        "libvirt formatdomain; QEMU docs/system/virtio-net-failover.rst",
        {Kind.TEAMING: 1},
        lambda need, _facts: need.migration,
    ),
    Stated(
        "teaming-parts",
        "Two cards, one MAC and a driver that knows of both: more that can break.",
        "QEMU docs/system/virtio-net-failover.rst",
        {Kind.TEAMING: -2},
        _always,
    ),
    Stated(
        "windows-netkvm",
        "With a current NetKVM virtio is right for Windows, at a low load too.",
        "virtinst devices/interface.py; kvm-guest-drivers-windows",
        {Kind.VHOST: 1},
        _windows,
    ),
    Stated(
        "windows-macvtap",
        "Windows over macvtap has a history of poor throughput (host GRO, then LSO): measure, then "
        "switch LSO off.",
        "kvm-guest-drivers-windows issues 1, 1131",
        {Kind.MACVTAP: -2, Kind.MACVTAP_ON_VF: -2},
        _windows,
    ),
    Stated(
        "windows-queues",
        "Several queues have made Windows guests slower.",
        "kvm-guest-drivers-windows issue 237: 4.3 to 2.3 Gb/s",
        {Kind.VHOST_QUEUES: -2},
        _windows,
    ),
    Stated(
        "windows-vf-driver",
        "Windows needs the vendor's driver for the VF or card.",
        "vendors' guides",
        {Kind.VF: -2, Kind.CARD: -1},
        _windows,
    ),
    Stated(
        "windows-fallback",
        "Where NetKVM makes trouble, e1000e is the fallback, not e1000.",
        "virtinst devices/interface.py",
        {Kind.E1000E: 1},
        _windows,
    ),
)


def reasons(candidate: Candidate, need: Need, facts: HostFacts) -> tuple[Reason, ...]:
    """Return every stated rule that applies to ``candidate`` under this need."""
    return tuple(
        Reason(rule.id, rule.text, rule.points[candidate.kind], rule.source)
        for rule in RULES
        if candidate.kind in rule.points and rule.when(need, facts)
    )


def ruled_out(candidate: Candidate, need: Need, facts: HostFacts) -> Exclusion | None:
    """Return why ``candidate`` cannot meet this need at all; None where it can."""
    why = _why_not(candidate, need, facts)
    if why is None:
        return None
    rule, reason, fix = why
    return Exclusion(candidate.scheme, candidate.label, rule, reason, fix)


def _why_not(candidate: Candidate, need: Need, facts: HostFacts) -> tuple[str, str, str] | None:
    kind = candidate.kind
    if kind in HARDWARE and not facts.kvm.usable:
        return (
            Rule.KVM_NOT_USABLE,
            "A device handed to a VM that is itself emulated gains nothing.",
            facts.kvm.reason,
        )
    if need.migration and kind in (Kind.VF, Kind.CARD):
        return (
            Rule.VF_BLOCKS_MIGRATION,
            "A VM that holds a device of its host cannot migrate.",
            "See the answers to the migration question.",
        )
    if not need.migration and kind in (Kind.TEAMING, Kind.MACVTAP_ON_VF):
        return ("migration-not-needed", "It is made for VMs that migrate.", "")
    return _why_not_for_guest(candidate, need)


def _why_not_for_guest(candidate: Candidate, need: Need) -> tuple[str, str, str] | None:
    kind, guest = candidate.kind, need.guest_os
    if guest is GuestOs.LEGACY and kind not in (Kind.E1000, Kind.E1000E, Kind.USER):
        return (
            Rule.GUEST_DRIVER_MISSING,
            "A guest without a virtio driver has none for VFs either; which it has for a real "
            "card is not known.",
            "Install virtio drivers in the guest.",
        )
    if guest is GuestOs.LINUX_CLOUD and (
        kind in (Kind.E1000, Kind.E1000E)
        or (kind in HARDWARE and candidate.driver in _WITHOUT_IGBVF)
    ):
        return (
            Rule.GUEST_DRIVER_MISSING,
            "Cloud kernels often have none of the drivers e1000, e1000e and igbvf.",
            "Install the distribution's full kernel in the guest.",
        )
    if guest is GuestOs.WINDOWS and kind is Kind.TEAMING:
        return (
            Rule.GUEST_DRIVER_MISSING,
            "Teaming is verified for Linux guests (4.18) only.",
            "macvtap in passthrough mode on a VF.",
        )
    return None
