"""The registry of tunings: one id for each, and schemes with tunings from text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kvmlab.errors import UsageError, did_you_mean
from kvmlab.schemes import Scheme
from kvmlab.schemes.registry import scheme_from_text
from kvmlab.tunings.base import Tuning
from kvmlab.tunings.boot import (
    Avic,
    GuestMitigations,
    GuestPages,
    HostMitigations,
    SerialPorts,
    X2apic,
)
from kvmlab.tunings.capture import Capture, SecondMeters
from kvmlab.tunings.filters import (
    BridgeNetfilter,
    EbtablesRules,
    IptablesRules,
    NftRules,
    NwFilter,
    TcFilters,
    Xdp,
)
from kvmlab.tunings.isolation import Swiotlb, Viommu
from kvmlab.tunings.mtu import Mtu
from kvmlab.tunings.offloads import (
    AllOffloads,
    GuestGro,
    GuestGso,
    GuestRxChecksum,
    GuestTso,
    GuestTxChecksum,
    LargeReceive,
    MergeableBuffers,
    PortGro,
    PortGso,
    PortRxChecksum,
    PortTso,
    PortTxChecksum,
    TapChecksum,
    TapTso,
)
from kvmlab.tunings.placement import Pinning, VhostThread, ZeroCopy
from kvmlab.tunings.rings import ReceiveRing, TransmitRing
from kvmlab.tunings.tap import QueueingDiscipline, QueueLength, SendBuffer, TapCoalescing
from kvmlab.tunings.tuned_scheme import AND, TunedScheme
from kvmlab.tunings.virtqueues import AccessPlatform, EventIdx, InOrder, NapiTx, PackedRing
from kvmlab.tunings.wakeups import GuestHaltPoll, HostHaltPoll, InterruptThrottling

_KINDS: Final[tuple[type[Tuning], ...]] = (
    # Offloads: of the guest's NIC, of the tap, of the port.
    GuestTso,
    GuestGso,
    GuestGro,
    GuestTxChecksum,
    GuestRxChecksum,
    LargeReceive,
    MergeableBuffers,
    AllOffloads,
    TapTso,
    TapChecksum,
    PortTso,
    PortGso,
    PortGro,
    PortTxChecksum,
    PortRxChecksum,
    # Sizes and queues.
    Mtu,
    ReceiveRing,
    TransmitRing,
    SendBuffer,
    QueueLength,
    QueueingDiscipline,
    TapCoalescing,
    # Virtqueues.
    PackedRing,
    InOrder,
    EventIdx,
    NapiTx,
    ZeroCopy,
    # Interrupts, sleep, placement, memory.
    InterruptThrottling,
    HostHaltPoll,
    GuestHaltPoll,
    SerialPorts,
    VhostThread,
    Pinning,
    GuestPages,
    X2apic,
    Avic,
    # Isolation.
    AccessPlatform,
    Viommu,
    Swiotlb,
    GuestMitigations,
    HostMitigations,
    # Filters and watching.
    BridgeNetfilter,
    IptablesRules,
    NftRules,
    EbtablesRules,
    TcFilters,
    Xdp,
    NwFilter,
    Capture,
    SecondMeters,
)
#: All tunings by id, in the order in which the atlas measures them.
TUNINGS: Final[Mapping[str, type[Tuning]]] = {kind.id: kind for kind in _KINDS}


def tuning_from_text(text: str) -> Tuning:
    """Return the tuning that ``text`` names, such as "rx-ring=256".

    Raises:
        UsageError: there is no such tuning, or it has no such value.
    """
    name, equals, value = text.partition("=")
    kind = TUNINGS.get(name)
    if kind is None or not equals:
        hint = did_you_mean(name, TUNINGS)
        raise UsageError(
            f"{text!r} is no tuning.{hint}",
            todo=f"Write it as NAME=VALUE; the tunings are {', '.join(TUNINGS)}.",
        )
    return kind(value)


def tuned(scheme: Scheme, *tunings: str | Tuning) -> TunedScheme:
    """Return ``scheme`` with tunings, each as an object or as text: ``"rx-ring=256"``.

    Raises:
        UsageError: there is no such tuning or value, or one is named twice.
    """
    objects = (tuning_from_text(t) if isinstance(t, str) else t for t in tunings)
    return TunedScheme(scheme, tuple(objects))


def tuned_scheme_from_text(text: str, options: Mapping[str, str] | None = None) -> Scheme:
    """Return the scheme that ``text`` names, with its tunings: "virtio-vhost+rx-ring=256".

    An option of the scheme stays one; others may name tunings as well.

    Raises:
        UsageError: there is no such scheme, option, tuning or value.
    """
    scheme_id, *words = text.split(AND)
    more = {name: value for name, value in (options or {}).items() if name in TUNINGS}
    own = {name: value for name, value in (options or {}).items() if name not in TUNINGS}
    words += [f"{name}={value}" for name, value in more.items()]
    scheme = scheme_from_text(scheme_id, own)
    return tuned(scheme, *words) if words else scheme


def split_id(scheme_id: str) -> tuple[str, tuple[str, ...]]:
    """Return the id of a scheme and its tunings.

    >>> split_id("virtio-vhost+rx-ring=256+mtu=9000")
    ('virtio-vhost', ('rx-ring=256', 'mtu=9000'))
    """
    scheme, *words = scheme_id.split(AND)
    return scheme, tuple(words)


def surveyed() -> tuple[Tuning, ...]:
    """Return the tunings of which an atlas has rows: of each the values that tell most."""
    return tuple(
        kind(value)
        for kind in TUNINGS.values()
        for value in kind.surveyed or (value for value in kind.values if value != kind.default)
    )


def values_of(kinds: Sequence[type[Tuning]] | None = None) -> tuple[Tuning, ...]:
    """Return every tuning with every value that is not its default."""
    return tuple(
        kind(value)
        for kind in (kinds if kinds is not None else tuple(TUNINGS.values()))
        for value in kind.values
        if value != kind.default
    )
