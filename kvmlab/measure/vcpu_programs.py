"""What eBPF programs keep of each virtual CPU's thread: where it ran how long, and why it came out.

Every thread has a place of its own in one map, so that no two CPUs ever write to the same one. An
event of the kernel says where the thread goes next; what has passed since the event before is added
to where it was::

    kvm_entry  ->  GUEST        kvm_exit  ->  KVM

Thorough programs tell KVM from QEMU too, and leave out when the thread did not run itself::

    kvm_userspace_exit  ->  QEMU        kvm_arch_vcpu_ioctl_run  ->  KVM
    sched_switch        ->  AWAY, and back to where it was
    softirq_entry       ->  SOFTIRQ, and softirq_exit back to where it was

These keep besides how long softirqs ran in every thread that they interrupted, in a table behind
the places: by the last eight bits of a thread's id, or in one of the next three pairs where another
thread has come before it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kvmlab.errors import OutputError
from kvmlab.measure.bpf import (
    CURRENT_PID_TGID,
    KTIME_GET_NS,
    PROCESSOR_ID,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    Program,
)

Attach = Literal["raw", "record", "probe"]
"""To a raw tracepoint, to a tracepoint with its record, to a function of the kernel."""

UNKNOWN, KVM, GUEST, QEMU, SOFTIRQ, AWAY = range(6)
# Of a thread's place, in bytes: the last event's moment, where the thread is, where it was before
# it was put aside or interrupted, how long it was where, how often it came out, for which reason.
_LAST, _WHERE, _PUT_ASIDE, _INTERRUPTED, _SUMS, _REASONS = 0, 8, 16, 24, 64, 128
# Reasons below 0x100 have a counter each; AMD's from 0x400 follow them; the last one is for others.
_LOW, _GAP, _COUNTERS = 0x100, 0x300, 0x110
OTHER_REASON: Final = -1
PLACE_BYTES: Final = _REASONS + 8 * _COUNTERS
# Behind the places: when the softirq of each CPU began; then thread id + 1 and ns, a pair for each.
_CPUS, _PAIRS, _PROBES = 64, 256, 4
_PAIR_BYTES = 16
_BEGAN_BYTES = 8 * _CPUS
_TABLE_BYTES = _PAIR_BYTES * (_PAIRS + _PROBES)
_NO_ROOM = _PAIR_BYTES * (_PAIRS + _PROBES - 1)  # the last pair has what found no place


@dataclass(frozen=True)
class Attached:
    """A program, and the event it is for."""

    how: Attach
    event: str
    code: bytes

    @property
    def word(self) -> str:
        """The same as one word, for the program on the host that loads it."""
        return f"{self.how}:{self.event}:{self.code.hex()}"


Fields = Mapping[str, int]
"""Where a tracepoint's record has its fields, in bytes."""


def light(tids: Sequence[int], kvm_exit: Fields) -> tuple[Attached, ...]:
    """What tells the time inside the VM, and exits by reason; ``tids`` are the vCPUs' threads.

    Raises:
        OutputError: the record of the event has other fields than are needed.
    """
    return (
        Attached("raw", "kvm_entry", _goes_to(tids, GUEST)),
        Attached("record", "kvm/kvm_exit", _exits(tids, _field(kvm_exit, "exit_reason"))),
    )


def thorough(tids: Sequence[int], sched_switch: Fields) -> tuple[Attached, ...]:
    """What tells KVM from QEMU besides, at a price for each switch, softirq and exit to QEMU.

    Raises:
        OutputError: the record of the event has other fields than are needed.
    """
    fields = [_field(sched_switch, name) for name in ("prev_pid", "next_pid")]
    return (
        Attached("raw", "kvm_userspace_exit", _goes_to(tids, QEMU)),
        Attached("probe", "kvm_arch_vcpu_ioctl_run", _goes_to(tids, KVM)),
        Attached("record", "sched/sched_switch", _switches(tids, *fields)),
        Attached("raw", "softirq_entry", _softirq_begins(tids)),
        Attached("raw", "softirq_exit", _softirq_ends(tids)),
    )


def _field(fields: Fields, name: str) -> int:
    try:
        return fields[name]
    except KeyError as error:
        raise OutputError(
            f"A tracepoint's record has no field {name}.", evidence=" ".join(fields)
        ) from error


def _place(program: Program, tids: Sequence[int], then: str, otherwise: str) -> None:
    """``r7`` at the place of the thread in ``r8``; jumps to ``then``, or to ``otherwise``."""
    for number, tid in enumerate(tids):
        program.jump_if_equal(R8, tid, f"{then}{number}")
    program.jump(otherwise)
    for number in range(len(tids)):
        program.label(f"{then}{number}").map_value(R7, number * PLACE_BYTES).jump(then)
    program.label(then)


def _current(program: Program) -> None:
    program.copy(R6, R1).call(CURRENT_PID_TGID).copy(R8, R0).low_half(R8)


def _spend(program: Program) -> None:
    """What has passed since the last event goes to where the thread was."""
    program.call(KTIME_GET_NS)
    program.load(R1, R7, _LAST).store(R7, _LAST, R0).subtract(R0, R1)
    program.load(R2, R7, _WHERE).mask(R2, 7).copy(R1, R2).shift_left(R1, 3)
    program.copy(R3, R7).add(R3, R1)
    program.load(R1, R3, _SUMS).add(R1, R0).store(R3, _SUMS, R1)


