"""Softirqs: how often the network's ran, and how long all of them ran in whom they interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmlab.measure import procfs
from kvmlab.measure.counters.counter import (
    Counter,
    Detail,
    FileSource,
    MapSource,
    SnapshotPair,
    differences,
)
from kvmlab.measure.counters.cpu_ticks import CPU_TICKS, sampled_us
from kvmlab.measure.ebpf import layout, programs
from kvmlab.results import Cost
from kvmlab.results.cost_kinds import SOFTIRQ_TIME, SOFTIRQS

SOFTIRQ_COUNTS = FileSource("/proc/softirqs", procfs.per_cpu_table)
SOFTIRQ_TIMES = MapSource(
    "the map of softirqs",
    layout.SOFTIRQS,
    size=lambda vm: layout.BEGAN_BYTES + layout.TABLE_BYTES,
    programs=lambda vm, fields: programs.detailed(sorted(vm.vcpus), fields),
    parser=lambda value, texts, vm: layout.parse_softirqs(value),
    details=frozenset({Detail.FULL}),
    # Programs come and go, and each that a softirq interrupts takes a pair.
    is_emptied=True,
)


class Softirqs(Counter):
    """Softirqs of the network, by kind."""

    gives = (SOFTIRQS,)
    needs = (SOFTIRQ_COUNTS,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for receiving and one for sending."""
        yield from differences(SOFTIRQS, *map(_of_the_network, pair.read(SOFTIRQ_COUNTS)))


class SoftirqTime(Counter):
    """CPU time in softirqs: exact where programs sum it, else sampled by the kernel's tick."""

    gives = (SOFTIRQ_TIME,)
    needs = (CPU_TICKS,)
    uses = (SOFTIRQ_TIMES,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield one cost, of all CPUs."""
        exact = softirq_ns(pair)
        us = sampled_us(pair, "softirq") if exact is None else sum(exact.values()) / 1000
        yield SOFTIRQ_TIME.cost("all CPUs", us)


def softirq_ns(pair: SnapshotPair) -> dict[int, int] | None:
    """Return how long softirqs ran by interrupted thread; None where no program summed it."""
    if not pair.has(SOFTIRQ_TIMES):
        return None
    begin, end = pair.read(SOFTIRQ_TIMES)
    return {tid: ns - begin.get(tid, 0) for tid, ns in end.items()}


def _of_the_network(softirqs: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in softirqs.items() if name.startswith("NET_")}
