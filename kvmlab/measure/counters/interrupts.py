"""Interrupts of the devices that the scheme uses on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmlab.measure import procfs
from kvmlab.measure.counters.counter import Counter, FileSource, SnapshotPair, differences
from kvmlab.results import Cost
from kvmlab.results.cost_kinds import INTERRUPTS

INTERRUPT_COUNTS = FileSource("/proc/interrupts", procfs.per_cpu_table)


class Interrupts(Counter):
    """Interrupts of the scheme's own devices and of functions that were handed to a VM."""

    gives = (INTERRUPTS,)
    needs = (INTERRUPT_COUNTS,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for each name under which an interrupt is registered."""
        counts = (_of(table, pair.devices) for table in pair.read(INTERRUPT_COUNTS))
        yield from differences(INTERRUPTS, *counts)


def _of(interrupts: Mapping[str, int], devices: tuple[str, ...]) -> dict[str, int]:
    return {
        name: count
        for name, count in interrupts.items()
        if name.startswith("vfio-") or any(name.split("-")[0] == device for device in devices)
    }
