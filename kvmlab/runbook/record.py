"""The folder of a run: what ran, what came of it, and the data of all notebooks as one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kvmlab import __version__
from kvmlab.errors import UsageError
from kvmlab.results import Result, load, tidy

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["waiting", "running", "complete", "failed", "interrupted"]

FORMAT = 1
RECORD, CSV, PARQUET, REPORT = "run.json", "data.csv", "data.parquet", "report.html"
NOTEBOOKS, RESULTS = "notebooks", "results"


@dataclass(frozen=True)
class Entry:
    """One notebook of a run."""

    name: str
    title: str
    status: Status = "waiting"
    elapsed_sec: float = 0.0
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What ``run.json`` says; replaced as a whole whenever something changes."""

    folder: Path
    entries: tuple[Entry, ...]
    status: Status = "running"
    started: str = field(default_factory=lambda: _now())
    ended: str = ""
    host: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    language: str = "en"

    def with_entry(self, name: str, **changes: Any) -> Record:
        """The same record with one notebook's entry changed."""
        return replace(
            self,
            entries=tuple(
                replace(entry, **changes) if entry.name == name else entry for entry in self.entries
            ),
        )

    def closed(self, status: Status, failure: str = "") -> Record:
        """The record of a run that ended; a notebook that was running shares its end."""
        entries = tuple(
            replace(entry, status=status) if entry.status == "running" else entry
            for entry in self.entries
        )
        return replace(self, entries=entries, status=status, failure=failure, ended=_now())

    def write(self) -> None:
        """Write ``run.json``, in one step."""
        document = {"format": FORMAT, "kvmlab": __version__, **asdict(self)}
        del document["folder"]
        part = self.folder / f"{RECORD}.part"
        part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        part.replace(self.folder / RECORD)

    def executed(self, name: str) -> Path:
        """Where the executed copy of a notebook is."""
        return self.folder / NOTEBOOKS / f"{name}.ipynb"

    def results(self, name: str) -> Path:
        """Where a notebook keeps what it measured."""
        return self.folder / RESULTS / name

    @property
    def report(self) -> Path:
        """The one page of HTML."""
        return self.folder / REPORT


def new_folder(out: Path | None) -> Path:
    """The folder of a new run, made: ``out``, or one named by the time in ``runs``.

    Raises:
        UsageError: the folder is in use, or cannot be made.
    """
    folder = out or Path("runs") / datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"The folder {folder} is not empty, and a run wants one of its own.",
                todo="Give another one by --out, or leave --out away.",
            )
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be used for a run: {error.strerror or error}.",
            todo="Give a folder that you may write to by --out.",
        ) from error
    return folder


def collect(record: Record) -> tuple[tuple[tuple[str, Result], ...], pd.DataFrame]:
    """All results that the notebooks of a run kept, and one tidy table of them."""
    import pandas as pd

    found: list[tuple[str, Result]] = []
    for entry in record.entries:
        for kept in sorted(record.results(entry.name).glob("**/results.json")):
            found += [(entry.name, result) for result in load(kept.parent)]
    tables = []
    for name, result in found:
        table = tidy([result])
        table.insert(0, "notebook", name)
        tables.append(table)
    if tables:
        return tuple(found), pd.concat(tables, ignore_index=True)
    empty = tidy([])
    empty.insert(0, "notebook", "")
    return (), empty


def write_table(record: Record, table: pd.DataFrame) -> None:
    """The table as CSV and as Parquet."""
    table.to_csv(record.folder / f"{CSV}.part", index=False)
    (record.folder / f"{CSV}.part").replace(record.folder / CSV)
    table.to_parquet(record.folder / f"{PARQUET}.part", engine="pyarrow", index=False)
    (record.folder / f"{PARQUET}.part").replace(record.folder / PARQUET)


def schemes(results: Sequence[tuple[str, Result]]) -> tuple[Result, ...]:
    """Those results that have trials: what a table of medians can show."""
    return tuple(result for _, result in results if result.trials)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
