"""System calls of the QEMU process."""

from __future__ import annotations

from collections.abc import Iterator

from kvmlab.measure.counters.counter import (
    Counter,
    Detail,
    MapSource,
    SnapshotPair,
    differences,
)
from kvmlab.measure.ebpf import layout, programs
from kvmlab.results import Cost
from kvmlab.results.cost_kinds import SYSCALLS

SYSCALL_MAP = MapSource(
    "the map of system calls",
    layout.SYSCALLS,
    size=lambda vm: layout.SYSCALL_BYTES,
    programs=lambda vm, fields: programs.syscalls(vm.pid),
    parser=lambda value, texts, vm: layout.parse_syscalls(value),
    # All programs of the host pay for it, with each of their system calls.
    details=frozenset({Detail.ROUND_TRIP, Detail.FULL}),
)


class Syscalls(Counter):
    """System calls of QEMU and its threads, by name."""

    gives = (SYSCALLS,)
    needs = (SYSCALL_MAP,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for each system call."""
        yield from differences(SYSCALLS, *pair.read(SYSCALL_MAP))
