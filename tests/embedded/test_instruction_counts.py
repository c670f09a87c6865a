"""Guest programs of known length count as many instructions as they have, whatever is patched.

The patches make QEMU faster and must not change what it counts: under the virtual clock a count is
a time. instruction_counts.txt was recorded with Debian's own QEMU 10.0.13.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kvmlab import process
from kvmlab.embedded.emulator import build_emulator
from kvmlab.embedded.qemu import Qemu, packed_qemu

LOOP = 200_000
TRAP_HANDLER = 2
FAULT_HANDLER = 4
TIMER_HANDLER = 6
ENTER = 2
AGAIN = 4 + ENTER

# An iteration of a repeated string instruction counts as one, and so does finding RCX zero.
COUNTS: Mapping[str, int] = {
    "nops": 1000,
    "loop": 1 + 10_000,
    "calls": 1 + 1000 * 6 + 1,
    "indirect": 1000 * 3,
    "mixed": 500 * 11,
    "movsb0": 1 + 1,
    "movsb1": 1 + 2,
    "movsb2": 1 + 3,
    "movsb5000": 1 + 5001,
    "movsw": 1 + 5001,
    "movsl": 1 + 5001,
    "movsq": 1 + 5001,
    "movsq8192": 1 + 8193,
    "addr32": 1 + 5001,
    "stosb": 1 + 5001,
    "stosq": 1 + 5001,
    "lodsq": 1 + 5001,
    "cmpsb": 1 + 5,
    "cmpsn": 1 + 1,
    "scasb": 1 + 1,
    "scasb_zeros": 1 + 5001,
    "cmpsb_equal": 5001,
    "cmpsb_odd": 3001,
    "scasb_found": 1 + 1235,
    "backwards": 1 + 5001 + 1,
    "overlapping": 5001,
    "unaligned": 5001,
    "stepped": 3 + 51 + 1 + 3 + (51 + 4) * TRAP_HANDLER,
    "shadowed": 2 + 5001,
    "fault": 1001 + FAULT_HANDLER,
    "interrupted": 60_001 + 3 + 8001 + 3 + 8001 + 1 + LOOP + 1 + 2 * TIMER_HANDLER,
    "overwritten": 1 + 33 + 1 + 32 + 1,
    "ahead": 1 + 1 + 31 + 30 + 1,
    "device": 9,
    "port": 1 + 101,
    "overlapping_words": 3001,
    "overlapping_down": 1501,
    "scattered": 1501,
    "moved_code": 3 + 3 + 2 + 3 + 3 + 3,
    "global_pages": 3 + 3 + 3 + 3 + 4 + 1,
    # What a VM leaves by is intercepted and does not count.
    "vm_nothing": ENTER,
    "vm_loop": ENTER + 1 + 10_000,
    "vm_copy": ENTER + 1 + 5001,
    "vm_switches": 300 * (ENTER + 3 + 5),
    "vm_two": 100 * (1 + ENTER + 3 + 3),
    "vm_fault": ENTER + 1301 + 2 * (11 + ENTER) + 2,
    "vm_remap": ENTER + 1 + 3 + AGAIN + 1 + 2,
    "vm_flush": ENTER + 1 + 3 + AGAIN + 1 + 2,
    "vm_nested_cr3": ENTER + 1 + 9 + AGAIN + 1 + 11,
    "vm_process": ENTER + 7 + 1,
    "vm_invlpg": ENTER + 8 + 1,
    "vm_host_page": 1 + ENTER + 1 + 4 + AGAIN + 1 + 4,
    "vm_unprotected": ENTER + 1 + 4 + ENTER + 2,
    "vm_shadowed": ENTER + 1 + 2 + AGAIN + 1 + 3,
    "vm_interrupted": ENTER + LOOP + 3 + 2 * (7 + TIMER_HANDLER) + 6,
}

host = pytest.mark.host


@pytest.mark.host
@pytest.mark.skipif(not shutil.which("as") or not shutil.which("ld"), reason="no binutils")
def test_patched_qemu_counts_as_the_unpatched_one(
    data: Path, tmp_path: Path, golden: Callable[[Path, str], None]
) -> None:
    firmware = assemble(data / "embedded" / "instruction_counts.S", tmp_path)
    lines = run_counts(packed_qemu(build_emulator().path, "built"), firmware)
    golden(data / "embedded" / "instruction_counts.txt", lines)
    counts = {name: int(count, 16) for name, count, *_ in map(str.split, lines.splitlines())}
    overhead = counts.pop("empty")
    assert {name: count - overhead for name, count in counts.items()} == COUNTS


def assemble(source: Path, folder: Path) -> Path:
    """Assemble and link ``source`` to a firmware image in ``folder``."""
    flags = ["-m", "elf_x86_64", "-Ttext", "0", "--oformat", "binary", "-e", "start"]
    subprocess.run(["as", "--64", "-o", folder / "counts.o", source], check=True)
    subprocess.run(["ld", *flags, "-o", folder / "counts.bin", folder / "counts.o"], check=True)
    return folder / "counts.bin"


def run_counts(qemu: Qemu, firmware: Path) -> str:
    """Run the firmware, one nanosecond an instruction; return its lines."""
    done = process.run(
        (
            *(*qemu.argv, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", "q35", "-m", "64M", "-cpu", "EPYC,+svm,+npt"),
            *("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"),
            *("-serial", "stdio", "-bios", str(firmware)),
        ),
        timeout_sec=60,
        env=dict(qemu.env),
    )
    return done.stdout
