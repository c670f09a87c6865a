"""A seat's progress: one line of JSON for each thing that happened, in a file of this user only.

The file is ``course/progress.jsonl`` in kvmlab's state directory, mode 600. It is appended to, and
leaves this machine only when somebody copies it. Every line has these fields:

========  ===========================================================================
time      ISO 8601 in UTC, with seconds
task      the task's id, such as "02-3"; "assessment" and a question's id stand here too
event     start, check, hint, solve, reset, predict, answer, help or help-over
hints     number of hints that were taken since the task was started
result    of a check or an answer: passed or failed; otherwise empty
seconds   since the task was started, of real time; 0 where it was not started
notebook  the number of its notebook, such as "02"
detail    what a check found missing, or what was predicted; may be empty
========  ===========================================================================

Readers ignore fields and lines that they do not know.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from kvmlab.directories import private_dir, state_dir
from kvmlab.errors import UsageError, reason_of
from kvmlab.serialization import from_json, to_json


class ProgressEvent(StrEnum):
    """Something that happened at a seat."""

    START = "start"
    CHECK = "check"
    HINT = "hint"
    SOLVE = "solve"
    RESET = "reset"
    PREDICT = "predict"
    ANSWER = "answer"
    HELP = "help"
    HELP_OVER = "help-over"


class TaskState(StrEnum):
    """State of a task at a seat."""

    UNTOUCHED = "untouched"
    STARTED = "started"
    FAILED = "failed"
    PASSED = "passed"
    SOLVED = "solved"  # the solution was shown


PASSED = "passed"
FAILED = "failed"


@dataclass(frozen=True)
class ProgressEntry:
    """One line of the file; the module says what its fields are."""

    time: str
    task: str
    event: ProgressEvent
    hints: int = 0
    result: str = ""
    seconds: float = 0.0
    notebook: str = ""
    detail: str = ""


def progress_path() -> Path:
    """Return the file of this user's progress; it need not exist."""
    return state_dir() / "course" / "progress.jsonl"


def record(
    task: str,
    event: ProgressEvent,
    *,
    hints: int = 0,
    result: str = "",
    seconds: float = 0.0,
    detail: str = "",
) -> ProgressEntry:
    """Append one entry to the file and return it.

    Raises:
        UsageError: the file cannot be written.
    """
    entry = ProgressEntry(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        task=task,
        event=event,
        hints=hints,
        result=result,
        seconds=round(seconds, 1),
        notebook=task.partition("-")[0] if task[:2].isdigit() else "",
        detail=detail,
    )
    path = progress_path()
    private_dir(path.parent)
    line = json.dumps(to_json(entry), ensure_ascii=False) + "\n"
    try:
        # One write of one line: notebooks and terminals of a seat append side by side.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(
            f"The progress cannot be written to {path}: {reason_of(error)}.",
            todo="Free some space there, or set KVMLAB_STATE_HOME to a folder of your own.",
        ) from error
    return entry


def read_progress(path: Path | None = None) -> tuple[ProgressEntry, ...]:
    """Return the entries of a file, this seat's own by default; oldest first.

    Lines that are not whole, or of a newer kvmlab, are left out. A file that is missing has none.
    """
    try:
        text = (path or progress_path()).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    entries = []
    for line in text.splitlines():
        try:
            entries.append(from_json(json.loads(line), ProgressEntry))
        except ValueError:
            continue
    return tuple(entries)


def wants_help(entries: Iterable[ProgressEntry]) -> bool:
    """Return whether the seat of these entries has asked for help that has not come yet."""
    hands = (ProgressEvent.HELP, ProgressEvent.HELP_OVER)
    asked = [entry.event for entry in entries if entry.event in hands]
    return asked[-1:] == [ProgressEvent.HELP]


def task_states(entries: Iterable[ProgressEntry]) -> dict[str, TaskState]:
    """Return the state of each task that the entries speak of.

    A task that was passed stays so. One that passes after its solution was shown is solved.
    """
    states: dict[str, TaskState] = {}
    for entry in entries:
        state = states.get(entry.task, TaskState.UNTOUCHED)
        if state is TaskState.PASSED:
            continue
        match entry.event:
            case ProgressEvent.START if state is not TaskState.SOLVED:
                state = TaskState.STARTED
            case ProgressEvent.SOLVE:
                state = TaskState.SOLVED
            case ProgressEvent.CHECK if entry.result == PASSED and state is not TaskState.SOLVED:
                state = TaskState.PASSED
            case ProgressEvent.CHECK if entry.result == FAILED and state is not TaskState.SOLVED:
                state = TaskState.FAILED
            case _:
                continue
        states[entry.task] = state
    return states
