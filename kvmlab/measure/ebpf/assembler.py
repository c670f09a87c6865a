"""An assembler and a disassembler for eBPF, the kernel's own instruction set.

Only the instructions that counting takes. The kernel's verifier reads every program before it
runs, and refuses what it cannot prove to end and to stay inside its memory.

The instruction set: https://docs.kernel.org/bpf/standardization/instruction-set.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

R0, R1, R2, R3, R6, R7, R8, R9 = 0, 1, 2, 3, 6, 7, 8, 9
"""Registers: 0 a call's result, 1 the program's argument, 6 to 9 preserved by calls."""
KTIME_GET_NS: Final = 5
PROCESSOR_ID: Final = 8
CURRENT_PID_TGID: Final = 14
"""Helpers, by their numbers in include/uapi/linux/bpf.h: the time in ns; the CPU; process (upper
half) and thread (lower half)."""

_LOAD_64, _MAP_VALUE = 0x18, 2
_JUMP_ALWAYS = 0x05
_CALL, _EXIT = 0x85, 0x95
_HELPERS = {
    KTIME_GET_NS: "ktime_get_ns",
    PROCESSOR_ID: "get_smp_processor_id",
    CURRENT_PID_TGID: "get_current_pid_tgid",
}
# In the notation of bpftool and llvm-objdump.
_MNEMONICS = {
    0x07: "r{dst} += {value}",
    0x0F: "r{dst} += r{src}",
    0x15: "if r{dst} == {value} goto {target}",
    0x1D: "if r{dst} == r{src} goto {target}",
    0x1F: "r{dst} -= r{src}",
    0x57: "r{dst} &= {value:#x}",
    0x61: "r{dst} = *(u32 *)(r{src} {at})",
    0x67: "r{dst} <<= {value}",
    0x77: "r{dst} >>= {value}",
    0x79: "r{dst} = *(u64 *)(r{src} {at})",
    0x7B: "*(u64 *)(r{dst} {at}) = r{src}",
    0xA5: "if r{dst} < {value} goto {target}",
    0xB7: "r{dst} = {value}",
    0xBC: "w{dst} = w{src}",
    0xBF: "r{dst} = r{src}",
    0xDB: "lock *(u64 *)(r{dst} {at}) += r{src}",
    _EXIT: "exit",
    _JUMP_ALWAYS: "goto {target}",
}
_JUMPS = (0x15, 0x1D, 0xA5, _JUMP_ALWAYS)


@dataclass
class _Instruction:
    code: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    value: int = 0
    target: str | None = None

    def packed(self) -> bytes:
        """Return the eight bytes of the instruction."""
        registers = self.dst | self.src << 4
        return struct.pack("<BBhi", self.code, registers, self.offset, self.value)


class Program:
    """One program being written; each method appends an instruction and returns the program."""

    def __init__(self) -> None:
        self._instructions: list[_Instruction] = []
        self._labels: dict[str, int] = {}

    def _add(self, code: int, **more: int | str) -> Self:
        self._instructions.append(_Instruction(code, **more))  # type: ignore[arg-type]
        return self

    def label(self, name: str) -> Self:
        """Mark the place that jumps to ``name`` lead to."""
        self._labels[name] = len(self._instructions)
        return self

    def copy(self, dst: int, src: int) -> Self:
        """Append ``dst = src``."""
        return self._add(0xBF, dst=dst, src=src)

    def set(self, dst: int, value: int) -> Self:
        """Append ``dst = value``."""
        return self._add(0xB7, dst=dst, value=value)

    def add(self, dst: int, src: int) -> Self:
        """Append ``dst += src``."""
        return self._add(0x0F, dst=dst, src=src)

    def subtract(self, dst: int, src: int) -> Self:
        """Append ``dst -= src``."""
        return self._add(0x1F, dst=dst, src=src)

    def add_value(self, dst: int, value: int) -> Self:
        """Append ``dst += value``."""
        return self._add(0x07, dst=dst, value=value)

    def mask(self, dst: int, value: int) -> Self:
        """Append ``dst &= value``."""
        return self._add(0x57, dst=dst, value=value)

    def low_half(self, dst: int) -> Self:
        """Keep the lower 32 bits of ``dst``, the upper ones become zero."""
        return self._add(0xBC, dst=dst, src=dst)

    def shift_left(self, dst: int, bits: int) -> Self:
        """Append ``dst <<= bits``."""
        return self._add(0x67, dst=dst, value=bits)

    def shift_right(self, dst: int, bits: int) -> Self:
        """Append ``dst >>= bits``, without sign."""
        return self._add(0x77, dst=dst, value=bits)

    def load(self, dst: int, src: int, offset: int) -> Self:
        """Append ``dst = *(u64 *)(src + offset)``."""
        return self._add(0x79, dst=dst, src=src, offset=offset)

    def load_word(self, dst: int, src: int, offset: int) -> Self:
        """Append ``dst = *(u32 *)(src + offset)``."""
        return self._add(0x61, dst=dst, src=src, offset=offset)

    def store(self, dst: int, offset: int, src: int) -> Self:
        """Append ``*(u64 *)(dst + offset) = src``."""
        return self._add(0x7B, dst=dst, src=src, offset=offset)

    def add_atomically(self, dst: int, offset: int, src: int) -> Self:
        """Append ``lock *(u64 *)(dst + offset) += src``: several CPUs may do it at once."""
        return self._add(0xDB, dst=dst, src=src, offset=offset)

    def map_value(self, dst: int, number: int, offset: int) -> Self:
        """Point ``dst`` into the only value of map ``number``, which the loader fills in."""
        self._add(_LOAD_64, dst=dst, src=_MAP_VALUE, value=number)
        return self._add(0, value=offset)

    def call(self, helper: int) -> Self:
        """Append ``r0 = helper(r1, ...)``; registers 1 to 5 are lost."""
        return self._add(_CALL, value=helper)

    def jump(self, target: str) -> Self:
        """Continue at a label further on."""
        return self._add(_JUMP_ALWAYS, target=target)

    def jump_if_equal(self, dst: int, value: int, target: str) -> Self:
        """Continue at ``target`` if ``dst == value``."""
        return self._add(0x15, dst=dst, value=value, target=target)

    def jump_if_same(self, dst: int, src: int, target: str) -> Self:
        """Continue at ``target`` if ``dst == src``."""
        return self._add(0x1D, dst=dst, src=src, target=target)

    def jump_if_below(self, dst: int, value: int, target: str) -> Self:
        """Continue at ``target`` if ``dst < value``, both without sign."""
        return self._add(0xA5, dst=dst, value=value, target=target)

    def end(self, result: int = 0) -> Self:
        """Return ``result``; zero: whatever else listens to the event is not called for it."""
        return self.set(R0, result)._add(_EXIT)

    def assembled(self) -> bytes:
        """Return the program, eight bytes an instruction.

        Raises:
            KeyError: a jump leads to no label.
        """
        for index, instruction in enumerate(self._instructions):
            if instruction.target is not None:
                instruction.offset = self._labels[instruction.target] - index - 1
        return b"".join(instruction.packed() for instruction in self._instructions)


def disassemble(code: bytes) -> str:
    """Return an assembled program as text, an instruction a line; jumps lead to labels.

    >>> print(disassemble(Program().jump_if_equal(R1, 7, "end").set(R2, 1).label("end").end()
    ...     .assembled()))
        if r1 == 7 goto L1
        r2 = 1
    L1:
        r0 = 0
        exit

    Raises:
        KeyError: an instruction is none of those that `Program` writes.
    """
    return "\n".join(_lines([_Instruction(*_unpacked(words)) for words in _words(code)]))


def _words(code: bytes) -> Iterator[tuple[int, int, int, int]]:
    yield from struct.iter_unpack("<BBhi", code)


def _unpacked(words: tuple[int, int, int, int]) -> tuple[int, int, int, int, int]:
    code, registers, offset, value = words
    return code, registers & 15, registers >> 4, offset, value


def _lines(instructions: list[_Instruction]) -> Iterator[str]:
    places = {
        index + 1 + instruction.offset
        for index, instruction in enumerate(instructions)
        if instruction.code in _JUMPS
    }
    labels = {place: f"L{number}" for number, place in enumerate(sorted(places), start=1)}
    numbered = iter(enumerate(instructions))
    for index, instruction in numbered:
        if index in labels:
            yield f"{labels[index]}:"
        if instruction.code == _LOAD_64:
            _, second = next(numbered)
            yield f"    r{instruction.dst} = &map[{instruction.value}] + {second.value}"
        elif instruction.code == _CALL:
            yield f"    r0 = {_HELPERS[instruction.value]}()"
        else:
            target = labels.get(index + 1 + instruction.offset, "")
            sign = "-" if instruction.offset < 0 else "+"
            place = f"{sign} {abs(instruction.offset)}"
            fields = {**vars(instruction), "target": target, "at": place}
            yield f"    {_MNEMONICS[instruction.code].format(**fields)}"
