"""The progress of a seat: what is written, for whom it can be read, what a reader makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.course import (
    ProgressEvent,
    TaskState,
    progress_path,
    read_progress,
    record,
    task_states,
)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_line_has_the_documented_fields_and_is_private() -> None:
    record(
        "02-3",
        ProgressEvent.CHECK,
        hints=1,
        result="failed",
        seconds=12.34,
        detail="No vhost worker.",
    )
    path = progress_path()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    fields = json.loads(path.read_text())
    time = fields.pop("time")
    assert time.endswith("+00:00")
    assert fields == {
        "task": "02-3",
        "event": "check",
        "hints": 1,
        "result": "failed",
        "seconds": 12.3,
        "notebook": "02",
        "detail": "No vhost worker.",
    }


def test_what_a_reader_does_not_know_is_left_out() -> None:
    record("00-1", ProgressEvent.START)
    with progress_path().open("a") as file:
        file.write('{"time": "2030", "task": "09-1", "event": "start", "mood": "good"}\n')
        file.write('{"time": "2030", "task": "09-2", "event": "of a newer kvmlab"}\n')
        file.write('{"time": "20')
    assert [entry.task for entry in read_progress()] == ["00-1", "09-1"]


def test_nothing_was_done_yet() -> None:
    assert read_progress() == ()


def test_states_follow_what_happened() -> None:
    for task, events in {
        "00-1": ("start",),
        "00-2": ("start", "check failed"),
        "00-3": ("start", "check failed", "hint", "check passed", "start", "check failed"),
        "00-4": ("start", "solve", "check passed"),
        "00-5": ("reset", "help"),
    }.items():
        for text in events:
            event, _, result = text.partition(" ")
            record(task, ProgressEvent(event), result=result)
    assert task_states(read_progress()) == {
        "00-1": TaskState.STARTED,
        "00-2": TaskState.FAILED,
        "00-3": TaskState.PASSED,
        "00-4": TaskState.SOLVED,
    }
