"""The probe of the defect that hangs the test VM under the virtual clock."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kvmlab.embedded import svm_probe
from kvmlab.errors import OutputError

SOURCE = Path(svm_probe.__file__).with_name("svm_probe.S")


def test_the_bytes_are_the_source_assembled(tmp_path: Path) -> None:
    flags = ["-m", "elf_i386", "-Ttext", "0", "--oformat", "binary", "-e", "start"]
    subprocess.run(["as", "--32", "-o", tmp_path / "p.o", SOURCE], check=True)
    subprocess.run(["ld", *flags, "-o", tmp_path / "p", tmp_path / "p.o"], check=True)
    assert (tmp_path / "p").read_bytes() == svm_probe.firmware()


def test_the_result_is_read_from_its_line() -> None:
    assert svm_probe.delivered("SeaBIOS\nkvmlab: injected 1, delivered 2\n") == 2


def test_silence_is_no_result() -> None:
    with pytest.raises(OutputError, match="printed no result"):
        svm_probe.delivered("qemu: could not load PC BIOS")