def _at(program: Program, where: int) -> None:
    program.set(R1, where).store(R7, _WHERE, R1)


def _goes_to(tids: Sequence[int], where: int) -> bytes:
    program = Program()
    _current(program)
    _place(program, tids, "place", "end")
    _spend(program)
    _at(program, where)
    return program.label("end").end().assembled()


def _exits(tids: Sequence[int], reason: int) -> bytes:
    program = Program()
    _current(program)
    _place(program, tids, "place", "end")
    _spend(program)
    _at(program, KVM)
    program.load_word(R2, R6, reason)
    program.jump_if_below(R2, _LOW, "known").add_value(R2, -_GAP)
    program.jump_if_below(R2, _LOW, "other").jump_if_below(R2, _COUNTERS - 1, "known")
    program.label("other").set(R2, _COUNTERS - 1)
    program.label("known").shift_left(R2, 3).add(R7, R2)
    program.load(R1, R7, _REASONS).add_value(R1, 1).store(R7, _REASONS, R1)
    return program.label("end").end().assembled()


def _softirq(program: Program, tids: Sequence[int]) -> None:
    """``r9``: now; ``r7`` at the moment at which this CPU's softirq began; ``r8``: the thread."""
    _current(program)
    program.call(KTIME_GET_NS).copy(R9, R0)
    program.call(PROCESSOR_ID).mask(R0, _CPUS - 1).shift_left(R0, 3)
    program.map_value(R7, len(tids) * PLACE_BYTES).add(R7, R0)


def _softirq_begins(tids: Sequence[int]) -> bytes:
    program = Program()
    _softirq(program, tids)
    program.store(R7, 0, R9)
    _place(program, tids, "place", "end")
    _spend(program)
    program.store(R7, _INTERRUPTED, R2)
    _at(program, SOFTIRQ)
    return program.label("end").end().assembled()


def _softirq_ends(tids: Sequence[int]) -> bytes:
    program = Program()
    _softirq(program, tids)
    program.load(R1, R7, 0).set(R2, 0).store(R7, 0, R2)
    # The programs came between the softirq's begin and its end.
    program.jump_if_equal(R1, 0, "place?").subtract(R9, R1)
    program.copy(R2, R8).add_value(R2, 1)
    program.copy(R3, R8).mask(R3, _PAIRS - 1).shift_left(R3, 4)
    program.map_value(R7, len(tids) * PLACE_BYTES + _BEGAN_BYTES).add(R7, R3)
    for probe in range(_PROBES - 1):
        program.load(R1, R7, 0)
        program.jump_if_same(R1, R2, "counted").jump_if_equal(R1, 0, "new")
        if probe < _PROBES - 2:
            program.add_value(R7, _PAIR_BYTES)
    program.map_value(R7, len(tids) * PLACE_BYTES + _BEGAN_BYTES + _NO_ROOM)
    program.set(R2, 0)
    program.label("new").store(R7, 0, R2)
    program.label("counted").load(R1, R7, 8).add(R1, R9).store(R7, 8, R1)
    program.label("place?")
    _place(program, tids, "place", "end")
    _spend(program)
    program.load(R1, R7, _INTERRUPTED).store(R7, _WHERE, R1)
    return program.label("end").end().assembled()


def _switches(tids: Sequence[int], leaving: int, coming: int) -> bytes:
    program = Program().copy(R6, R1).load_word(R8, R6, leaving)
    _place(program, tids, "leaves", "comes?")
    _spend(program)
    program.store(R7, _PUT_ASIDE, R2)
    _at(program, AWAY)
    program.label("comes?").load_word(R8, R6, coming)
    _place(program, tids, "comes", "end")
    _spend(program)
    program.load(R1, R7, _PUT_ASIDE).store(R7, _WHERE, R1)
    return program.label("end").end().assembled()


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
    last, where = numbers[_LAST // 8], numbers[_WHERE // 8]
    sums = list(numbers[_SUMS // 8 : _SUMS // 8 + 8])
    sums[where & 7] += max(0, now_ns - last)
    counts = enumerate(numbers[_REASONS // 8 :])
    exits = {_reason(index): count for index, count in counts if count}
    return VcpuTimes(sums[GUEST], sums[QEMU] if is_thorough else None, exits)


def map_bytes(tids: Sequence[int]) -> int:
    """How long the map's value is for so many threads."""
    return len(tids) * PLACE_BYTES + _BEGAN_BYTES + _TABLE_BYTES


def parse_softirqs(rest: bytes) -> dict[int, int]:
    """How long softirqs ran in each thread that they interrupted, ns; 0 is the idle thread.

    ``rest`` is the map's value behind the places. What found no place in the table is -1's.

    Raises:
        OutputError: it has another length than it should.
    """
    if len(rest) != _BEGAN_BYTES + _TABLE_BYTES:
        raise OutputError(f"The table of softirqs has {len(rest)} bytes.")
    pairs = struct.iter_unpack("<QQ", rest[_BEGAN_BYTES:])
    return {tid - 1: ns for tid, ns in pairs if ns}


def _reason(index: int) -> int:
    if index == _COUNTERS - 1:
        return OTHER_REASON
    return index if index < _LOW else index + _GAP
