"""The result folders of a lab: one for each measurement, from its first trial on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmlab.errors import UsageError, reason_of
from kvmlab.language import translate
from kvmlab.results import Result, RunInfo, RunJournal, new_folder, save

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host
    from kvmlab.measure import Trials


_CONTENTS = "tidy.csv, tidy.parquet, results.json and the tools' own output in raw/"
_FACTS = "facts.json"
# The packages that turn trials into figures and intervals; their versions are stored.
_PACKAGES = ("kvmlab", "numpy", "scipy", "pandas", "pyarrow", "libvirt-python")


@dataclass(frozen=True, repr=False)
class SavedResults:
    """The folder that results were written to, and how many; shows itself as one line."""

    folder: Path
    results: int
    trials: int

    def __str__(self) -> str:
        return translate(f"Kept {self._amount} in {self.folder}: {_CONTENTS}.")

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return translate(f"Kept {self._amount} in `{self.folder}`: {_CONTENTS}.")

    @property
    def _amount(self) -> str:
        results = f"{self.results} result{'s' if self.results != 1 else ''}"
        return f"{results} ({self.trials} trials)" if self.trials else results


class ResultStore:
    """The result folders of one lab, under ``out``; `keep` puts several measurements into one."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._measured: list[tuple[Path, tuple[Result, ...]]] = []

    @property
    def folder(self) -> Path:
        """The folder in which every measurement gets one of its own."""
        return self._out

    @contextlib.contextmanager
    def journal(
        self, host: Host, schemes: Sequence[str], trials: Trials, facts: HostFacts | None
    ) -> Iterator[RunJournal]:
        """Open a journal for what the block measures; a block that fails leaves its trials.

        Raises:
            UsageError: the folder cannot be written.
        """
        info = _run_info(host.label, host.clock.value, host.emulated, schemes)
        settings = trials.on(host.clock).to_dict()
        journal = RunJournal(self._out, replace(info, settings=settings))
        _write_facts(journal.folder, facts)
        try:
            yield journal
        except BaseException as error:
            # Where nothing can be written any more, `error` says so already.
            with contextlib.suppress(UsageError):
                journal.fail(
                    getattr(error, "english", str(error)) or "The measurement was interrupted."
                )
            if not journal.trials:
                shutil.rmtree(journal.folder, ignore_errors=True)
            raise

    def measured(self, journal: RunJournal, *results: Result) -> tuple[Result, ...]:
        """Finish the journal's run with these results, and return them."""
        self._measured.append((journal.finish(results), results))
        return results

    def keep(self, results: Sequence[Result], facts: HostFacts | None) -> SavedResults:
        """Put results into one folder, and remove the folders of their measurements.

        Raises:
            UsageError: there is nothing to keep, or the folder cannot be written.
        """
        ids = {id(result) for result in results}
        covered = [
            (folder, stored)
            for folder, stored in self._measured
            if {id(result) for result in stored} <= ids and folder.is_dir()
        ]
        if len(covered) == 1 and len(covered[0][1]) == len(results):
            folder, stored = covered[0]
            return SavedResults(folder, len(stored), sum(len(result.trials) for result in stored))
        saved = keep(results, self._out, facts)
        for folder, _ in covered:
            shutil.rmtree(folder, ignore_errors=True)
        self._measured = [entry for entry in self._measured if entry not in covered]
        return saved


def keep(results: Sequence[Result], out: Path, facts: HostFacts | None) -> SavedResults:
    """Write results into a new folder under ``out``, with the facts of the host beside them.

    Raises:
        UsageError: there is nothing to keep, or the folder cannot be written.
    """
    if not results:
        raise UsageError("There is no result to keep.", todo="Measure one first.")
    trials = sum(len(result.trials) for result in results)
    first = results[0]
    info = _run_info(
        first.host, first.clock.value, first.emulated, [result.label for result in results]
    )
    settings: Mapping[str, Any] = next(
        (r.meta["settings"] for r in results if "settings" in r.meta), {}
    )
    started = (trial.started for r in results for trial in r.trials if trial.started)
    info = replace(info, settings=settings, started=min(started, default="") or info.started)
    try:
        folder = save(results, new_folder(out))
        info.ended_as("finished", trials=trials).write(folder)
        _write_facts(folder, facts)
    except OSError as error:
        raise UsageError(
            f"Results cannot be kept in {out}: {reason_of(error)}.",
            todo="Choose a folder that you may write to.",
        ) from error
    return SavedResults(folder, len(results), trials)


def _write_facts(folder: Path, facts: HostFacts | None) -> None:
    if facts is not None:
        text = json.dumps(facts.to_dict(), indent=1, ensure_ascii=False)
        (folder / _FACTS).write_text(text + "\n")


def _run_info(host: str, clock: str, emulated: str | None, schemes: Sequence[str]) -> RunInfo:
    return RunInfo(
        host=host,
        clock=clock,
        emulated=emulated,
        schemes=tuple(schemes),
        machine={
            "cpu": _cpu(),
            "cpus": str(len(os.sched_getaffinity(0))),
            "kernel": platform.release(),
        },
        versions={"python": platform.python_version(), **dict(_versions())},
    )


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name)


def _cpu() -> str:
    """Return the model of the CPU that kvmlab itself runs on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
