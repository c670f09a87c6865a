"""eBPF programs as listings, and the maps that they fill as numbers: no kernel runs them here."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from kvmlab.errors import OutputError
from kvmlab.measure.ebpf.assembler import R1, R2, Program, disassemble
from kvmlab.measure.ebpf.layout import (
    BEGAN_BYTES,
    GUEST,
    OTHER_REASON,
    PLACE_BYTES,
    QEMU,
    SYSCALL_BYTES,
    TABLE_BYTES,
    parse_place,
    parse_softirqs,
    parse_syscalls,
    parse_vcpus,
)
from kvmlab.measure.ebpf.programs import RECORDS, Attached, detailed, light, syscalls

# Offsets of the records' fields, as the embedded host's kernel has them.
FIELDS = {
    "kvm/kvm_exit": {"common_pid": 4, "exit_reason": 8},
    "sched/sched_switch": {"prev_pid": 24, "next_pid": 56},
}
VCPUS = (263, 264)


def listing(program: Attached) -> str:
    return f"{program.how} {program.event}\n{disassemble(program.code)}\n"


def place(*, last: int, where: int, **at: int) -> bytes:
    """Build a thread's place: the moment, where it is, ``n12=3`` for three in number twelve."""
    numbers = [last, where, *[0] * (PLACE_BYTES // 8 - 2)]
    for name, value in at.items():
        numbers[int(name[1:])] = value
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def test_jumps_lead_to_their_labels() -> None:
    program = Program().jump_if_equal(R1, 7, "there").set(R2, 1).jump("end").label("there")
    program.set(R2, 2).label("end").end()
    first, _, third, *_ = struct.iter_unpack("<BBhi", program.assembled())
    assert first == (0x15, R1, 2, 7)  # over two instructions
    assert third == (0x05, 0, 1, 0)


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("light", light(VCPUS, FIELDS)),
        ("detailed", detailed(VCPUS, FIELDS)),
        ("syscalls", syscalls(259)),
    ],
)
def test_programs_are_as_listed(
    name: str, programs: tuple[Attached, ...], data: Path, golden: Callable[[Path, str], None]
) -> None:
    golden(data / "measure" / f"ebpf-{name}.txt", "\n".join(map(listing, programs)))


def test_a_listing_is_that_of_the_bytes() -> None:
    program = Program().load(R1, R2, -16).store(R2, 8, R1).add_atomically(R2, 8, R1)
    assert disassemble(program.shift_right(R1, 32).assembled()).splitlines() == [
        "    r1 = *(u64 *)(r2 - 16)",
        "    *(u64 *)(r2 + 8) = r1",
        "    lock *(u64 *)(r2 + 8) += r1",
        "    r1 >>= 32",
    ]
    with pytest.raises(KeyError, match="255"):
        disassemble(b"\xff" + bytes(7))


def test_a_jump_to_nowhere_is_no_program() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        Program().jump("nowhere").end().assembled()


def test_every_event_has_its_program_and_every_thread_its_place() -> None:
    one = light((263,), FIELDS)
    three = light((263, 264, 265), FIELDS)
    assert [program.event for program in one][:2] == ["kvm_entry", "kvm/kvm_exit"]
    for few, many in zip(one, three, strict=True):
        assert "r8 == 265 goto" in disassemble(many.code)
        assert "r8 == 265 goto" not in disassemble(few.code)


def test_a_record_without_a_field_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="kvm_exit has no field exit_reason"):
        light((263,), {RECORDS[0]: {"common_pid": 4}})
    with pytest.raises(OutputError, match="sched_switch has no field prev_pid"):
        detailed((263,), {})


def test_a_thread_s_place_is_read() -> None:
    # Sums begin at the eighth number, reasons at the sixteenth; 0x400 follows 0xff. Exits to QEMU
    # begin at the 288th, vectors at the 352nd.
    times = parse_place(
        place(
            last=1000,
            where=GUEST,
            n10=500,
            n11=70,
            n139=4,
            n272=2,
            n287=1,
            n294=9,
            n350=3,
            n394=5,
        ),
        1600,
        is_detailed=True,
    )
    assert (times.guest_ns, times.qemu_ns) == (500 + 600, 70)  # inside the VM until now
    assert times.exits == {0x7B: 4, 0x400: 2, OTHER_REASON: 1}
    assert times.userspace == {"MMIO": 9, "interrupted by a signal": 3}
    assert times.injected == {0x2A: 5}
    # The map was read a moment after the clock.
    away = parse_place(place(last=1000, where=QEMU, n10=500, n11=70), 990, is_detailed=True)
    assert (away.guest_ns, away.qemu_ns) == (500, 70)
    assert parse_place(place(last=0, where=0), 5, is_detailed=False).qemu_ns is None
    with pytest.raises(OutputError, match="16 bytes instead of"):
        parse_place(bytes(16), 0, is_detailed=False)


def test_the_table_of_softirqs_is_read() -> None:
    table = bytearray(BEGAN_BYTES + TABLE_BYTES)
    struct.pack_into("<QQ", table, 512 + 16 * 7, 263 + 1, 4711)
    struct.pack_into("<QQ", table, 512, 0 + 1, 12)
    struct.pack_into("<QQ", table, len(table) - 16, 0, 5)
    assert parse_softirqs(bytes(table)) == {263: 4711, 0: 12, -1: 5}
    with pytest.raises(OutputError, match="has 100 bytes"):
        parse_softirqs(bytes(100))


def test_vcpus_are_named_by_their_architecture() -> None:
    # Reason 0x31 and vector 0x2a in the first place, 0x7b in the second.
    value = place(last=0, where=0, n65=3, n394=1) + place(last=0, where=0, n139=2)
    intel, amd = (
        parse_vcpus(value, (263, 264), now_ns=9, is_amd=is_amd, is_detailed=False)
        for is_amd in (False, True)
    )
    assert intel.exits == {"ept_misconfig": 3, "vmx exit 123": 2}
    assert amd.exits == {"write_dr1": 3, "io": 2}
    assert amd.injected == {"vector 0x2a": 1}
    assert amd.times.keys() == {263, 264}
    with pytest.raises(OutputError, match="bytes for 1 threads"):
        parse_vcpus(value, (263,), now_ns=9, is_amd=True, is_detailed=False)


def test_system_calls_are_named() -> None:
    value = bytearray(SYSCALL_BYTES)
    struct.pack_into("<Q", value, 8 * 16, 40)
    struct.pack_into("<Q", value, SYSCALL_BYTES - 8, 2)
    assert parse_syscalls(bytes(value)) == {"ioctl": 40, "other": 2}
    with pytest.raises(OutputError, match="has 8 bytes"):
        parse_syscalls(bytes(8))
