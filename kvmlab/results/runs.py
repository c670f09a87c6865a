"""The runs on this machine: what each of them measured, and whether it came to its end.

A run is a folder: one that a notebook or a script filled (``results.json``, ``measurement.json``),
or one of ``kvmlab run`` (``run.json``), which holds such folders, notebook by notebook.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kvmlab.errors import OutputError, UsageError
from kvmlab.results.journal import ABOUT, JOURNAL, is_held, recovered
from kvmlab.results.model import Result
from kvmlab.results.store import RESULTS, load

RECORD = "run.json"
PLACES = (Path("runs"), Path("results"))
"""Where runs are looked for without a word: those of ``kvmlab run``, those of scripts."""

Status = Literal["finished", "measuring", "unfinished", "damaged"]


@dataclass(frozen=True)
class Run:
    """One run as ``kvmlab runs`` lists it.

    ``status`` is "unfinished" where it was killed or failed; ``said`` then tells what is known of
    its end. ``started`` is ISO 8601. ``trials`` counts those that are on disk, of all schemes.
    """

    name: str
    folder: Path
    status: Status
    started: str
    hosts: tuple[str, ...]
    clocks: tuple[str, ...]
    schemes: tuple[str, ...]
    trials: int
    said: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {**asdict(self), "folder": str(self.folder)}


@dataclass(frozen=True)
class Part:
    """One result of a run; ``notebook`` is empty where the run is not one of notebooks."""

    notebook: str
    result: Result


def find_runs(places: Sequence[Path] = PLACES) -> tuple[Run, ...]:
    """Every run in these folders, the oldest first; a place that is a run itself counts too."""
    folders = dict.fromkeys(
        folder.resolve() for place in places for folder in _candidates(place) if is_run(folder)
    )
    return tuple(sorted((describe(one) for one in folders), key=lambda run: run.started))


def find_run(name: str, places: Sequence[Path] = PLACES) -> Run:
    """The run of that name in these folders, or the run at that path.

    Raises:
        UsageError: there is none; the message tells which there are, or what the folder is.
    """
    for folder in (Path(name), *(place / name for place in places)):
        if _is_folder(folder) and is_run(folder):
            return describe(folder.resolve())
    looked = " and ".join(str(place) for place in places)
    if _is_folder(Path(name)):
        raise UsageError(
            f"The folder {name} is no run of kvmlab: it has none of {RESULTS}, {ABOUT} and "
            f"{RECORD}.",
            todo="Name a folder that `kvmlab runs` lists.",
        )
    known = ", ".join(run.name for run in find_runs(places))
    raise UsageError(
        f"There is no run `{name}` in {looked}, nor a folder of that name.",
        todo=f"There are: {known}." if known else "There is no run there at all.",
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # longer than any name can be


def load_run(run: Run, *, unfinished: bool = False) -> tuple[Part, ...]:
    """The results of a run; of an unfinished one what it had, where that is asked for.

    Raises:
        UsageError: the run is not finished (and ``unfinished`` not given), or holds no result.
        OutputError: a file of it is damaged.
    """
    if run.status in ("unfinished", "measuring") and not unfinished:
        raise UsageError(
            f"The run {run.name} is not finished: {run.said} It has {run.trials} trials.",
            todo="Add --unfinished to take what it had until then as it is.",
        )
    parts: list[Part] = []
    for folder in _measured(run.folder):
        complete = (folder / RESULTS).exists()
        if not complete and not unfinished:
            continue  # A measurement that failed, in a run that went on without it.
        for result in load(folder) if complete else recovered(folder):
            part = Part(_notebook(run.folder, folder), result)
            if not any(_same(part, other) for other in parts):
                parts.append(part)
    if not parts:
        raise UsageError(f"The run {run.name} holds no result.", todo="Name another run.")
    return tuple(parts)


def _same(one: Part, other: Part) -> bool:
    """Two copies of one result: a measurement's own, and one put together with others."""
    return (
        one.notebook == other.notebook
        and one.result.scheme == other.result.scheme
        and one.result.trials == other.result.trials
        and one.result.path == other.result.path
    )


