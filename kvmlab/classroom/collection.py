"""Progress that leaves a seat, and only when somebody asks for it: export, collect, reset.

A class is a folder with one JSON-lines file for each seat, as `kvmlab.course.progress` describes
it, and ``sources.json``, which names where each was collected from: a file or a state directory of
this machine, or of another one by ssh.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kvmlab.classroom.seats import check_seat_name, read_seats
from kvmlab.course.progress import progress_path, read_progress
from kvmlab.directories import private_dir, state_dir, write_named
from kvmlab.errors import KvmlabError, UsageError, reason_of
from kvmlab.hosts import SshRunner, SshTarget, parse_login
from kvmlab.serialization import from_json, to_json

_SOURCES: Final = "sources.json"
_PROGRESS: Final = Path("course") / "progress.jsonl"
_LOGIN: Final = "ssh://"
#: Machines that are asked at a time.
_AT_ONCE: Final = 8
_REMOTE_SEC: Final = 30.0
#: Prints the progress of who logs in; $1 is its file or state directory where it is not the usual.
_PRINT_PROGRESS: Final = """\
path=${1:-${KVMLAB_STATE_HOME:-${XDG_STATE_HOME:-$HOME/.local/state}/kvmlab}}
[ -d "$path" ] && path=$path/course/progress.jsonl
[ -e "$path" ] || exit 0
exec cat -- "$path"
"""


@dataclass(frozen=True)
class SeatSource:
    """Place of a seat's progress: a file or a state directory, here or on ``machine``.

    Without a path it is the state directory of who logs in there.
    """

    path: Path | None
    machine: SshTarget | None = None

    @classmethod
    def parse(cls, text: str) -> SeatSource:
        """Parse a path, or ``ssh://USER@MACHINE[:PORT][/PATH]``.

        Raises:
            UsageError: it names no machine.
        """
        if not text.startswith(_LOGIN):
            return cls(Path(text).resolve())
        login, slash, path = text.removeprefix(_LOGIN).partition("/")
        remote_path = Path(f"/{path}") if slash and path else None
        return cls(remote_path, parse_login(f"{_LOGIN}{login}"))

    def read(self) -> str:
        """Return the text of the seat's progress; empty where it has not begun.

        Raises:
            OSError: the file is there and cannot be read.
            HostError: the machine cannot be asked.
        """
        if self.machine is not None:
            return self._read_remotely(self.machine)
        assert self.path is not None
        try:
            return _text(self.path / _PROGRESS if self.path.is_dir() else self.path)
        except FileNotFoundError:
            return ""

    def _read_remotely(self, machine: SshTarget) -> str:
        runner = SshRunner(machine)
        try:
            words = ("sh", "-c", _PRINT_PROGRESS, "sh", str(self.path or ""))
            done = runner.run(words, timeout_sec=_REMOTE_SEC, check=False)
        finally:
            runner.close()
        if done.returncode != 0:
            raise OSError(done.stderr.strip() or f"exit code {done.returncode}")
        return done.stdout

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        if self.machine is None:
            return str(self.path)
        return f"{_LOGIN}{self.machine.shown}{self.path or ''}"


def export_seat(target: Path) -> int:
    """Write this seat's progress to ``target``, to be handed in; return the number of entries.

    Raises:
        UsageError: there is none, or the file cannot be written.
    """
    entries = read_progress()
    if not entries:
        raise UsageError(
            f"This seat has no progress yet: {progress_path()} is missing or empty.",
            todo="Start a task or an incident first.",
        )
    write_named(target, _text(progress_path()), mode=0o600)
    return len(entries)


def collect(folder: Path, sources: Mapping[str, SeatSource | Path]) -> tuple[str, ...]:
    """Copy the progress of seats into the class's folder; return the names that have some.

    ``sources`` are files, or state directories of seats, by the seats' names. They are remembered,
    for `follow`. A file that is missing is a seat that has not begun. Where one cannot be read, the
    others are collected all the same.

    Raises:
        UsageError: a name is none, or a file cannot be read or written, or a machine not asked.
    """
    private_dir(folder)
    asked = {
        check_seat_name(name): source if isinstance(source, SeatSource) else SeatSource(source)
        for name, source in sources.items()
    }
    known = _read_sources(folder) | asked
    write_named(
        folder / _SOURCES, json.dumps(to_json(known), ensure_ascii=False, indent=1), mode=0o600
    )
    answers = _read_all(asked)
    for name, text in answers.items():
        if isinstance(text, str):
            write_named(folder / f"{name}.jsonl", text, mode=0o600)
    unread = {name: error for name, error in answers.items() if not isinstance(error, str)}
    if unread:
        raise _unread(unread, asked)
    return tuple(name for name, text in answers.items() if text)


def follow(folder: Path, *, remote: bool | None = None) -> None:
    """Copy the progress of all seats anew that were collected into the folder before.

    ``remote`` is True for those of other machines only, False for those of this one. A seat that
    cannot be read just now keeps what it had.

    Raises:
        UsageError: the folder cannot be read or written.
    """
    sources = {
        name: source
        for name, source in _read_sources(folder).items()
        if remote in (None, source.machine is not None)
    }
    for name, text in _read_all(sources).items():
        if isinstance(text, str):
            write_named(folder / f"{name}.jsonl", text, mode=0o600)


def follows_machines(folder: Path) -> bool:
    """Return whether a seat of the class was collected by ssh."""
    return any(source.machine is not None for source in _read_sources(folder).values())


def _read_all(sources: Mapping[str, SeatSource]) -> dict[str, str | OSError | KvmlabError]:
    """Return the progress of each seat, or why it cannot be read; several machines at a time."""

    def read(source: SeatSource) -> str | OSError | KvmlabError:
        try:
            return source.read()
        except (OSError, KvmlabError) as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as readers:
        return dict(zip(sources, readers.map(read, sources.values()), strict=True))


def _unread(
    errors: Mapping[str, OSError | KvmlabError], sources: Mapping[str, SeatSource]
) -> UsageError:
    name, first = next(iter(errors.items()))
    if isinstance(first, KvmlabError):
        why, todo = first.message.rstrip("."), first.todo
    else:
        why = reason_of(first)
        todo = "It is private to its seat: let the seat hand it in (`kvmlab class export FILE`)."
    return UsageError(
        f"The progress of {', '.join(errors)} cannot be read. {name}, {sources[name]}: {why}.",
        todo=todo,
    )


def export_class(folder: Path) -> list[dict[str, Any]]:
    """Return the class as plain values: for each seat its tasks, its incidents and its times.

    Raises:
        UsageError: there is no such class.
    """
    rows: list[dict[str, Any]] = to_json(read_seats(folder))
    return rows


def set_seat_aside(folder: Path, name: str) -> Path:
    """Move a seat's file in the class's folder aside, and forget its source; return where it is.

    Raises:
        UsageError: the class has no such seat.
    """
    path = folder / f"{check_seat_name(name)}.jsonl"
    if not path.exists():
        raise UsageError(
            f"The class in {folder} has no seat {name!r}.",
            todo=f"It has {', '.join(seat.name for seat in read_seats(folder)) or 'none'}.",
        )
    kept = _moved_aside(path)
    sources = _read_sources(folder)
    sources.pop(name, None)
    write_named(
        folder / _SOURCES, json.dumps(to_json(sources), ensure_ascii=False, indent=1), mode=0o600
    )
    return kept


def reset_own_seat() -> tuple[Path, ...]:
    """Move this seat's progress and what was started aside; return where it is now.

    For the next person at this machine. Hosts and their journals are not touched.
    """
    course = state_dir() / "course"
    files = [progress_path(), *course.glob("started/*.json"), *course.glob("incident/*.json")]
    return tuple(_moved_aside(path) for path in files if path.exists())


def parse_sources(texts: Iterable[str]) -> dict[str, SeatSource]:
    """Return seats' sources from ``NAME=PATH`` or ``NAME=ssh://USER@MACHINE``.

    Without a name it is the file's, or who logs in.

    Raises:
        UsageError: a name is none, or stands there twice.
    """
    sources: dict[str, SeatSource] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        source = SeatSource.parse(place if equals else text)
        name = check_seat_name(name if equals else _name_of(source))
        if name in sources:
            raise UsageError(
                f"Two files are to be the seat {name!r}.",
                todo="Name each: NAME=FILE.",
            )
        sources[name] = source
    return sources


def _name_of(source: SeatSource) -> str:
    if source.machine is not None:
        return source.machine.user or source.machine.address
    assert source.path is not None
    return source.path.stem


def _read_sources(folder: Path) -> dict[str, SeatSource]:
    try:
        return from_json(
            json.loads((folder / _SOURCES).read_text(encoding="utf-8")), dict[str, SeatSource]
        )
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(
            f"{folder / _SOURCES} cannot be read: {error}.",
            todo="Remove it, and collect the seats anew.",
        ) from error


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _moved_aside(path: Path) -> Path:
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    kept = path.with_name(f"{path.name}.{stamp}.old")
    path.rename(kept)
    return kept
