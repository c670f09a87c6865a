"""The folder of a run while it is measured: what a trial found is on disk before the next begins.

::

    2026-11-22T154211Z/
      measurement.json   what is measured: host, clock, schemes, settings, versions; how it stands
      trials.jsonl       a line for each scheme when it is first met, and one for each trial
      raw/               what the tools printed, word for word
      results.json       once all of it is there, with tidy.csv and tidy.parquet

A process that dies leaves all but the last, and :func:`recovered` reads that. Whether a run that is
not finished still goes on is told by a lock on its folder, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kvmlab import __version__
from kvmlab.errors import OutputError, UsageError
from kvmlab.results.model import Raw, Result, Trial
from kvmlab.results.plain import from_json, to_json
from kvmlab.results.store import RAW, raw_folder, save, write, write_raw

ABOUT, JOURNAL = "measurement.json", "trials.jsonl"
FORMAT = 1
State = Literal["measuring", "finished", "failed"]


@dataclass(frozen=True)
class About:
    """What ``measurement.json`` says. ``schemes`` are labels; times are ISO 8601 in UTC.

    ``state`` stays "measuring" where the process was killed.
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

    def ended_as(self, state: State, *, trials: int, failure: str = "") -> About:
        """The same, of a run that ended now."""
        return replace(self, state=state, trials=trials, failure=failure, ended=_now())

    def write(self, folder: Path) -> None:
        """Write it, in one step."""
        document = {"format": FORMAT, "kvmlab": __version__, **asdict(self)}
        text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
        write(folder / ABOUT, text.encode() + b"\n")


class Journal:
    """Keeps what is measured in a new folder under ``out``, from the first trial on.

    ``folder`` is that folder, ``trials`` how many are in it by now.
    """

    def __init__(self, out: Path, about: About) -> None:
        """Make the folder and take its lock.

        Raises:
            UsageError: the folder cannot be written.
        """
        self._about = about
        self.trials = 0
        with _writing(out):
            self.folder = new_folder(out)
            self._lock = _hold(self.folder)
            about.write(self.folder)
            self._lines = (self.folder / JOURNAL).open("a", encoding="utf-8")

    def begin(self, number: int, head: Result) -> None:
        """Note what is known of a scheme before its first trial; ``number`` is its place.

        Raises:
            UsageError: the folder cannot be written any more; so do the other methods.
        """
        with _writing(self.folder):
            write_raw(self.folder / RAW / raw_folder(number, head.scheme), head.raw)
            self._note({"number": number, "head": to_json(replace(head, trials=()))})

    def add(self, number: int, scheme: str, trial: Trial, raw: Sequence[Raw]) -> None:
        """Note one trial. Its raw output is written first: a line in the journal is complete."""
        names = [item.name for item in raw]
        with _writing(self.folder):
            write_raw(self.folder / RAW / raw_folder(number, scheme), raw)
            self._note({"number": number, "trial": asdict(trial), "raw": names})
        self.trials += 1

    def finish(self, results: Sequence[Result]) -> Path:
        """Write the results as they are read later, and let the folder go."""
        save(results, self.folder)
        trials = sum(len(result.trials) for result in results)
        self._end(self._about.ended_as("finished", trials=trials))
        return self.folder

    def fail(self, failure: str) -> None:
        """Note why the run does not go on; what was measured stays readable.

        Does nothing to a run that has ended.
        """
        if self._lines.closed:
            return
        self._end(self._about.ended_as("failed", trials=self.trials, failure=failure))

    def _note(self, event: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def _end(self, about: About) -> None:
        self._lines.close()
        os.close(self._lock)
        with _writing(self.folder):
            about.write(self.folder)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"What is measured cannot be kept in {folder}: {error.strerror or error}.",
            todo="Free some space there, or open the lab with another folder: open_lab(…, out=…).",
        ) from error


def recovered(folder: Path) -> tuple[Result, ...]:
    """The results of a run that did not finish, with the trials that it had until then.

    A last line that was being written when the process died is left out.

    Raises:
        UsageError: there is no journal.
        OutputError: it is damaged before its last line.
    """
    try:
        lines = (folder / JOURNAL).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise UsageError(
            f"There is no journal of a measurement in {folder}: {error.strerror or error}."
        ) from error
    found: dict[int, dict[str, Any]] = {}
    try:
        for line in lines[:-1]:
            event = json.loads(line)
            if "head" in event:
                found[event["number"]] = {**event["head"], "trials": []}
            else:
                found[event["number"]]["trials"].append(event["trial"])
                found[event["number"]]["raw"] += event["raw"]
        return tuple(
            _ordered(from_json(item, folder / RAW / raw_folder(number, item["scheme"])))
            for number, item in sorted(found.items())
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise OutputError(
            f"The journal in {folder} is damaged: {error!r}.", evidence="\n".join(lines)[:400]
        ) from error


def _ordered(result: Result) -> Result:
    """The trials by workload and number, as those of a finished run."""
    order = {name: place for place, name in enumerate(result.workloads)}
    trials = sorted(result.trials, key=lambda t: (order[t.workload], t.number))
    return replace(result, trials=tuple(trials))


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Say, for the length of the block, that a process is at work on this run."""
    lock = _hold(folder)
    try:
        yield
    finally:
        os.close(lock)


def _hold(folder: Path) -> int:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def is_held(folder: Path) -> bool:
    """Is a process at work on this run?"""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def new_folder(out: Path) -> Path:
    """A folder named by the time, made; with a number where two begin in one second."""
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
