"""Where a lab's results go: a folder of their own for each measurement, from its first trial on."""

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

from kvmlab.errors import UsageError
from kvmlab.results import About, Journal, Result, new_folder, save

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host
    from kvmlab.measure import Trials


_CONTENTS = "tidy.csv, tidy.parquet, results.json and the tools' own output in raw/"
_FACTS = "facts.json"
# What turned trials into figures and intervals.
_PACKAGES = ("kvmlab", "numpy", "scipy", "pandas", "pyarrow", "libvirt-python")


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


class Keeping:
    """The folders of one lab, under ``out``: one for each measurement, put together by `keep`."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._measured: list[tuple[Path, tuple[Result, ...]]] = []

    @contextlib.contextmanager
    def journal(
        self, host: Host, schemes: Sequence[str], trials: Trials, facts: HostFacts | None
    ) -> Iterator[Journal]:
        """A journal for what the block measures; a block that fails leaves what it had.

        Raises:
            UsageError: the folder cannot be written.
        """
        about = _about(host.label, host.clock.value, host.emulated, schemes)
        settings = trials.on(host.clock).to_dict()
        journal = Journal(self._out, replace(about, settings=settings))
        _write_facts(journal.folder, facts)
        try:
            yield journal
        except BaseException as error:
            # Where nothing can be written any more, that is the error already under way.
            with contextlib.suppress(UsageError):
                journal.fail(str(error) or "The measurement was interrupted.")
            if not journal.trials:
                shutil.rmtree(journal.folder, ignore_errors=True)
            raise

    def measured(self, journal: Journal, *results: Result) -> tuple[Result, ...]:
        """The journal's run came to its end with these results, which are given back."""
        self._measured.append((journal.finish(results), results))
        return results

    def keep(self, results: Sequence[Result], facts: HostFacts | None) -> Kept:
        """Put results into one folder; those of their measurements are given up for it.

        Raises:
            UsageError: there is nothing to keep, or the folder cannot be written.
        """
        wanted = {id(result) for result in results}
        covered = [
            (folder, held)
            for folder, held in self._measured
            if {id(result) for result in held} <= wanted and folder.is_dir()
        ]
        if len(covered) == 1 and len(covered[0][1]) == len(results):
            folder, held = covered[0]
            return Kept(folder, len(held), sum(len(result.trials) for result in held))
        kept = keep(results, self._out, facts)
        for folder, _ in covered:
            shutil.rmtree(folder, ignore_errors=True)
        self._measured = [entry for entry in self._measured if entry not in covered]
        return kept


def keep(results: Sequence[Result], out: Path, facts: HostFacts | None) -> Kept:
    """Write results into a new folder under ``out``, and beside them what was read of the host.

    Raises:
        UsageError: there is nothing to keep, or the folder cannot be written.
    """
    if not results:
        raise UsageError("There is no result to keep.", todo="Measure one first.")
    trials = sum(len(result.trials) for result in results)
    first = results[0]
    about = _about(
        first.host, first.clock.value, first.emulated, [result.label for result in results]
    )
    settings: Mapping[str, Any] = next(
        (r.meta["settings"] for r in results if "settings" in r.meta), {}
    )
    begun = min((trial.started for r in results for trial in r.trials if trial.started), default="")
    about = replace(about, settings=settings, started=begun or about.started)
    try:
        folder = save(results, new_folder(out))
        about.ended_as("finished", trials=trials).write(folder)
        _write_facts(folder, facts)
    except OSError as error:
        raise UsageError(
            f"Results cannot be kept in {out}: {error.strerror or error}.",
            todo="Choose a folder that you may write to.",
        ) from error
    return Kept(folder, len(results), trials)


def _write_facts(folder: Path, facts: HostFacts | None) -> None:
    if facts is not None:
        text = json.dumps(facts.to_dict(), indent=1, ensure_ascii=False)
        (folder / _FACTS).write_text(text + "\n")


def _about(host: str, clock: str, emulated: str | None, schemes: Sequence[str]) -> About:
    return About(
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
    """The CPU of the machine that runs kvmlab."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
