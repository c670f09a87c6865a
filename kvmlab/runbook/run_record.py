"""The folder of a run: its record, and the data of all notebooks as one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kvmlab import __version__
from kvmlab.directories import write_atomically
from kvmlab.errors import UsageError, reason_of
from kvmlab.results import Result, load, tidy
from kvmlab.serialization import to_json
from kvmlab.stored_files import SEALED_FORMAT, controller_id, sealed

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["waiting", "running", "complete", "failed", "interrupted"]

RECORD, CSV, PARQUET, REPORT = "run.json", "data.csv", "data.parquet", "report.html"
NOTEBOOKS, RESULTS = "notebooks", "results"


@dataclass(frozen=True)
class NotebookEntry:
    """One notebook of a run."""

    name: str
    title: str
    status: Status = "waiting"
    elapsed_sec: float = 0.0
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """The content of ``run.json``, replaced as a whole by every change."""

    folder: Path
    entries: tuple[NotebookEntry, ...]
    status: Status = "running"
    started: str = field(default_factory=lambda: _now())
    ended: str = ""
    host: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    language: str = "en"

    def with_entry(self, name: str, **changes: Any) -> RunRecord:
        """Return the record with one notebook's entry changed."""
        return replace(
            self,
            entries=tuple(
                replace(entry, **changes) if entry.name == name else entry for entry in self.entries
            ),
        )

    def closed(self, status: Status, failure: str = "") -> RunRecord:
        """Return the record of a run that ended; a running notebook gets the same ``status``."""
        entries = tuple(
            replace(entry, status=status) if entry.status == "running" else entry
            for entry in self.entries
        )
        return replace(self, entries=entries, status=status, failure=failure, ended=_now())

    def write(self) -> None:
        """Write ``run.json``, in one step; it is on the disk on return."""
        document = {"format": SEALED_FORMAT, "kvmlab": __version__, **to_json(self)}
        del document["folder"]
        document["controller"] = controller_id()
        text = json.dumps(sealed(document), indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / RECORD, text, durable=True)

    def executed(self, name: str) -> Path:
        """Return the path of a notebook's executed copy."""
        return self.folder / NOTEBOOKS / f"{name}.ipynb"

    def results(self, name: str) -> Path:
        """Return the folder of a notebook's results."""
        return self.folder / RESULTS / name

    @property
    def report(self) -> Path:
        """The path of the report, one page of HTML."""
        return self.folder / REPORT


def new_folder(out: Path | None) -> Path:
    """Create the folder of a new run and return it: ``out``, or one in ``runs`` named by the time.

    Raises:
        UsageError: the folder is in use, or cannot be made.
    """
    folder = out or Path("runs") / datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"The folder {folder} is not empty, and a run needs one of its own.",
                todo="Give another one by --out, or leave --out away.",
            )
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be used for a run: {reason_of(error)}.",
            todo="Give a folder that you may write to by --out.",
        ) from error
    return folder


def collect(record: RunRecord) -> tuple[tuple[tuple[str, Result], ...], pd.DataFrame]:
    """Return all results that the notebooks of a run kept, by notebook, and one tidy table."""
    import pandas as pd

    results: list[tuple[str, Result]] = []
    for entry in record.entries:
        for file in sorted(record.results(entry.name).glob("**/results.json")):
            results += [(entry.name, result) for result in load(file.parent)]
    tables = []
    for name, result in results:
        table = tidy([result])
        table.insert(0, "notebook", name)
        tables.append(table)
    if tables:
        return tuple(results), pd.concat(tables, ignore_index=True)
    empty = tidy([])
    empty.insert(0, "notebook", "")
    return (), empty


def write_table(record: RunRecord, table: pd.DataFrame) -> None:
    """Write the table as CSV and as Parquet, each in one step."""
    table.to_csv(record.folder / f"{CSV}.part", index=False)
    (record.folder / f"{CSV}.part").replace(record.folder / CSV)
    table.to_parquet(record.folder / f"{PARQUET}.part", engine="pyarrow", index=False)
    (record.folder / f"{PARQUET}.part").replace(record.folder / PARQUET)


def schemes(results: Sequence[tuple[str, Result]]) -> tuple[Result, ...]:
    """Return the results that have trials, which a table of medians can show."""
    return tuple(result for _, result in results if result.trials)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
