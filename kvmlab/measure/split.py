"""Who ran each nanosecond of a window: exact where eBPF programs or histograms can tell.

Programs in the kernel keep how long a virtual CPU's thread was where, and how long softirqs ran.
Where none can be loaded, histograms of tracefs sum the moments of events.
Between two snapshots the moments at which something ended, summed, less those at which it began,
are how long it lasted: no event is stored and none has to be matched with another. What lasts over
a snapshot's edge shows as a length of the window too much or too little, which is put right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.measure.parsing import Moments, Thread
from kvmlab.measure.vcpu_map import NO_ROOM_TID
from kvmlab.results import Cost

if TYPE_CHECKING:
    from kvmlab.measure.snapshot import Roles, Snapshot
    from kvmlab.measure.vcpu_map import VcpuTimes

NS_PER_INSTRUCTION: Final = 2
"""Of the embedded host's virtual clock: QEMU's ``-icount shift=1``."""
GUEST, OUTSIDE, VCPU = "guest", "vCPU outside the guest", "vCPU"
IN_KVM, IN_QEMU = "vCPU in KVM", "vCPU in QEMU"
SAMPLED = "guest (sampled)"
SERVER, SOFTIRQ, OTHERS = "peer's server", "softirq", "other programs"
_WRAP: Final = 2**64
_IDLE_TID: Final = 0
# The files of a snapshot are read one after the other: an event in between is in one and not in
# the other.
_SLACK_NS: Final = 5_000_000


@dataclass(frozen=True)
class Between:
    """The moments of a pair of events so far, by thread: something began, it ended."""

    began: Mapping[int, Moments]
    ended: Mapping[int, Moments]


def lasted_ns(
    begin: Between, end: Between, tid: int, at_ns: tuple[int, int], most_ns: int, *, long: bool
) -> int | None:
    """How long it lasted in that thread between two snapshots, taken at the moments ``at_ns``.

    ``most_ns`` is how long the thread ran. Where both nothing and nearly all of it fits what was
    summed, ``long`` decides. None where the kernel did not sum, or the sums fit nothing.
    """
    found = 0
    for first, last, sign in ((begin.began, end.began, -1), (begin.ended, end.ended, 1)):
        before, after = first.get(tid, Moments(0, 0)), last.get(tid, Moments(0, 0))
        if before.ns is None or after.ns is None:
            return None
        # Reckoned from the first snapshot: what spans an edge then errs by whole windows.
        found += sign * (after.ns - before.ns - (after.count - before.count) * at_ns[0])
    found %= _WRAP
    found -= _WRAP if found >= _WRAP // 2 else 0
    spans = (found + times * (at_ns[1] - at_ns[0]) for times in range(3))
    fitting = [span for span in spans if -_SLACK_NS <= span <= most_ns + _SLACK_NS]
    if not fitting:
        return None
    return min(max(0, max(fitting) if long else min(fitting)), most_ns)


def guest_ns(begin: Snapshot, end: Snapshot, roles: Roles) -> int | None:
    """How long the vCPU threads were inside the VM; None where that is only sampled."""
    if begin.vcpus is not None and end.vcpus is not None:
        then = begin.vcpus
        return sum(last.guest_ns - _guest_ns(then, tid) for tid, last in end.vcpus.items())
    if begin.guest is None or end.guest is None:
        return None
    total = 0
    for tid in roles.vcpus & end.threads.keys():
        run_ns = end.threads[tid].run_ns - _before(begin, end.threads[tid]).run_ns
        edges = _edges(begin, end)
        found = lasted_ns(begin.guest, end.guest, tid, edges, run_ns, long=True)
        if found is None:
            return None
        total += found
    return total


def _guest_ns(times: Mapping[int, VcpuTimes], tid: int) -> int:
    return times[tid].guest_ns if tid in times else 0


def outside(begin: Snapshot, end: Snapshot, outside_ns: float) -> dict[str, float]:
    """``outside_ns`` of the vCPU threads by who ran it: KVM or QEMU, where that was counted."""
    qemu_ns = 0
    for tid, last in (end.vcpus or {}).items():
        first = (begin.vcpus or {}).get(tid)
        if last.qemu_ns is None or first is None or first.qemu_ns is None:
            return {OUTSIDE: outside_ns}
        qemu_ns += last.qemu_ns - first.qemu_ns
    if not end.vcpus:
        return {OUTSIDE: outside_ns}
    return {IN_KVM: max(0.0, outside_ns - qemu_ns), IN_QEMU: float(qemu_ns)}


def instructions(begin: Snapshot, end: Snapshot, roles: Roles) -> tuple[Cost, ...]:
    """What ran in the window of a host whose nanoseconds are instructions, by who ran it.

    Softirqs are taken out of the thread that they interrupted; they serve the host's own port and,
    where the peer is a namespace of the host, the peer's. System calls count as their caller's.
    What ran besides is "other programs". The rest is idle: nothing ran. Nothing where a part
    was not counted.
    """
    told = _told(begin, end, roles)
    return tuple(
        Cost("instructions", part, ns / NS_PER_INSTRUCTION, "instructions")
        for part, ns in told.items()
        if ns
    )


def idle_percent(begin: Snapshot, end: Snapshot, spent: tuple[Cost, ...]) -> float:
    """The part of the window in which no instruction ran, of what :func:`instructions` told."""
    ran = sum(cost.value for cost in spent if cost.name == "instructions") * NS_PER_INSTRUCTION
    first, last = _edges(begin, end)
    return 100 * (1 - ran / (last - first))


def _told(begin: Snapshot, end: Snapshot, roles: Roles) -> dict[str, float]:
    inside_ns = guest_ns(begin, end, roles)
    softirqs = _softirqs(begin, end)
    if softirqs is None or None in (begin.busy_ns, end.busy_ns, inside_ns):
        return {}
    if softirqs.get(NO_ROOM_TID):
        return {}  # whom they interrupted is not known: a part would be in two
    interrupted = dict(softirqs)
    found: dict[str, float] = {SERVER: 0}
    known_ns = 0
    for tid, last in end.threads.items():
        run_ns = last.run_ns - _before(begin, last).run_ns
        known_ns += run_ns
        role = roles.of(last)
        found[role] = found.get(role, 0) + run_ns - interrupted.get(tid, 0)
    found |= outside(begin, end, found.pop(VCPU, 0) - (inside_ns or 0))
    idle_ns = interrupted.pop(_IDLE_TID, 0)
    elsewhere = sum(ns for tid, ns in interrupted.items() if tid not in end.threads)
    others_ns = (end.busy_ns or 0) - (begin.busy_ns or 0) - known_ns - elsewhere
    softirq_ns = idle_ns + sum(interrupted.values())
    return {GUEST: inside_ns or 0, **found, SOFTIRQ: softirq_ns, OTHERS: max(others_ns, 0)}


def _softirqs(begin: Snapshot, end: Snapshot) -> dict[int, int] | None:
    """How long softirqs ran, by the thread that they interrupted."""
    if begin.softirqs_ns is not None and end.softirqs_ns is not None:
        before = begin.softirqs_ns
        return {tid: ns - before.get(tid, 0) for tid, ns in end.softirqs_ns.items()}
    if begin.softirq is None or end.softirq is None:
        return None
    edges = _edges(begin, end)
    most_ns = edges[1] - edges[0]
    return {
        tid: lasted_ns(begin.softirq, end.softirq, tid, edges, most_ns, long=False) or 0
        for tid in end.softirq.ended
    }


def softirq_ns(begin: Snapshot, end: Snapshot) -> int | None:
    """How long softirqs ran, in whatever they interrupted; None where that is only sampled."""
    found = _softirqs(begin, end)
    return None if found is None else sum(found.values())


def _before(begin: Snapshot, last: Thread) -> Thread:
    return begin.threads.get(last.tid, Thread(last.tid, last.process, last.comm, 0, 0, 0, 0))


def _edges(begin: Snapshot, end: Snapshot) -> tuple[int, int]:
    return round(begin.at_sec * 1e9), round(end.at_sec * 1e9)
