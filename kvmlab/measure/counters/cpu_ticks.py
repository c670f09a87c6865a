"""Stolen time and other states of all CPUs, as the kernel samples them at its tick."""

from __future__ import annotations

from collections.abc import Iterator

from kvmlab.clock import Clock
from kvmlab.measure import procfs
from kvmlab.measure.counters.counter import Counter, FileSource, SnapshotPair
from kvmlab.measure.procfs import US_PER_TICK
from kvmlab.results import Condition, Cost
from kvmlab.results.cost_kinds import STEAL

CPU_TICKS = FileSource("/proc/stat", procfs.cpu_ticks)


class Steal(Counter):
    """CPU time that the machine beneath took from the host, as the host's kernel knows it."""

    gives = (STEAL,)
    needs = (CPU_TICKS,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield one cost, of all CPUs."""
        yield STEAL.cost("all CPUs", sampled_us(pair, "steal"))

    def conditions(self, pair: SnapshotPair) -> Iterator[Condition]:
        """Yield how much of all CPUs' wall time was idle; under the virtual clock, nothing.

        There `kvmlab.measure.counters.instructions` counts it exactly.
        """
        begin, end = pair.read(CPU_TICKS)
        # "guest" is a part of "user".
        passed = {kind: ticks - begin[kind] for kind, ticks in end.items() if kind != "guest"}
        if pair.clock is Clock.WALL and (everything := sum(passed.values())) > 0:
            idle = passed["idle"] + passed["iowait"]
            yield Condition("idle_percent", "host", 100 * idle / everything, "%")


def sampled_us(pair: SnapshotPair, *kinds: str) -> float:
    """Return the time of all CPUs in states of ``/proc/stat`` ("user", "steal"), to 10 ms."""
    begin, end = pair.read(CPU_TICKS)
    return sum(end[kind] - begin[kind] for kind in kinds) * US_PER_TICK
