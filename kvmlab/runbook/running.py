"""One run: check everything, execute notebook after notebook, write data and report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from kvmlab.errors import KvmlabError, RunFailed, UsageError
from kvmlab.hosts import Wire
from kvmlab.lab.opening import named_vm
from kvmlab.report import page, tables
from kvmlab.report.wording import wording
from kvmlab.results import Result, held
from kvmlab.runbook import engine, parameters, record
from kvmlab.runbook.hosting import Hosting, Wanted
from kvmlab.runbook.notebooks import Notebook, find
from kvmlab.runbook.parameters import Value
from kvmlab.runbook.progress import RunProgress
from kvmlab.runbook.record import Entry, Record
from kvmlab.runbook.translation import ENGLISH

NEEDED_MB = 100
_OUT = "OUT"


@dataclass(frozen=True)
class Outcome:
    """A run that came to its end."""

    folder: Path
    report: Path
    notebooks: tuple[str, ...]
    results: int


@dataclass(frozen=True)
class _Job:
    """A notebook with the values it will run with."""

    notebook: Notebook
    given: Mapping[str, Value]

    @property
    def values(self) -> dict[str, object]:
        return {**self.notebook.defaults(), **self.given}


def run(
    names: Sequence[str] = (),
    *,
    given: Mapping[str, str] | None = None,
    out: Path | None = None,
    console: Console | None = None,
    language: str = ENGLISH,
) -> Outcome:
    """Execute notebooks by their names (all of the lab's without any) and write the report.

    ``given`` are parameters as text; every notebook gets those it declares. ``out`` is a new or
    empty folder. ``language`` is that of the prose; the code is the same in all.

    Raises:
        UsageError: a notebook, parameter, kernel, language or folder cannot be used; nothing has
            started.
        RunFailed: a notebook failed; what ran until then is in the folder, report included, and
            the host has been put back.
        RevertFailed: as RunFailed, and the host could not be put back.
        HostError, EmbeddedError: the host cannot be had.
    """
    jobs = _checked(find(names, language), given or {})
    folder = record.new_folder(out)
    _check_space(folder)
    entries = tuple(
        Entry(job.notebook.name, job.notebook.title, parameters=job.values) for job in jobs
    )
    try:
        with held(folder), RunProgress(console or Console()) as progress:
            first = Record(folder, entries, language=jobs[0].notebook.language)
            return _Run(first, progress).through(jobs)
    except OSError as error:
        raise UsageError(
            f"The run cannot be written to {folder}: {error.strerror or error}.",
            todo="Free some space, or give another folder by --out.",
        ) from error


def intended(
    names: Sequence[str] = (),
    *,
    given: Mapping[str, str] | None = None,
    language: str = ENGLISH,
) -> tuple[str, ...]:
    """What `run` would do, a line each, after the same checks; nothing is started.

    Raises:
        UsageError: as `run`.
    """
    lines = []
    for job in _checked(find(names, language), given or {}):
        lines.append(f"{job.notebook.name}: {job.notebook.title}")
        lines += [f"    {name} = {value!r}" for name, value in job.values.items()]
    return tuple(lines)


def _checked(notebooks: Sequence[Notebook], given: Mapping[str, str]) -> tuple[_Job, ...]:
    """Everything that can be known to be wrong before anything starts."""
    twice = {book.name for book in notebooks if notebooks.count(book) > 1}
    if twice:
        raise UsageError(
            f"{', '.join(sorted(twice))} was named more than once.", todo="Name it once."
        )
    values = parameters.check(given, notebooks)
    jobs = tuple(_Job(book, values[book.name]) for book in notebooks)
    for job in jobs:
        engine.check_kernel(job.notebook)
        Wanted.by(job.values)
        if job.values.get("CABLE"):
            Wire.parse(str(job.values["CABLE"]))
        if "VM" in job.values:
            named_vm(str(job.values["VM"]))
    return jobs


def _check_space(folder: Path) -> None:
    free_mb = shutil.disk_usage(folder).free // 10**6
    if free_mb < NEEDED_MB:
        raise UsageError(
            f"{free_mb} MB are free at {folder}; a run needs about {NEEDED_MB} MB.",
            todo="Free some space, or give another folder by --out.",
        )


class _Run:
    """The state of one run while it goes on."""

    def __init__(self, first: Record, progress: RunProgress) -> None:
        self._record = first
        self._progress = progress

    def through(self, jobs: Sequence[_Job]) -> Outcome:
        """All notebooks, or up to the first that fails."""
        self._record.write()
        with Hosting(self._progress.say) as hosting:
            try:
                for job in jobs:
                    hosting.want(Wanted.by(job.values))
                    self._record = replace(self._record, host=dict(hosting.about))
                    self._execute(job, hosting.environment)
            except KvmlabError as error:
                self._after_failure(hosting, error)
                raise
            except (KeyboardInterrupt, SystemExit):
                self._after_failure(hosting, None)
                raise
        self._record = self._record.closed("complete")
        results = self._finish()
        names = tuple(entry.name for entry in self._record.entries)
        return Outcome(self._record.folder, self._record.report, names, results)

    def _execute(self, job: _Job, environment: Mapping[str, str]) -> None:
        name = job.notebook.name
        given = dict(job.given)
        if _OUT in job.notebook.defaults() and _OUT not in given:
            given[_OUT] = str(self._record.results(name))
        self._update(name, status="running")
        self._progress.begin(job.notebook)
        for gap in job.notebook.gaps:
            self._progress.say(f"  shown in English: {gap}")
        started = time.monotonic()
        try:
            done = engine.execute(
                job.notebook,
                self._record.executed(name),
                given,
                listener=self._progress,
                kernel_env=environment,
            )
        except (RunFailed, KeyboardInterrupt, SystemExit):
            self._progress.end(job.notebook, time.monotonic() - started, ok=False)
            raise
        self._update(name, status="complete", elapsed_sec=round(done.elapsed_sec, 1))
        self._progress.end(job.notebook, done.elapsed_sec, ok=True)

    def _update(self, name: str, **changes: object) -> None:
        self._record = self._record.with_entry(name, **changes)
        self._record.write()

    def _after_failure(self, hosting: Hosting, error: KvmlabError | None) -> None:
        """Put the host back, then write what there is. A host that stays changed is the worse news.

        Raises:
            RevertFailed: the host could not be put back.
        """
        said = str(error) if error is not None else "The run was interrupted."
        self._record = self._record.closed("failed" if error is not None else "interrupted", said)
        self._record.write()
        try:
            for sentence in hosting.restore():
                self._progress.say(sentence)
        finally:
            self._finish()

    def _finish(self) -> int:
        """Write the record, the table and the report of what was executed."""
        from kvmlab.report import html

        self._record.write()
        found, table = record.collect(self._record)
        record.write_table(self._record, table)
        executed = {
            entry.name: self._record.executed(entry.name)
            for entry in self._record.entries
            if self._record.executed(entry.name).is_file()
        }
        if not executed:
            return 0
        head = page.Head(
            title=wording(self._record.language).title,
            language=self._record.language,
            warning=" ".join(dict.fromkeys(r.emulated for _, r in found if r.emulated)),
            failure=self._record.failure,
            facts=tuple(page.Fact(name, value) for name, value in self._record.host.items()),
            stops=tuple(
                page.Stop(entry.name, entry.title, entry.status, entry.elapsed_sec)
                for entry in self._record.entries
            ),
            medians=_medians(self._record, found),
            csv=table.to_csv(index=False),
        )
        html.write(executed, self._record.report, head)
        return len(found)


def _medians(record_: Record, found: Sequence[tuple[str, Result]]) -> tuple[page.Medians, ...]:
    """A table for each notebook that measured: one for all would have twenty columns."""
    made = []
    for entry in record_.entries:
        measured = record.schemes([each for each in found if each[0] == entry.name])
        if measured:
            made.append(page.Medians(entry.title, tables.summary(*measured).to_html()))
    return tuple(made)
