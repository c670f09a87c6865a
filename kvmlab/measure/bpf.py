"""Programs for the kernel's own machine, eBPF, as bytes: pure, labels in, instructions out.

Only the few instructions that counting takes. The kernel's verifier reads every program before it
runs: what it cannot prove to end and to stay in its memory is refused there.

The instruction set: https://docs.kernel.org/bpf/standardization/instruction-set.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

R0, R1, R2, R3, R6, R7, R8, R9 = 0, 1, 2, 3, 6, 7, 8, 9
"""Registers: 0 a call's result, 1 what the program is called with, 6 to 9 kept over calls."""
KTIME_GET_NS: Final = 5
PROCESSOR_ID: Final = 8
CURRENT_PID_TGID: Final = 14
"""Helpers, by their numbers in include/uapi/linux/bpf.h: the moment in ns; the CPU; process and
thread."""

_LOAD_64, _MAP_VALUE = 0x18, 2
_JUMP_ALWAYS = 0x05


@dataclass
class _Instruction:
    code: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    value: int = 0
    target: str | None = None

    def packed(self) -> bytes:
        """The eight bytes that it is."""
        registers = self.dst | self.src << 4
        return struct.pack("<BBhi", self.code, registers, self.offset, self.value)


class Program:
    """One program under way; each method appends an instruction and returns the program."""

    def __init__(self) -> None:
        self._instructions: list[_Instruction] = []
        self._labels: dict[str, int] = {}

    def _add(self, code: int, **more: int | str) -> Self:
        self._instructions.append(_Instruction(code, **more))  # type: ignore[arg-type]
        return self

    def label(self, name: str) -> Self:
        """The place that jumps to ``name`` lead to."""
        self._labels[name] = len(self._instructions)
        return self

    def copy(self, dst: int, src: int) -> Self:
        """``dst = src``."""
        return self._add(0xBF, dst=dst, src=src)

    def set(self, dst: int, value: int) -> Self:
        """``dst = value``."""
        return self._add(0xB7, dst=dst, value=value)

    def add(self, dst: int, src: int) -> Self:
        """``dst += src``."""
        return self._add(0x0F, dst=dst, src=src)

    def subtract(self, dst: int, src: int) -> Self:
        """``dst -= src``."""
        return self._add(0x1F, dst=dst, src=src)

    def add_value(self, dst: int, value: int) -> Self:
        """``dst += value``."""
        return self._add(0x07, dst=dst, value=value)

    def mask(self, dst: int, value: int) -> Self:
        """``dst &= value``."""
        return self._add(0x57, dst=dst, value=value)

    def low_half(self, dst: int) -> Self:
        """The lower 32 bits of ``dst``, the upper ones zero."""
        return self._add(0xBC, dst=dst, src=dst)

    def shift_left(self, dst: int, bits: int) -> Self:
        """``dst <<= bits``."""
        return self._add(0x67, dst=dst, value=bits)

    def load(self, dst: int, src: int, offset: int) -> Self:
        """``dst = *(u64 *)(src + offset)``."""
        return self._add(0x79, dst=dst, src=src, offset=offset)

    def load_word(self, dst: int, src: int, offset: int) -> Self:
        """``dst = *(u32 *)(src + offset)``."""
        return self._add(0x61, dst=dst, src=src, offset=offset)

    def store(self, dst: int, offset: int, src: int) -> Self:
        """``*(u64 *)(dst + offset) = src``."""
        return self._add(0x7B, dst=dst, src=src, offset=offset)

    def map_value(self, dst: int, number: int, offset: int) -> Self:
        """``dst`` points into the only value of a map; who loads the program puts it in."""
        self._add(_LOAD_64, dst=dst, src=_MAP_VALUE, value=number)
        return self._add(0, value=offset)

    def call(self, helper: int) -> Self:
        """``r0 = helper(r1, ...)``; registers 1 to 5 are lost."""
        return self._add(0x85, value=helper)

    def jump(self, target: str) -> Self:
        """Go on at a label further on."""
        return self._add(_JUMP_ALWAYS, target=target)

    def jump_if_equal(self, dst: int, value: int, target: str) -> Self:
        """Go on at ``target`` if ``dst == value``."""
        return self._add(0x15, dst=dst, value=value, target=target)

    def jump_if_same(self, dst: int, src: int, target: str) -> Self:
        """Go on at ``target`` if ``dst == src``."""
        return self._add(0x1D, dst=dst, src=src, target=target)

    def jump_if_below(self, dst: int, value: int, target: str) -> Self:
        """Go on at ``target`` if ``dst < value``, both without sign."""
        return self._add(0xA5, dst=dst, value=value, target=target)

    def end(self) -> Self:
        """Return zero: whatever else listens to the event is not called for it."""
        return self.set(R0, 0)._add(0x95)

    def assembled(self) -> bytes:
        """The program, eight bytes an instruction.

        Raises:
            KeyError: a jump leads to no label.
        """
        for index, one in enumerate(self._instructions):
            if one.target is not None:
                one.offset = self._labels[one.target] - index - 1
        return b"".join(one.packed() for one in self._instructions)
