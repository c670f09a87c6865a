"""Instructions by who ran them, on a host whose nanoseconds are instructions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from kvmlab.clock import Clock
from kvmlab.measure import procfs
from kvmlab.measure.counters.counter import (
    SERVER,
    VCPU,
    Counter,
    Detail,
    FileSource,
    SnapshotPair,
    ThreadSource,
)
from kvmlab.measure.counters.cpu_time import GUEST, THREADS, outside_guest
from kvmlab.measure.counters.softirqs import SOFTIRQ_TIMES, softirq_ns
from kvmlab.measure.counters.vm_exits import VCPUS, guest_ns
from kvmlab.measure.ebpf.layout import NO_ROOM_TID
from kvmlab.results import Condition, Cost
from kvmlab.results.cost_kinds import INSTRUCTIONS

BUSY = FileSource("/proc/schedstat", procfs.busy_ns, frozenset({Detail.FULL}))
SERVER_THREADS = ThreadSource("server", frozenset({Detail.FULL}))
NS_PER_INSTRUCTION: Final = 2
"""Of the embedded host's virtual clock: QEMU's ``-icount shift=1``."""
SOFTIRQ, OTHERS = "softirq", "other programs"
_IDLE_TID: Final = 0


class Instructions(Counter):
    """Instructions of the whole host in the window, by who ran them.

    Softirqs are taken out of the thread that they interrupted; they serve the host's own port and,
    where the peer is a namespace of the host, the peer's. System calls count as their caller's.
    Whatever else ran is "other programs". In the rest of the window nothing ran.
    """

    gives = (INSTRUCTIONS,)
    needs = (THREADS, SERVER_THREADS, BUSY, VCPUS, SOFTIRQ_TIMES)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for each role; nothing under wall time, or where a part is not known."""
        for part, ns in _spent_ns(pair).items():
            if ns:
                yield INSTRUCTIONS.cost(part, ns / NS_PER_INSTRUCTION)

    def conditions(self, pair: SnapshotPair) -> Iterator[Condition]:
        """Yield the part of the window in which no instruction ran."""
        if spent := _spent_ns(pair):
            idle = 100 * (1 - sum(spent.values()) / (pair.seconds * 1e9))
            yield Condition("idle_percent", "host", idle, "%")


def _spent_ns(pair: SnapshotPair) -> dict[str, float]:
    inside_ns, softirqs = guest_ns(pair), softirq_ns(pair)
    if pair.clock is not Clock.VIRTUAL or inside_ns is None or softirqs is None:
        return {}
    if softirqs.get(NO_ROOM_TID):
        return {}  # the interrupted threads are not known: a part would be counted twice
    (vm_begin, vm_end), (server_begin, server_end) = pair.read(THREADS), pair.read(SERVER_THREADS)
    begin, end = {**vm_begin, **server_begin}, {**vm_end, **server_end}
    ran_ns = {tid: thread.since(begin.get(tid)).run_ns for tid, thread in end.items()}
    by_role = defaultdict[str, float](float)
    for tid, thread in end.items():
        by_role[pair.role(thread)] += ran_ns[tid] - softirqs.get(tid, 0)
    outside_ns = by_role.pop(VCPU, 0.0) - inside_ns
    busy_begin, busy_end = pair.read(BUSY)
    elsewhere_ns = sum(ns for tid, ns in softirqs.items() if tid not in end and tid != _IDLE_TID)
    others_ns = busy_end - busy_begin - sum(ran_ns.values()) - elsewhere_ns
    return {
        GUEST: inside_ns,
        SERVER: by_role.pop(SERVER, 0.0),
        **by_role,
        **outside_guest(pair, outside_ns),
        SOFTIRQ: sum(softirqs.values()),
        OTHERS: max(others_ns, 0),
    }
