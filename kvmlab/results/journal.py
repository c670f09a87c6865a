"""Journal of a run: every trial is on disk before the next one begins.

::

    2026-11-22T154211Z/
      measurement.json   host, clock, schemes, settings, versions, and the state of the measurement
      trials.jsonl       one line a scheme, before its first trial, and one line a trial
      raw/               the unchanged output of the tools
      results.json       the complete results, with tidy.csv and tidy.parquet

A process that dies leaves all but the last; :func:`recovered` reads the journal. A lock on the
folder, which ends with the process, tells a run in progress from one that was cut short.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kvmlab import __version__
from kvmlab.directories import sync_folder, write_atomically
from kvmlab.errors import OutputError, UsageError, reason_of
from kvmlab.file_locks import FileLock
from kvmlab.results.model import Raw, Result, Trial
from kvmlab.results.store import (
    DAMAGE,
    RAW,
    raw_folder,
    raw_to_json,
    result_from_json,
    result_to_json,
    save,
    write_raw,
)
from kvmlab.serialization import to_json
from kvmlab.stored_files import (
    SEALED_FORMAT,
    controller_id,
    parse_sealed,
    read_file,
    sealed,
)

ABOUT, JOURNAL = "measurement.json", "trials.jsonl"
State = Literal["measuring", "finished", "failed"]


@dataclass(frozen=True)
class RunInfo:
    """Content of ``measurement.json``. ``schemes`` are labels; times are ISO 8601 in UTC.

    ``state`` stays "measuring" when the process is killed. ``controller`` identifies the machine
    and the user that measured, "" in runs of older versions.
    """

    host: str
    clock: str
    emulated: str | None
    schemes: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    state: State = "measuring"
    failure: str = ""
    started: str = field(default_factory=lambda: _now())
    ended: str = ""
    trials: int = 0
    controller: str = ""

    def ended_as(self, state: State, *, trials: int, failure: str = "") -> RunInfo:
        """Return the same for a run that ended now."""
        return replace(self, state=state, trials=trials, failure=failure, ended=_now())

    def write(self, folder: Path) -> None:
        """Write the file in one step; it is on the disk on return."""
        about = to_json(replace(self, controller=controller_id()))
        document = sealed({"format": SEALED_FORMAT, "kvmlab": __version__, **about})
        text = json.dumps(document, indent=1, ensure_ascii=False)
        write_atomically(folder / ABOUT, text + "\n", durable=True)


class RunJournal:
    """Journal of one measurement in a new folder under ``out``.

    ``folder`` is that folder, ``trials`` the number of trials written so far.
    """

    def __init__(self, out: Path, about: RunInfo) -> None:
        """Create the folder and lock it.

        Raises:
            UsageError: the folder cannot be written.
        """
        self._about = about
        self.trials = 0
        with _translated_errors(out):
            self.folder = new_folder(out)
            self._lock = locked(self.folder)
            about.write(self.folder)
            self._lines = (self.folder / JOURNAL).open("a", encoding="utf-8")
            sync_folder(self.folder)
            sync_folder(self.folder.parent)

    def begin(self, number: int, head: Result) -> None:
        """Write what is known of scheme ``number`` before its first trial.

        Raises:
            UsageError: the folder cannot be written any more (the other methods too).
        """
        with _translated_errors(self.folder):
            write_raw(self.folder / RAW / raw_folder(number, head.scheme), head.raw)
            self._note({"number": number, "head": result_to_json(replace(head, trials=()))})

    def add(self, number: int, scheme: str, trial: Trial, raw: Sequence[Raw]) -> None:
        """Write one trial, its raw output first: a trial in the journal is complete."""
        with _translated_errors(self.folder):
            write_raw(self.folder / RAW / raw_folder(number, scheme), raw)
            self._note({"number": number, "trial": to_json(trial), "raw": raw_to_json(raw)})
        self.trials += 1

    def finish(self, results: Sequence[Result]) -> Path:
        """Write the complete results, release the folder and return it."""
        save(results, self.folder)
        trials = sum(len(result.trials) for result in results)
        self._end(self._about.ended_as("finished", trials=trials))
        return self.folder

    def fail(self, failure: str) -> None:
        """Write why the run ended early; its trials stay readable.

        Does nothing after the end of the run.
        """
        if self._lines.closed:
            return
        self._end(self._about.ended_as("failed", trials=self.trials, failure=failure))

    def _note(self, event: Mapping[str, Any]) -> None:
        document = sealed({"format": SEALED_FORMAT, **event})
        self._lines.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def _end(self, about: RunInfo) -> None:
        self._lines.close()
        self._lock.close()
        with _translated_errors(self.folder):
            about.write(self.folder)


@contextlib.contextmanager
def _translated_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The measurement cannot be written to {folder}: {reason_of(error)}.",
            todo="Free some space there, or open the lab with another folder: open_lab(…, out=…).",
        ) from error


def recovered(folder: Path) -> tuple[Result, ...]:
    """Return the results of an unfinished run, with the trials in its journal.

    A last line that was cut short is ignored.

    Raises:
        UsageError: there is no journal.
        OutputError: it is damaged before its last line.
    """
    try:
        lines = read_file(folder, JOURNAL).split("\n")
    except OSError as error:
        raise UsageError(
            f"There is no journal of a measurement in {folder}: {reason_of(error)}."
        ) from error
    except UnicodeDecodeError as error:
        # A crash may have cut the last line inside a character.
        lines = bytes(error.object[: error.start]).decode().split("\n")
        if b"\n" in error.object[error.start :]:
            raise _damaged(folder, error) from error
    except ValueError as error:
        raise _damaged(folder, error) from error
    documents: dict[int, dict[str, Any]] = {}
    try:
        for line in lines[:-1]:
            event = parse_sealed(line)
            if "head" in event:
                if event["number"] in documents:
                    raise ValueError("a scheme begins twice")
                documents[event["number"]] = {**event["head"], "trials": []}
            else:
                documents[event["number"]]["trials"].append(event["trial"])
                documents[event["number"]]["raw"] += event["raw"]
        return tuple(
            _ordered(result_from_json(item, folder, number))
            for number, item in sorted(documents.items())
        )
    except DAMAGE as error:
        raise _damaged(folder, error, "\n".join(lines)) from error


def _damaged(folder: Path, error: Exception, text: str = "") -> OutputError:
    return OutputError(f"The journal in {folder} is damaged: {error}.", evidence=text[:400])


def _ordered(result: Result) -> Result:
    """Sort the trials by workload and number, as in a finished run."""
    order = {name: place for place, name in enumerate(result.workloads)}
    trials = sorted(result.trials, key=lambda t: (order[t.workload], t.number))
    return replace(result, trials=tuple(trials))


def locked(folder: Path) -> FileLock:
    """Mark the run as in progress, as a context manager."""
    # The lock is free but for a moment in which somebody looks whether it is.
    lock = FileLock.on_descriptor(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), wait=True)
    assert lock is not None
    return lock


def new_folder(out: Path) -> Path:
    """Create a folder named by the time, with a number where two begin in one second."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    number = 1
    while True:
        folder = out / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
