"""The map in which eBPF programs count: where what lies in it, and what it says when it is read."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.measure.exit_names import vm_exit_name

UNKNOWN, KVM, GUEST, QEMU, SOFTIRQ, AWAY = range(6)
# Of a thread's place, in bytes: the last event's moment, where the thread is, where it was before
# it was put aside or interrupted, how long it was where, how often it came out, for which reason.
LAST, WHERE, PUT_ASIDE, INTERRUPTED, SUMS, REASONS = 0, 8, 16, 24, 64, 128
# Reasons below 0x100 have a counter each; AMD's from 0x400 follow them; the last one is for others.
LOW, GAP, COUNTERS = 0x100, 0x300, 0x110
OTHER_REASON: Final = -1
PLACE_BYTES: Final = REASONS + 8 * COUNTERS
# Behind the places: when the softirq of each CPU began; then thread id + 1 and ns, a pair for each.
CPUS, PAIRS, PROBES = 64, 256, 4
PAIR_BYTES = 16
BEGAN_BYTES = 8 * CPUS
TABLE_BYTES = PAIR_BYTES * (PAIRS + PROBES)
NO_ROOM = PAIR_BYTES * (PAIRS + PROBES - 1)  # the last pair has what found no place


@dataclass(frozen=True)
class VcpuTimes:
    """How long one virtual CPU's thread was where, in ns, and its exits by the kernel's number.

    ``qemu_ns`` is None unless the thorough programs ran.
    """

    guest_ns: int
    qemu_ns: int | None
    exits: Mapping[int, int]


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
    counts = enumerate(numbers[REASONS // 8 :])
    exits = {_reason(index): count for index, count in counts if count}
    return VcpuTimes(sums[GUEST], sums[QEMU] if is_thorough else None, exits)


def map_bytes(tids: Sequence[int]) -> int:
    """How long the map's value is for so many threads."""
    return len(tids) * PLACE_BYTES + BEGAN_BYTES + TABLE_BYTES


def parse_softirqs(rest: bytes) -> dict[int, int]:
    """How long softirqs ran in each thread that they interrupted, ns; 0 is the idle thread.

    ``rest`` is the map's value behind the places. What found no place in the table is -1's.

    Raises:
        OutputError: it has another length than it should.
    """
    if len(rest) != BEGAN_BYTES + TABLE_BYTES:
        raise OutputError(f"The table of softirqs has {len(rest)} bytes.")
    pairs = struct.iter_unpack("<QQ", rest[BEGAN_BYTES:])
    return {tid - 1: ns for tid, ns in pairs if ns}


def _reason(index: int) -> int:
    if index == COUNTERS - 1:
        return OTHER_REASON
    return index if index < LOW else index + GAP


@dataclass(frozen=True)
class Vcpus:
    """What eBPF programs have counted: exits of all virtual CPUs by name, times by thread.

    ``softirqs_ns`` is how long softirqs ran in whom they interrupted; None if nobody asked.
    """

    exits: dict[str, int]
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
        times = {
            int(tid): parse_place(
                bytes.fromhex(place), int(now), is_thorough=split in ("calls", "all")
            )
            for tid, place in places
        }
        exits: dict[str, int] = {}
        for each in times.values():
            for reason, count in each.exits.items():
                name = "other" if reason == OTHER_REASON else vm_exit_name(int(isa), reason)
                exits[name] = exits.get(name, 0) + count
    except ValueError as error:
        raise OutputError("What eBPF programs counted broke off.", evidence=text[:400]) from error
    softirqs_ns = None if table is None else parse_softirqs(bytes.fromhex(table))
    return Vcpus(exits, times, softirqs_ns)
