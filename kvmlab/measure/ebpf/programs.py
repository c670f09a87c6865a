"""The eBPF programs: the states of each vCPU's thread, exits by reason, softirqs, system calls.

Every vCPU's thread has a place of its own in one map, so that no two CPUs ever write to the same
one. An event of the kernel says in which state the thread is next; the time since the event before
is added to the state that it leaves::

    kvm_entry  ->  GUEST        kvm_exit  ->  KVM

Detailed programs tell KVM from QEMU too, and leave out when the thread did not run itself::

    kvm_userspace_exit  ->  QEMU        kvm_arch_vcpu_ioctl_run  ->  KVM
    sched_switch        ->  AWAY, and back to where it was
    softirq_entry       ->  SOFTIRQ, and softirq_exit back to where it was

They also keep how long softirqs ran in every thread that they interrupted, in a map of its own that
is emptied before each trial: by the last eight bits of a thread's id, or in one of the next three
pairs where another thread came first.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kvmlab.errors import OutputError
from kvmlab.measure.ebpf.assembler import (
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
from kvmlab.measure.ebpf.layout import (
    AWAY,
    BEGAN_BYTES,
    COUNTERS,
    CPUS,
    FAILED,
    GAP,
    GUEST,
    INTERRUPTED,
    KVM,
    LAST,
    LOW,
    NO_ROOM,
    PAIR_BYTES,
    PAIRS,
    PLACE_BYTES,
    PROBES,
    PUT_ASIDE,
    QEMU,
    REASONS,
    SIGNALLED,
    SOFTIRQ,
    SOFTIRQS,
    SUMS,
    SYSCALL_COUNTERS,
    SYSCALLS,
    USERSPACE,
    VCPUS,
    VECTOR_COUNTERS,
    VECTORS,
    WHERE,
)

Attach = Literal["raw", "record", "probe"]
"""To a raw tracepoint, to a tracepoint with its record, to a function of the kernel."""


@dataclass(frozen=True)
class Attached:
    """A program, and the event that it is attached to."""

    how: Attach
    event: str
    code: bytes

    @property
    def word(self) -> str:
        """The same as one word, for ``meters.pl``."""
        return f"{self.how}:{self.event}:{self.code.hex()}"


RecordFields = Mapping[str, Mapping[str, int]]
"""By event: the offset of each field in a tracepoint's record, in bytes."""
RECORDS: Final = ("kvm/kvm_exit", "sched/sched_switch")
"""The tracepoints whose records the programs read."""


def light(tids: Sequence[int], fields: RecordFields) -> tuple[Attached, ...]:
    """Return the programs that count time in the VM, exits and injected interrupts.

    ``tids`` are the vCPUs' threads.

    Raises:
        OutputError: a record has other fields than are needed.
    """
    return (
        Attached("raw", "kvm_entry", _goes_to(tids, GUEST)),
        Attached("record", RECORDS[0], _exits(tids, _field(fields, RECORDS[0], "exit_reason"))),
        Attached("raw", "kvm_userspace_exit", _userspace_exits(tids)),
        Attached("raw", "kvm_inj_virq", _injected(tids)),
    )


def detailed(tids: Sequence[int], fields: RecordFields) -> tuple[Attached, ...]:
    """Return the programs that tell KVM from QEMU, and sum softirqs.

    Every switch, softirq and exit to QEMU of the host pays for them.

    Raises:
        OutputError: a record has other fields than are needed.
    """
    leaving, coming = (_field(fields, RECORDS[1], name) for name in ("prev_pid", "next_pid"))
    return (
        Attached("raw", "kvm_userspace_exit", _goes_to(tids, QEMU)),
        Attached("probe", "kvm_arch_vcpu_ioctl_run", _goes_to(tids, KVM)),
        Attached("record", RECORDS[1], _switches(tids, leaving, coming)),
        Attached("raw", "softirq_entry", _softirq_begins(tids)),
        Attached("raw", "softirq_exit", _softirq_ends(tids)),
    )


def syscalls(pid: int) -> tuple[Attached, ...]:
    """Return the program that counts the system calls of a process and its threads.

    Every program of the host pays for it with each of its system calls.
    """
    program = Program().copy(R6, R1).call(CURRENT_PID_TGID).shift_right(R0, 32)
    program.jump_if_equal(R0, pid, "ours").jump("end")
    program.label("ours").load(R2, R6, 8)  # called with the registers, then the number
    program.jump_if_below(R2, SYSCALL_COUNTERS - 1, "known").set(R2, SYSCALL_COUNTERS - 1)
    program.label("known").map_value(R7, SYSCALLS, 0).shift_left(R2, 3).add(R7, R2)
    # Threads of one process share the counters.
    program.set(R1, 1).add_atomically(R7, 0, R1)
    return (Attached("raw", "sys_enter", _ended(program)),)


def _field(fields: RecordFields, event: str, name: str) -> int:
    try:
        return fields[event][name]
    except KeyError as error:
        raise OutputError(
            f"The record of the tracepoint {event} has no field {name}.",
            evidence=" ".join(fields.get(event, ())),
        ) from error


def _place(program: Program, tids: Sequence[int], then: str, otherwise: str) -> None:
    """Point ``r7`` at the place of the thread in ``r8`` and jump to ``then``, or ``otherwise``."""
    for number, tid in enumerate(tids):
        program.jump_if_equal(R8, tid, f"{then}{number}")
    program.jump(otherwise)
    for number in range(len(tids)):
        program.label(f"{then}{number}").map_value(R7, VCPUS, number * PLACE_BYTES).jump(then)
    program.label(then)


