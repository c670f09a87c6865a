"""Where a notebook's results go: a folder of their own for each time they are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kvmlab.errors import UsageError
from kvmlab.results import Result, save

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts


_CONTENTS = "tidy.csv, tidy.parquet, results.json and the tools' own output in raw/"


@dataclass(frozen=True, repr=False)
class Kept:
    """Where results were written; shows itself as one line."""

    folder: Path
    results: int
    trials: int

    def __str__(self) -> str:
        return f"{self._kept} in {self.folder}: {_CONTENTS}."

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return f"{self._kept} in `{self.folder}`: {_CONTENTS}."

    @property
    def _kept(self) -> str:
        """How much was kept."""
        results = f"{self.results} result{'s' if self.results != 1 else ''}"
        return f"Kept {results} ({self.trials} trials)" if self.trials else f"Kept {results}"


def keep(results: Sequence[Result], out: Path, facts: HostFacts | None) -> Kept:
    """Write results into a new folder under ``out``, and beside them what was read of the host.

    Raises:
        UsageError: there is nothing to keep, or the folder cannot be written.
    """
    if not results:
        raise UsageError("There is no result to keep.", todo="Measure one first.")
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    folder = save(results, _unused(out / stamp))
    if facts is not None:
        text = json.dumps(facts.to_dict(), indent=1, ensure_ascii=False)
        (folder / "facts.json").write_text(text + "\n")
    return Kept(folder, len(results), sum(len(result.trials) for result in results))


def _unused(folder: Path) -> Path:
    """``folder``, or the same with a number where two results are kept in one second."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return candidate
