"""Runs on this machine: what each of them measured, and whether it is complete.

A run is a folder: of one measurement (``results.json``, ``measurement.json``), or of ``kvmlab run``
(``run.json``), with one folder a notebook for its measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from kvmlab.errors import KvmlabError, OutputError, UsageError
from kvmlab.file_locks import is_locked
from kvmlab.results.journal import ABOUT, JOURNAL, RunInfo, recovered
from kvmlab.results.model import Result
from kvmlab.results.store import RESULTS, load
from kvmlab.serialization import from_json
from kvmlab.stored_files import folders_with, is_present, origin, parse_sealed, read_file

T = TypeVar("T")

RECORD = "run.json"
PLACES = (Path("runs"), Path("results"))
"""Where runs are searched by default: those of ``kvmlab run``, those of scripts."""

Status = Literal["finished", "measuring", "unfinished", "damaged"]


@dataclass(frozen=True)
class Run:
    """One run, as ``kvmlab runs`` lists it.

    ``status`` is "unfinished" where the run was killed or failed, and ``detail`` says what is known
    of its end. ``started`` is ISO 8601. ``trials`` counts those on disk, of all schemes.
    ``origin`` says why the run is not this user's own ("it belongs to user 0"), "" where it is.
    """

    name: str
    folder: Path
    status: Status
    started: str
    hosts: tuple[str, ...]
    clocks: tuple[str, ...]
    schemes: tuple[str, ...]
    trials: int
    detail: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Part:
    """One result of a run; ``notebook`` is empty for a run without notebooks."""

    notebook: str
    result: Result


@dataclass(frozen=True)
class _RecordHead:
    """Fields of ``run.json`` that are read here; the runbook writes it."""

    entries: list[Any]
    status: str = ""
    started: str = ""
    failure: str = ""
    controller: str = ""


@dataclass(frozen=True)
class _TrialHead:
    started: str = ""


@dataclass(frozen=True)
class _ResultHead:
    """Fields of a result in ``results.json`` that a list of runs needs."""

    label: str
    host: str
    clock: str
    trials: list[_TrialHead]


@dataclass(frozen=True)
class _ResultsHead:
    results: list[_ResultHead]


def find_runs(places: Sequence[Path] = PLACES) -> tuple[Run, ...]:
    """Return every run in these folders, oldest first; a place may be a run itself."""
    folders = dict.fromkeys(
        folder.resolve() for place in places for folder in _candidates(place) if is_run(folder)
    )
    return tuple(sorted((describe(folder) for folder in folders), key=lambda run: run.started))


def find_run(name: str, places: Sequence[Path] = PLACES) -> Run:
    """Return the run of that name in these folders, or the run at that path.

    Raises:
        UsageError: there is none; the message lists the runs there are.
    """
    for folder in (Path(name), *(place / name for place in places)):
        if _is_folder(folder) and is_run(folder):
            return describe(folder.resolve())
    searched = " and ".join(str(place) for place in places)
    if _is_folder(Path(name)):
        raise UsageError(
            f"The folder {name} is no run of kvmlab: it has none of {RESULTS}, {ABOUT} and "
            f"{RECORD}.",
            todo="Name a folder that `kvmlab runs` lists.",
        )
    known = ", ".join(run.name for run in find_runs(places))
    raise UsageError(
        f"There is no run `{name}` in {searched}, nor a folder of that name.",
        todo=f"There are: {known}." if known else "There is no run there at all.",
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # the name is too long


def load_run(run: Run, *, unfinished: bool = False) -> tuple[Part, ...]:
    """Return the results of a run; with ``unfinished`` also those that an unfinished run has.

    Raises:
        UsageError: the run is not finished (and ``unfinished`` is False), or has no result.
        OutputError: a file of it is damaged.
    """
    if run.status in ("unfinished", "measuring") and not unfinished:
        raise UsageError(
            f"The run {run.name} is not finished: {run.detail} It has {run.trials} trials.",
            todo="Add --unfinished to use those.",
        )
    parts: list[Part] = []
    for folder in _measured(run.folder):
        complete = is_present(folder, RESULTS)
        if not complete and not unfinished:
            continue  # A measurement that failed, in a run that continued.
        for result in _results_in(folder, unfinished) if complete else recovered(folder):
            part = Part(_notebook(run.folder, folder), result)
            if not any(_same(part, other) for other in parts):
                parts.append(part)
    if not parts:
        raise UsageError(f"The run {run.name} holds no result.", todo="Name another run.")
    return tuple(parts)


def _results_in(folder: Path, unfinished: bool) -> tuple[Result, ...]:
    """Load results.json, or where it is damaged, the journal, which holds the same trials."""
    try:
        return load(folder)
    except OutputError:
        results = _from_journal(folder)
        if not results or not (unfinished or _is_whole(folder, results)):
            raise
        return results


def _from_journal(folder: Path) -> tuple[Result, ...]:
    try:
        return recovered(folder)
    except KvmlabError:
        return ()


def _is_whole(folder: Path, results: Sequence[Result]) -> bool:
    """Return whether a journal has all trials of a measurement that came to its end."""
    about = _read(folder, ABOUT, RunInfo)
    trials = sum(len(result.trials) for result in results)
    return about is not None and about.state == "finished" and about.trials == trials


def _same(one: Part, other: Part) -> bool:
    """Return whether both are copies of one result, as kept by a measurement and by `lab.keep`."""
    return (
        one.notebook == other.notebook
        and one.result.scheme == other.result.scheme
        and one.result.trials == other.result.trials
        and one.result.path == other.result.path
    )


def is_run(folder: Path) -> bool:
    """Return whether kvmlab made this folder."""
    if any(is_present(folder, name) for name in (RESULTS, ABOUT, JOURNAL)):
        return True
    if not is_present(folder, RECORD):
        return False
    # A damaged record is known by what lies beside it.
    return _read(folder, RECORD, _RecordHead) is not None or bool(_measured(folder))


def describe(folder: Path) -> Run:
    """Return the run in a folder."""
    measurements = [_of_measurement(part) for part in _measured(folder)]
    record = _read(folder, RECORD, _RecordHead)
    if is_present(folder, RECORD) and record is None:
        status: Status = "damaged"
        detail = f"Its {RECORD} is damaged; measurements beside it can be read one by one."
    elif record is None and len(measurements) == 1:
        return measurements[0]
    else:
        status, detail = _status_of_notebooks(folder, record or _RecordHead([]), measurements)
    record = record or _RecordHead([])
    return Run(
        name=_readable(folder.name),
        folder=folder,
        status=status,
        started=record.started or _time_in(folder.name),
        hosts=_each(run.hosts for run in measurements),
        clocks=_each(run.clocks for run in measurements),
        schemes=_each(run.schemes for run in measurements),
        trials=sum(run.trials for run in measurements),
        detail=detail,
        origin=origin(folder, record.controller),
    )


def _status_of_notebooks(
    folder: Path, record: _RecordHead, measurements: Sequence[Run]
) -> tuple[Status, str]:
    for run in measurements:
        if run.status == "damaged":
            return "damaged", run.detail
    if record.status == "complete":
        return "finished", ""
    if _is_in_use(folder) or any(run.status == "measuring" for run in measurements):
        return "measuring", "It is being executed now."
    if record.status == "running":
        return "unfinished", "The process that executed it ended without a word."
    return "unfinished", _first_line(record.failure)


def _of_measurement(folder: Path) -> Run:
    about = _read(folder, ABOUT, RunInfo) or RunInfo("", "", None, (), started="")
    status, detail = _status_of_measurement(folder, about)
    schemes, hosts, clocks = about.schemes, _each([[about.host]]), _each([[about.clock]])
    trials, first_trial = 0, ""
    if status == "finished":
        try:
            results = from_json(parse_sealed(read_file(folder, RESULTS)), _ResultsHead).results
        except (OSError, ValueError, RecursionError) as error:
            status, detail, trials = _status_by_journal(folder, error)
        else:
            trials = sum(len(result.trials) for result in results)
            schemes = _each([result.label] for result in results)
            hosts = _each([result.host] for result in results)
            clocks = _each([result.clock] for result in results)
            times = (trial.started for result in results for trial in result.trials)
            first_trial = min(filter(None, times), default="")
    else:
        try:
            trials = sum(len(result.trials) for result in recovered(folder))
        except UsageError:
            trials = 0  # It ended before its journal began.
        except OutputError as error:
            status, detail = "damaged", error.message
    return Run(
        name=_readable(folder.name),
        folder=folder,
        status=status,
        started=about.started or _time_in(folder.name) or first_trial,
        hosts=hosts,
        clocks=clocks,
        schemes=schemes,
        trials=trials,
        detail=detail,
        origin=origin(folder, about.controller),
    )


def _status_by_journal(folder: Path, error: Exception) -> tuple[Status, str, int]:
    """Return status, detail and trials of a measurement whose results.json cannot be read."""
    results = _from_journal(folder)
    trials = sum(len(result.trials) for result in results)
    if not trials:
        return "damaged", f"Its {RESULTS} cannot be read: {error}.", 0
    if _is_whole(folder, results):
        return "finished", f"Its {RESULTS} is damaged; {JOURNAL} has all trials.", trials
    return "unfinished", f"Its {RESULTS} is damaged; {JOURNAL} has some trials.", trials


def _status_of_measurement(folder: Path, about: RunInfo) -> tuple[Status, str]:
    if is_present(folder, RESULTS):
        return "finished", ""
    if _is_in_use(folder):
        return "measuring", "It is being measured now."
    if about.state == "failed":
        return "unfinished", _first_line(about.failure)
    return "unfinished", "The process that measured it ended without a word."


def _is_in_use(folder: Path) -> bool:
    try:
        return is_locked(folder)
    except OSError:
        return False  # somebody else's, which may not be opened


def _first_line(failure: str) -> str:
    return failure.strip().partition("\n")[0] or "It was interrupted."


def _candidates(place: Path) -> Iterator[Path]:
    if _is_folder(place):
        yield place
        try:
            entries = sorted(place.iterdir())
        except OSError:
            return  # somebody else's
        yield from filter(_is_folder, entries)


def _measured(folder: Path) -> tuple[Path, ...]:
    """Return the folders with results or a journal: the run's own, or those of its notebooks."""
    return folders_with(folder, frozenset({RESULTS, JOURNAL}))


def _notebook(run: Path, folder: Path) -> str:
    """Return the notebook's name in ``RUN/results/NAME/TIME``; empty for any other folder."""
    parts = folder.relative_to(run).parts
    return parts[1] if len(parts) > 1 and parts[0] == "results" else ""


def _readable(name: str) -> str:
    """Return a file's name with the bytes that the locale cannot read as escapes."""
    return name.encode(errors="backslashreplace").decode()


def _time_in(name: str) -> str:
    """Return the time that a folder's name says, in ISO 8601; empty for any other name."""
    date, mark, time = name.partition("T")
    if not mark or len(time) < 6 or not time[:6].isdigit():
        return ""
    return f"{date}T{time[:2]}:{time[2:4]}:{time[4:6]}+00:00"


def _read(folder: Path, name: str, kind: type[T]) -> T | None:
    """Return the content of a JSON file; None where there is none, or it is something else."""
    try:
        return from_json(parse_sealed(read_file(folder, name)), kind)
    except (OSError, ValueError, RecursionError):
        return None


def _each(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for group in groups for item in group if item))
