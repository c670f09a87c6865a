"""Progress that leaves a seat, and only when somebody asks for it: export, collect, reset.

A class is a folder with one JSON-lines file for each seat, as `kvmlab.course.progress` describes
it, and ``sources.json``, which names where each was collected from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kvmlab.classroom.seats import check_seat_name, read_seats
from kvmlab.course.progress import progress_path, read_progress
from kvmlab.directories import private_dir, state_dir, write_atomically
from kvmlab.errors import UsageError
from kvmlab.serialization import from_json, to_json

_SOURCES: Final = "sources.json"
_PROGRESS: Final = Path("course") / "progress.jsonl"


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
    _write(target, _text(progress_path()))
    return len(entries)


def collect(folder: Path, sources: Mapping[str, Path]) -> tuple[str, ...]:
    """Copy the progress of seats into the class's folder; return the names that have some.

    ``sources`` are files, or state directories of seats, by the seats' names. They are remembered,
    for `follow`. A file that is missing is a seat that has not begun.

    Raises:
        UsageError: a name is none, or a file cannot be read or written.
    """
    private_dir(folder)
    known = _read_sources(folder)
    for name, source in sources.items():
        known[check_seat_name(name)] = source.resolve()
    collected = tuple(name for name in sources if _copy(folder, name, known[name]))
    _write(folder / _SOURCES, json.dumps(to_json(known), ensure_ascii=False, indent=1))
    return collected


def follow(folder: Path) -> None:
    """Copy the progress of all seats anew that were collected into the folder before.

    A seat that cannot be read just now keeps what it had.

    Raises:
        UsageError: the folder cannot be written.
    """
    for name, source in _read_sources(folder).items():
        with suppress(OSError):
            _copy(folder, name, source)


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
    _write(folder / _SOURCES, json.dumps(to_json(sources), ensure_ascii=False, indent=1))
    return kept


def reset_own_seat() -> tuple[Path, ...]:
    """Move this seat's progress and what was started aside; return where it is now.

    For the next person at this machine. Hosts and their journals are not touched.
    """
    course = state_dir() / "course"
    files = [progress_path(), *course.glob("started/*.json"), *course.glob("incident/*.json")]
    return tuple(_moved_aside(path) for path in files if path.exists())


def parse_sources(texts: Iterable[str]) -> dict[str, Path]:
    """Return seats' sources from ``NAME=PATH``, or from paths whose file names are the names.

    Raises:
        UsageError: a name is none, or stands there twice.
    """
    sources: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        source = Path(path if equals else text)
        name = check_seat_name(name if equals else source.stem)
        if name in sources:
            raise UsageError(
                f"Two files are to be the seat {name!r}.",
                todo="Name each: NAME=FILE.",
            )
        sources[name] = source
    return sources


def _read_sources(folder: Path) -> dict[str, Path]:
    try:
        return from_json(
            json.loads((folder / _SOURCES).read_text(encoding="utf-8")), dict[str, Path]
        )
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(
            f"{folder / _SOURCES} cannot be read: {error}.",
            todo="Remove it, and collect the seats anew.",
        ) from error


def _copy(folder: Path, name: str, source: Path) -> bool:
    """Copy a seat's file into the folder; return whether there is one.

    Raises:
        UsageError: it is there and cannot be read.
    """
    path = source / _PROGRESS if source.is_dir() else source
    try:
        text = _text(path)
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise UsageError(
            f"The progress of {name} cannot be read from {path}: {error.strerror or error}.",
            todo="It is private to its seat: let the seat hand it in (`kvmlab class export FILE`).",
        ) from error
    _write(folder / f"{name}.jsonl", text)
    return bool(text)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text, mode=0o600)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.",
            todo="Name another file, or free some space there.",
        ) from error


def _moved_aside(path: Path) -> Path:
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    kept = path.with_name(f"{path.name}.{stamp}.old")
    path.rename(kept)
    return kept
