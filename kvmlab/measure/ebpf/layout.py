"""The maps in which eBPF programs count: their layout, and how their values are read."""

from __future__ import annotations

import errno
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.measure.exit_names import userspace_exit_name, vector_name, vm_exit_name
from kvmlab.measure.syscall_names import syscall_name

VCPUS, SOFTIRQS, SYSCALLS = range(3)
"""The maps, by their numbers in programs: a place for each vCPU's thread, a table of softirqs, a
counter for each system call."""

UNKNOWN, KVM, GUEST, QEMU, SOFTIRQ, AWAY = range(6)
# Of a thread's place, in bytes: the last event's moment, where the thread is, where it was before
# it was put aside or interrupted, the time in each state, the exits by reason.
LAST, WHERE, PUT_ASIDE, INTERRUPTED, SUMS, REASONS = 0, 8, 16, 24, 64, 128
# Reasons below 0x100 have a counter each; AMD's from 0x400 follow them; the last one is for others.
LOW, GAP, COUNTERS = 0x100, 0x300, 0x110
OTHER_REASON: Final = -1
# Then the exits to QEMU by reason, the last three counters for other reasons, signals and errors;
# then the injected interrupts by vector.
USERSPACE, SIGNALLED, FAILED, USERSPACE_COUNTERS = REASONS + 8 * COUNTERS, 62, 63, 64
VECTORS, VECTOR_COUNTERS = USERSPACE + 8 * USERSPACE_COUNTERS, 256
PLACE_BYTES: Final = VECTORS + 8 * VECTOR_COUNTERS
# The table of softirqs: when the softirq of each CPU began; then thread id + 1 and ns, a pair each.
CPUS, PAIRS, PROBES = 64, 256, 4
PAIR_BYTES = 16
BEGAN_BYTES = 8 * CPUS
TABLE_BYTES = PAIR_BYTES * (PAIRS + PROBES)
NO_ROOM_TID: Final = -1
NO_ROOM = PAIR_BYTES * (PAIRS + PROBES - 1)  # the last pair has what found no place
# The last counter is for system calls with higher numbers.
SYSCALL_COUNTERS = 512
SYSCALL_BYTES: Final = 8 * SYSCALL_COUNTERS


@dataclass(frozen=True)
class VcpuTimes:
    """The states of one vCPU's thread in ns, and its exits by the kernel's numbers.

    ``qemu_ns`` is None unless the detailed programs ran. ``exits`` has the reasons, ``userspace``
    those of exits to QEMU in words, ``injected`` the vectors of interrupts.
    """

    guest_ns: int
    qemu_ns: int | None
    exits: Mapping[int, int]
    userspace: Mapping[str, int]
    injected: Mapping[int, int]


def parse_place(place: bytes, now_ns: int, *, is_detailed: bool) -> VcpuTimes:
    """Read one thread's place at the moment ``now_ns`` of the monotonic clock.

    Raises:
        OutputError: it has another length than it should.
    """
    if len(place) != PLACE_BYTES:
        raise OutputError(f"The place of a vCPU has {len(place)} bytes instead of {PLACE_BYTES}.")
    numbers = struct.unpack(f"<{PLACE_BYTES // 8}Q", place)
    last, where = numbers[LAST // 8], numbers[WHERE // 8]
    sums = list(numbers[SUMS // 8 : SUMS // 8 + 8])
    sums[where & 7] += max(0, now_ns - last)
    exits, userspace, injected = (
        {index: count for index, count in enumerate(counts) if count}
        for counts in (
            numbers[REASONS // 8 : USERSPACE // 8],
            numbers[USERSPACE // 8 : VECTORS // 8],
            numbers[VECTORS // 8 :],
        )
    )
    return VcpuTimes(
        sums[GUEST],
        sums[QEMU] if is_detailed else None,
        {_reason(index): count for index, count in exits.items()},
        {_userspace(index): count for index, count in userspace.items()},
        injected,
    )


def parse_softirqs(table: bytes) -> dict[int, int]:
    """Return how long softirqs ran in each thread that they interrupted, ns; 0 is the idle thread.

    What found no place in the table is that of ``NO_ROOM_TID``.

    Raises:
        OutputError: it has another length than it should.
    """
    if len(table) != BEGAN_BYTES + TABLE_BYTES:
        raise OutputError(f"The table of softirqs has {len(table)} bytes.")
    pairs = struct.iter_unpack("<QQ", table[BEGAN_BYTES:])
    return {tid - 1: ns for tid, ns in pairs if ns}


def _userspace(index: int) -> str:
    if index == SIGNALLED:
        return userspace_exit_name(0, -errno.EINTR)
    return {SIGNALLED - 1: "other", FAILED: "error"}.get(index) or userspace_exit_name(index, 0)


def _reason(index: int) -> int:
    if index == COUNTERS - 1:
        return OTHER_REASON
    return index if index < LOW else index + GAP


@dataclass(frozen=True)
class Vcpus:
    """Counts of all vCPUs by name, and times by thread id, at one moment."""

    exits: Mapping[str, int]
    userspace_exits: Mapping[str, int]
    injected: Mapping[str, int]
    times: Mapping[int, VcpuTimes]


def parse_vcpus(
    value: bytes, tids: Sequence[int], *, now_ns: int, is_amd: bool, is_detailed: bool
) -> Vcpus:
    """Read the map of vCPUs, which has a place for each of ``tids`` in their order.

    Raises:
        OutputError: it has another length than it should.
    """
    places = [value[at : at + PLACE_BYTES] for at in range(0, len(value), PLACE_BYTES)]
    if len(places) != len(tids):
        raise OutputError(f"The map of vCPUs has {len(value)} bytes for {len(tids)} threads.")
    times = {
        tid: parse_place(place, now_ns, is_detailed=is_detailed)
        for tid, place in zip(tids, places, strict=True)
    }
    isa = 2 if is_amd else 1  # KVM_ISA_SVM, KVM_ISA_VMX
    exits, userspace, injected = Counter[str](), Counter[str](), Counter[str]()
    for thread in times.values():
        for reason, count in thread.exits.items():
            exits["other" if reason == OTHER_REASON else vm_exit_name(isa, reason)] += count
        userspace.update(thread.userspace)
        for vector, count in thread.injected.items():
            injected[vector_name(vector)] += count
    return Vcpus(dict(exits), dict(userspace), dict(injected), times)


def parse_syscalls(value: bytes) -> dict[str, int]:
    """Return the system calls by name.

    Raises:
        OutputError: the map has another length than it should.
    """
    if len(value) != SYSCALL_BYTES:
        raise OutputError(f"The map of system calls has {len(value)} bytes.")
    counts = struct.unpack(f"<{SYSCALL_COUNTERS}Q", value)
    return {
        "other" if number == SYSCALL_COUNTERS - 1 else syscall_name(number): count
        for number, count in enumerate(counts)
        if count
    }
