"""Seats of a class, each with what its progress file says. Reading changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kvmlab.course.progress import (
    ProgressEntry,
    ProgressEvent,
    TaskState,
    read_progress,
    task_states,
)
from kvmlab.errors import UsageError
from kvmlab.incidents.session import TASK_PREFIX, hint_minutes

#: A seat's name is a file's name as well; it is shown to a whole class.
_NAME: Final = re.compile(r"\w[\w .@-]{0,63}")
_FILE_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True)
class IncidentRow:
    """One incident of a seat; ``minutes`` are until now or its end, with what its hints cost."""

    label: str
    state: TaskState
    minutes: float
    hints: int


@dataclass(frozen=True)
class Seat:
    """One seat of the class. Times are in UTC; None where nothing happened yet."""

    name: str
    notebook: str = ""
    tasks: tuple[tuple[str, TaskState], ...] = ()
    incidents: tuple[IncidentRow, ...] = ()
    help_since: datetime | None = None
    help_with: str = ""
    last_at: datetime | None = None

    def count(self, state: TaskState) -> int:
        """Return the number of tasks in that state."""
        return sum(1 for _, one in self.tasks if one is state)


def check_seat_name(name: str) -> str:
    """Return ``name`` where it can be that of a seat.

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a seat.",
            todo="Use up to 64 letters, digits, blanks and the signs . @ _ -; no other ones.",
        )
    return name


def read_seats(folder: Path, *, now: datetime | None = None) -> tuple[Seat, ...]:
    """Return the seats whose progress is in ``folder``; those that want help first.

    Raises:
        UsageError: the folder cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {folder} of a class.",
            todo="Collect the progress of a seat first: `kvmlab class collect NAME=FILE`.",
        )
    seats = []
    for path in sorted(folder.glob("*.jsonl")):
        if _NAME.fullmatch(path.stem) and path.stat().st_size <= _FILE_BYTES:
            seats.append(seat_of(path.stem, read_progress(path), now or datetime.now(UTC)))
    return tuple(sorted(seats, key=lambda seat: (seat.help_since is None, seat.name)))


def seat_of(name: str, entries: Iterable[ProgressEntry], now: datetime) -> Seat:
    """Return what the entries of one seat say, oldest first."""
    entries = tuple(entries)
    states = task_states(entries)
    help_since: datetime | None = None
    help_with = ""
    for entry in entries:
        if entry.event is ProgressEvent.HELP:
            help_since, help_with = _time(entry), entry.task
        elif entry.event is ProgressEvent.HELP_OVER:
            help_since, help_with = None, ""
    return Seat(
        name=name,
        notebook=next((entry.notebook for entry in reversed(entries) if entry.notebook), ""),
        tasks=tuple(
            sorted((task, state) for task, state in states.items() if task[:2].isdecimal())
        ),
        incidents=tuple(_incidents(entries, now)),
        help_since=help_since,
        help_with=help_with,
        last_at=_time(entries[-1]) if entries else None,
    )


def _incidents(entries: Iterable[ProgressEntry], now: datetime) -> Iterator[IncidentRow]:
    """Yield the incidents in the order in which each was last started."""
    last: dict[str, list[ProgressEntry]] = {}
    for entry in entries:
        if not entry.task.startswith(f"{TASK_PREFIX}-"):
            continue
        if entry.event is ProgressEvent.START:
            last.pop(entry.task, None)
        last.setdefault(entry.task, []).append(entry)
    for task, own in last.items():
        newest = own[-1]
        state = task_states(own).get(task, TaskState.UNTOUCHED)
        seconds = newest.seconds
        started_at = _time(own[0])
        if state in (TaskState.STARTED, TaskState.FAILED) and started_at is not None:
            seconds = max(0.0, (now - started_at).total_seconds())
        yield IncidentRow(
            label=task.removeprefix(f"{TASK_PREFIX}-"),
            state=state,
            minutes=seconds / 60 + hint_minutes(newest.hints),
            hints=newest.hints,
        )


def _time(entry: ProgressEntry) -> datetime | None:
    try:
        time = datetime.fromisoformat(entry.time)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
