"""Programs for the kernel as bytes, and what they leave in their map. A host shows what they do."""

from __future__ import annotations

import struct

import pytest

from kvmlab.errors import OutputError
from kvmlab.measure.bpf import R1, R2, Program
from kvmlab.measure.vcpu_map import (
    GUEST,
    OTHER_REASON,
    PLACE_BYTES,
    QEMU,
    maps_bytes,
    parse_place,
    parse_softirqs,
)
from kvmlab.measure.vcpu_programs import light, thorough

EXIT_FIELDS = {"common_pid": 4, "exit_reason": 8}


def place(*, last: int, where: int, **at: int) -> bytes:
    """A thread's place: the moment, where it is, and ``n12=3`` for three in the twelfth number."""
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


def test_a_jump_to_nowhere_is_no_program() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        Program().jump("nowhere").end().assembled()


def test_every_event_has_its_program_and_every_thread_its_place() -> None:
    one = light((263,), EXIT_FIELDS)
    three = light((263, 264, 265), EXIT_FIELDS)
    assert [program.event for program in one][:2] == ["kvm_entry", "kvm/kvm_exit"]
    for few, many in zip(one, three, strict=True):
        assert len(many.code) > len(few.code)
        assert struct.pack("<i", 265) in many.code
        assert struct.pack("<i", 265) not in few.code
    assert maps_bytes((1, 2))[0] == 2 * PLACE_BYTES


def test_a_record_without_a_field_is_told() -> None:
    with pytest.raises(OutputError, match="no field exit_reason"):
        light((263,), {"common_pid": 4})
    with pytest.raises(OutputError, match="no field prev_pid"):
        thorough((263,), {})


def test_what_a_place_says() -> None:
    # Sums begin at the eighth number, reasons at the sixteenth; 0x400 follows 0xff. Exits to QEMU
    # begin at the 288th, vectors at the 352nd.
    told = parse_place(
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
        is_thorough=True,
    )
    assert (told.guest_ns, told.qemu_ns) == (500 + 600, 70)  # inside the VM until now
    assert told.exits == {0x7B: 4, 0x400: 2, OTHER_REASON: 1}
    assert told.userspace == {"MMIO": 9, "interrupted by a signal": 3}
    assert told.injected == {0x2A: 5}
    # The map was read a moment after the clock.
    away = parse_place(place(last=1000, where=QEMU, n10=500, n11=70), 990, is_thorough=True)
    assert (away.guest_ns, away.qemu_ns) == (500, 70)
    assert parse_place(place(last=0, where=0), 5, is_thorough=False).qemu_ns is None
    with pytest.raises(OutputError, match="16 bytes instead of"):
        parse_place(bytes(16), 0, is_thorough=False)


def test_what_the_table_of_softirqs_says() -> None:
    table = bytearray(maps_bytes(())[1])
    struct.pack_into("<QQ", table, 512 + 16 * 7, 263 + 1, 4711)
    struct.pack_into("<QQ", table, 512, 0 + 1, 12)
    struct.pack_into("<QQ", table, len(table) - 16, 0, 5)
    assert parse_softirqs(bytes(table)) == {263: 4711, 0: 12, -1: 5}
    with pytest.raises(OutputError, match="has 100 bytes"):
        parse_softirqs(bytes(100))
