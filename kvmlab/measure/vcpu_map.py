"""The maps in which eBPF programs count: where what lies in them, and what they say when read."""

from __future__ import annotations

import errno
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.measure.exit_names import userspace_exit_name, vector_name, vm_exit_name

PLACES, SOFTIRQS = range(2)
"""The maps, by their numbers in programs: a place for each thread, and a table of softirqs."""

UNKNOWN, KVM, GUEST, QEMU, SOFTIRQ, AWAY = range(6)
# Of a thread's place, in bytes: the last event's moment, where the thread is, where it was before
# it was put aside or interrupted, how long it was where, how often it came out, for which reason.
LAST, WHERE, PUT_ASIDE, INTERRUPTED, SUMS, REASONS = 0, 8, 16, 24, 64, 128
# Reasons below 0x100 have a counter each; AMD's from 0x400 follow them; the last one is for others.
LOW, GAP, COUNTERS = 0x100, 0x300, 0x110
OTHER_REASON: Final = -1
# Then why it went out to QEMU, the last three counters for other reasons, signals and errors; then
# which interrupt came in.
USERSPACE, SIGNALLED, FAILED, USERSPACE_COUNTERS = REASONS + 8 * COUNTERS, 62, 63, 64
VECTORS, VECTOR_COUNTERS = USERSPACE + 8 * USERSPACE_COUNTERS, 256
PLACE_BYTES: Final = VECTORS + 8 * VECTOR_COUNTERS
# The other map: when the softirq of each CPU began; then thread id + 1 and ns, a pair for each.
CPUS, PAIRS, PROBES = 64, 256, 4
PAIR_BYTES = 16
BEGAN_BYTES = 8 * CPUS
TABLE_BYTES = PAIR_BYTES * (PAIRS + PROBES)
NO_ROOM_TID: Final = -1
NO_ROOM = PAIR_BYTES * (PAIRS + PROBES - 1)  # the last pair has what found no place


@dataclass(frozen=True)
class VcpuTimes:
    """How long one virtual CPU's thread was where, in ns, and what it met by the kernel's numbers.

    ``qemu_ns`` is None unless the thorough programs ran. ``exits`` has the reasons, ``userspace``
    those of exits to QEMU in words, ``injected`` the vectors of interrupts.
    """

    guest_ns: int
    qemu_ns: int | None
    exits: Mapping[int, int]
    userspace: Mapping[str, int]
    injected: Mapping[int, int]


def parse_place(place: bytes, now_ns: int, *, is_thorough: bool) -> VcpuTimes:
    """What one thread's place says at the moment ``now_ns`` of the monotonic clock.

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
        sums[QEMU] if is_thorough else None,
        {_reason(index): count for index, count in exits.items()},
        {_userspace(index): count for index, count in userspace.items()},
        injected,
    )


def maps_bytes(tids: Sequence[int]) -> tuple[int, int]:
    """How long the value of each map is for so many threads."""
    return len(tids) * PLACE_BYTES, BEGAN_BYTES + TABLE_BYTES


def parse_softirqs(table: bytes) -> dict[int, int]:
    """How long softirqs ran in each thread that they interrupted, ns; 0 is the idle thread.

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
    """What eBPF programs have counted by one moment: of all virtual CPUs by name, times by thread.

    ``softirqs_ns`` is how long softirqs ran in whom they interrupted; None if nobody asked.
    """

    at_ns: int
    exits: dict[str, int]
    userspace_exits: dict[str, int]
    injected: dict[str, int]
    times: dict[int, VcpuTimes]
    softirqs_ns: dict[int, int] | None


def vcpus_of(text: str) -> Vcpus:
    """What the programs of :mod:`kvmlab.measure.vcpu_programs` have kept, thread by thread.

    ::

        now 46710034182                             (ns of the monotonic clock)
        split all
        isa 2
        softirqs 0000000000000000...                (with "all" only: the table of softirqs)
        263 9e17000000000000...                     (thread, its place in the map in hex digits)

    Raises:
        OutputError: it broke off.
    """
    words = [line.split() for line in text.splitlines() if line]
    try:
        (_, now), (_, split), (_, isa), *places = words
        table = places.pop(0)[1] if split == "all" else None
        thorough = split in ("calls", "all")
        times = {
            int(tid): parse_place(bytes.fromhex(place), int(now), is_thorough=thorough)
            for tid, place in places
        }
        softirqs_ns = None if table is None else parse_softirqs(bytes.fromhex(table))
        at_ns, kind = int(now), int(isa)
    except ValueError as error:
        raise OutputError("What eBPF programs counted broke off.", evidence=text[:400]) from error
    exits, userspace, injected = Counter[str](), Counter[str](), Counter[str]()
    for each in times.values():
        for reason, count in each.exits.items():
            exits["other" if reason == OTHER_REASON else vm_exit_name(kind, reason)] += count
        userspace.update(each.userspace)
        for vector, count in each.injected.items():
            injected[vector_name(vector)] += count
    return Vcpus(at_ns, dict(exits), dict(userspace), dict(injected), times, softirqs_ns)
