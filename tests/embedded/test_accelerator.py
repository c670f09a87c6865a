"""The boot sector is what its source says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kvmlab.embedded.accelerator import SECTOR_LINE, boot_sector


def test_it_is_a_boot_sector() -> None:
    sector = boot_sector()
    assert len(sector) == 512
    assert sector.endswith(b"\x55\xaa")
    assert SECTOR_LINE.encode() in sector


@pytest.mark.skipif(not shutil.which("as") or not shutil.which("ld"), reason="no binutils")
def test_it_is_assembled_from_the_source_beside_it(repository: Path, tmp_path: Path) -> None:
    source = repository / "kvmlab" / "embedded" / "probe.S"
    subprocess.run(["as", "--32", "-o", tmp_path / "probe.o", source], check=True)
    link = ["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-e", "start"]
    subprocess.run([*link, "-o", tmp_path / "probe.bin", tmp_path / "probe.o"], check=True)
    assert (tmp_path / "probe.bin").read_bytes() == boot_sector()
