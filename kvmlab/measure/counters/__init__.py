"""The registry of counters: a new cost is a class here and a test of it.

A counter declares what it reads on the host, how that is parsed and the costs that it becomes; see
`kvmlab.measure.counters.counter`. What people call a cost stands in `kvmlab.results.cost_kinds`.
"""

from __future__ import annotations

from typing import Any, Final

from kvmlab.measure.counters.counter import (
    Counter,
    Detail,
    MapSource,
    Snapshot,
    SnapshotPair,
    Source,
    parse_snapshots,
)
from kvmlab.measure.counters.cpu_ticks import Steal
from kvmlab.measure.counters.cpu_time import CpuTime
from kvmlab.measure.counters.instructions import Instructions
from kvmlab.measure.counters.interrupts import Interrupts
from kvmlab.measure.counters.softirqs import Softirqs, SoftirqTime
from kvmlab.measure.counters.syscalls import Syscalls
from kvmlab.measure.counters.vm_exits import GuestInterrupts, UserspaceExits, VmExits
from kvmlab.results import Condition, Cost

__all__ = [
    "COUNTERS",
    "MAPS",
    "SOURCES",
    "Counter",
    "Detail",
    "Snapshot",
    "SnapshotPair",
    "conditions",
    "costs",
    "missing_costs",
    "parse_snapshots",
]

COUNTERS: Final[tuple[Counter, ...]] = (
    Instructions(),
    VmExits(),
    UserspaceExits(),
    GuestInterrupts(),
    Syscalls(),
    CpuTime(),
    Softirqs(),
    Interrupts(),
    SoftirqTime(),
    Steal(),
)
"""All counters, in the order in which a trial lists its costs."""

SOURCES: Final[tuple[Source[Any], ...]] = tuple(
    {
        source.name: source for counter in COUNTERS for source in (*counter.needs, *counter.uses)
    }.values()
)
"""Everything that a snapshot reads for them, each once."""

MAPS: Final[tuple[MapSource[Any], ...]] = tuple(
    sorted(
        (source for source in SOURCES if isinstance(source, MapSource)),
        key=lambda source: source.number,
    )
)
"""The maps of eBPF programs among the sources, in the order of their numbers."""


def costs(pair: SnapshotPair) -> tuple[Cost, ...]:
    """Return what was spent between two snapshots, by all counters that could count."""
    return tuple(cost for counter in _counting(pair) for cost in counter.costs(pair))


def conditions(pair: SnapshotPair) -> tuple[Condition, ...]:
    """Return what the counters say about the machine between two snapshots."""
    return tuple(each for counter in _counting(pair) for each in counter.conditions(pair))


def missing_costs(refused: dict[str, str]) -> dict[str, str]:
    """Return the costs that cannot be counted and why; ``refused`` has the sources, and why."""
    return {
        kind.name: refused[source.name]
        for counter in COUNTERS
        for kind in counter.gives
        for source in counter.needs
        if source.name in refused
    }


def _counting(pair: SnapshotPair) -> list[Counter]:
    return [counter for counter in COUNTERS if all(pair.has(one) for one in counter.needs)]
