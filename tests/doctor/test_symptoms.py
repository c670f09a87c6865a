"""What the doctor's script reads of this machine's own processes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from kvmlab.doctor.symptoms import Daemon, parse_symptoms
from kvmlab.facts.sections import parse_sections
from kvmlab.waiting import until


def daemon() -> Daemon | None:
    script = files("kvmlab.doctor").joinpath("scripts/read_symptoms.sh").read_text("utf-8")
    answer = subprocess.run(
        ("sh", "-s"), input=script, capture_output=True, text=True, check=True, timeout=60
    )
    return parse_symptoms(parse_sections(answer.stdout)).daemon


@contextmanager
def asleep(program: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(("sleep", "60"), executable=program) as started:
        try:
            yield started
        finally:
            started.kill()


def is_dead(pid: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text("utf-8")


def test_a_daemon_that_has_ended_is_none(tmp_path: Path) -> None:
    """It keeps its name and its limits until its parent asks for it."""
    program = tmp_path / "virtqemud"
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, program)
    before = daemon()
    with asleep(program) as living:
        found = daemon()
        assert found is not None
        if before is None:
            assert found.name == "virtqemud"
        living.kill()
        until(lambda: is_dead(living.pid), timeout_sec=30, what="The end of the process")
        assert daemon() == before
