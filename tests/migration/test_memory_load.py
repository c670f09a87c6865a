"""A program that writes memory: its rate and its room, run on this machine; libvirt's figures."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from kvmlab.errors import UsageError
from kvmlab.hosts import script_text
from kvmlab.migration import MemoryLoad
from kvmlab.migration.trial import JobLog
from kvmlab.results.migration import JobSample

MIB = 1 << 20


def writer(action: str, load: MemoryLoad, seconds: int) -> subprocess.Popen[str]:
    script = script_text("kvmlab.migration", "write_memory.sh")
    numbers = (load.mib_per_sec, load.working_set_mib, seconds)
    argv = ("sh", "-c", script, "write_memory.sh", action, *map(str, numbers))
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_writes_what_it_was_told_to_and_leaves_nothing() -> None:
    load = MemoryLoad(7, 3)
    files = (Path("/dev/shm/kvmlab-source-7-3"), Path("/dev/shm/kvmlab-written-7-3"))
    _, complaint = writer("prepare", load, 60).communicate(timeout=60)
    assert complaint == ""
    assert files[1].stat().st_size == 3 * MIB
    content = files[1].read_bytes()
    assert content.count(0) < len(content) / 100, "pages of zeros would not be copied"
    with writer("run", load, 60) as program:
        time.sleep(2)
        program.terminate()
        figures, _ = program.communicate(timeout=60)
    hundredths, kib = map(int, figures.split())
    # A crowded machine may hold it back, nothing lets it write more.
    assert 0.3 * 7 < kib / 1024 / (hundredths / 100) <= 7.5
    assert kib > 3 * 1024, "it goes through its working set more than once"
    assert not any(path.exists() for path in files)


def test_it_ends_by_itself() -> None:
    load = MemoryLoad(1, 2)
    writer("prepare", load, 1).communicate(timeout=60)
    figures, _ = writer("run", load, 1).communicate(timeout=60)
    assert int(figures.split()[0]) >= 100


def test_a_working_set_that_does_not_fit() -> None:
    with writer("prepare", MemoryLoad(1, MIB), 60) as program:
        _, complaint = program.communicate(timeout=60)
    assert program.returncode == 4
    assert "the VM has room for" in complaint


@pytest.mark.parametrize(("rate", "size"), [(0, 1), (1, 0), (-1, 64)])
def test_what_cannot_be_written(rate: int, size: int) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        MemoryLoad(rate, size)


def test_samples_are_kept_where_something_changed() -> None:
    seen: list[object] = []
    log = JobLog(seen.append)
    job = {"memory_iteration": 1, "memory_remaining": 64 * MIB, "time_elapsed": 250}
    for more in (
        {},
        {"memory_remaining": 32 * MIB},
        {"memory_iteration": 2, "memory_dirty_rate": 512, "memory_page_size": 4096},
        {"memory_iteration": 2, "auto_converge_throttle": 20, "memory_dirty_rate": 256},
    ):
        log.add({**job, **more})
    log.add({})
    assert len(seen) == 5, "whoever asks for progress gets all of it"
    assert log.samples == [
        JobSample(0.25, 1, 64),
        JobSample(0.25, 2, 64, 2.0),
        JobSample(0.25, 2, 64, 1.0, 20),
    ]