def _current(program: Program) -> None:
    program.copy(R6, R1).call(CURRENT_PID_TGID).copy(R8, R0).low_half(R8)


def _at_place(tids: Sequence[int]) -> Program:
    """Put the argument in ``r6``, the running thread's place in ``r7``; others go to the end."""
    program = Program()
    _current(program)
    _place(program, tids, "place", "end")
    return program


def _spend(program: Program) -> None:
    """Add the time since the last event to the state that the thread was in."""
    program.call(KTIME_GET_NS)
    program.load(R1, R7, LAST).store(R7, LAST, R0).subtract(R0, R1)
    program.load(R2, R7, WHERE).mask(R2, 7).copy(R1, R2).shift_left(R1, 3)
    program.copy(R3, R7).add(R3, R1)
    program.load(R1, R3, SUMS).add(R1, R0).store(R3, SUMS, R1)


def _at(program: Program, where: int) -> None:
    program.set(R1, where).store(R7, WHERE, R1)


def _ended(program: Program) -> bytes:
    return program.label("end").end().assembled()


def _goes_to(tids: Sequence[int], where: int) -> bytes:
    program = _at_place(tids)
    _spend(program)
    _at(program, where)
    return _ended(program)


def _exits(tids: Sequence[int], reason: int) -> bytes:
    program = _at_place(tids)
    _spend(program)
    _at(program, KVM)
    program.load_word(R2, R6, reason)
    program.jump_if_below(R2, LOW, "known").add_value(R2, -GAP)
    program.jump_if_below(R2, LOW, "other").jump_if_below(R2, COUNTERS - 1, "known")
    program.label("other").set(R2, COUNTERS - 1)
    program.label("known")
    _count(program, REASONS)
    return _ended(program)


def _count(program: Program, counters: int) -> None:
    """Add one to the counter ``r2`` of those at ``counters``."""
    program.shift_left(R2, 3).add(R7, R2)
    program.load(R1, R7, counters).add_value(R1, 1).store(R7, counters, R1)


def _userspace_exits(tids: Sequence[int]) -> bytes:
    """Count the reason (the first argument) where the error number, 32 bits too, is zero."""
    program = _at_place(tids)
    program.load(R1, R6, 8).low_half(R1).load(R2, R6, 0).low_half(R2)
    program.jump_if_equal(R1, 0, "reason")
    program.set(R2, SIGNALLED).add_value(R1, errno.EINTR).low_half(R1)
    program.jump_if_equal(R1, 0, "known").set(R2, FAILED).jump("known")
    program.label("reason").jump_if_below(R2, SIGNALLED - 1, "known").set(R2, SIGNALLED - 1)
    program.label("known")
    _count(program, USERSPACE)
    return _ended(program)


def _injected(tids: Sequence[int]) -> bytes:
    """Count the vector, the first argument."""
    program = _at_place(tids)
    program.load(R2, R6, 0).mask(R2, VECTOR_COUNTERS - 1)
    _count(program, VECTORS)
    return _ended(program)


def _softirq(program: Program) -> None:
    """Put the time in ``r9``, the thread in ``r8``, the begin of this CPU's softirq at ``r7``."""
    _current(program)
    program.call(KTIME_GET_NS).copy(R9, R0)
    program.call(PROCESSOR_ID).mask(R0, CPUS - 1).shift_left(R0, 3)
    program.map_value(R7, SOFTIRQS, 0).add(R7, R0)


def _softirq_begins(tids: Sequence[int]) -> bytes:
    program = Program()
    _softirq(program)
    program.store(R7, 0, R9)
    _place(program, tids, "place", "end")
    _spend(program)
    program.store(R7, INTERRUPTED, R2)
    _at(program, SOFTIRQ)
    return _ended(program)


def _softirq_ends(tids: Sequence[int]) -> bytes:
    program = Program()
    _softirq(program)
    program.load(R1, R7, 0).set(R2, 0).store(R7, 0, R2)
    # The programs were loaded between the softirq's begin and its end.
    program.jump_if_equal(R1, 0, "place?").subtract(R9, R1)
    program.copy(R2, R8).add_value(R2, 1)
    program.copy(R3, R8).mask(R3, PAIRS - 1).shift_left(R3, 4)
    program.map_value(R7, SOFTIRQS, BEGAN_BYTES).add(R7, R3)
    for probe in range(PROBES - 1):
        program.load(R1, R7, 0)
        program.jump_if_same(R1, R2, "counted").jump_if_equal(R1, 0, "new")
        if probe < PROBES - 2:
            program.add_value(R7, PAIR_BYTES)
    program.map_value(R7, SOFTIRQS, BEGAN_BYTES + NO_ROOM)
    program.set(R2, 0)
    program.label("new").store(R7, 0, R2)
    program.label("counted").load(R1, R7, 8).add(R1, R9).store(R7, 8, R1)
    program.label("place?")
    _place(program, tids, "place", "end")
    _spend(program)
    program.load(R1, R7, INTERRUPTED).store(R7, WHERE, R1)
    return _ended(program)


def _switches(tids: Sequence[int], leaving: int, coming: int) -> bytes:
    program = Program().copy(R6, R1).load_word(R8, R6, leaving)
    _place(program, tids, "leaves", "comes?")
    _spend(program)
    program.store(R7, PUT_ASIDE, R2)
    _at(program, AWAY)
    program.label("comes?").load_word(R8, R6, coming)
    _place(program, tids, "comes", "end")
    _spend(program)
    program.load(R1, R7, PUT_ASIDE).store(R7, WHERE, R1)
    return _ended(program)