def is_run(folder: Path) -> bool:
    """Did kvmlab make this folder?"""
    if any((folder / name).is_file() for name in (RESULTS, ABOUT)):
        return True
    return isinstance(_read(folder / RECORD).get("entries"), list)


def describe(folder: Path) -> Run:
    """What is known of a run, read from its folder."""
    seen = [_of_measurement(part) for part in _measured(folder)]
    record = _read(folder / RECORD)
    if "entries" not in record and len(seen) == 1:
        return seen[0]
    status, said = _status_of_notebooks(folder, record, seen)
    return Run(
        name=folder.name,
        folder=folder,
        status=status,
        started=str(record.get("started", "")),
        hosts=_each(run.hosts for run in seen),
        clocks=_each(run.clocks for run in seen),
        schemes=_each(run.schemes for run in seen),
        trials=sum(run.trials for run in seen),
        said=said,
    )


def _status_of_notebooks(
    folder: Path, record: dict[str, Any], seen: Sequence[Run]
) -> tuple[Status, str]:
    broken = [run for run in seen if run.status == "damaged"]
    if broken:
        return "damaged", broken[0].said
    if record.get("status") == "complete":
        return "finished", ""
    if is_held(folder) or any(run.status == "measuring" for run in seen):
        return "measuring", "It is being executed now."
    if record.get("status") == "running":
        return "unfinished", "The process that executed it ended without a word."
    first = str(record.get("failure", "")).strip().splitlines()
    return "unfinished", first[0] if first else "It was interrupted."


def _of_measurement(folder: Path) -> Run:
    about = _read(folder / ABOUT)
    status, said = _status_of_measurement(folder, about)
    schemes = tuple(about.get("schemes", ()))
    hosts = _each([[str(about["host"])]] if about.get("host") else [])
    clocks = _each([[str(about["clock"])]] if about.get("clock") else [])
    trials, begun = 0, list[str]()
    if status == "finished":
        try:
            document = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["results"]
            trials = sum(len(one["trials"]) for one in document)
            schemes = _each((one["label"],) for one in document)
            hosts = _each((one["host"],) for one in document)
            clocks = _each((one["clock"],) for one in document)
            begun = sorted(t["started"] for one in document for t in one["trials"] if t["started"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            status, said = "damaged", f"Its {RESULTS} cannot be read: {error!r}."
    else:
        try:
            trials = sum(len(result.trials) for result in recovered(folder))
        except UsageError:
            trials = 0  # It ended before its journal began.
        except OutputError as error:
            status, said = "damaged", error.message
    return Run(
        name=folder.name,
        folder=folder,
        status=status,
        started=str(about.get("started", "")) or _from_name(folder.name) or next(iter(begun), ""),
        hosts=hosts,
        clocks=clocks,
        schemes=schemes,
        trials=trials,
        said=said,
    )


def _status_of_measurement(folder: Path, about: dict[str, Any]) -> tuple[Status, str]:
    if (folder / RESULTS).exists():
        return "finished", ""
    if is_held(folder):
        return "measuring", "It is being measured now."
    if about.get("state") == "failed":
        first = str(about.get("failure", "")).strip().splitlines()
        return "unfinished", first[0] if first else "It was interrupted."
    return "unfinished", "The process that measured it ended without a word."


def _candidates(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield place
        yield from (entry for entry in sorted(place.iterdir()) if entry.is_dir())


def _measured(folder: Path) -> tuple[Path, ...]:
    """The folders with results or a journal: the run's own, or those of its notebooks."""
    files = (path for name in (RESULTS, JOURNAL) for path in folder.rglob(name))
    return tuple(sorted({path.parent for path in files}))


def _notebook(run: Path, folder: Path) -> str:
    """The notebook's name in ``RUN/results/NAME/TIME``; empty for any other folder."""
    parts = folder.relative_to(run).parts
    return parts[1] if len(parts) > 1 and parts[0] == "results" else ""


def _from_name(name: str) -> str:
    """When a folder that tells nothing else began: its name is the time."""
    date, mark, time = name.partition("T")
    if not mark or len(time) < 6 or not time[:6].isdigit():
        return ""
    return f"{date}T{time[:2]}:{time[2:4]}:{time[4:6]}+00:00"


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, or nothing where there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _each(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for group in groups for item in group))
