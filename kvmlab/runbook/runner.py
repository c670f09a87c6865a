"""A run: check everything, execute the notebooks, write data and report."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from kvmlab.clock import Clock
from kvmlab.directories import states_dir
from kvmlab.errors import KvmlabError, RevertFailed, RunFailed, UsageError, reason_of
from kvmlab.hosts import open_host
from kvmlab.lab import EMBEDDED
from kvmlab.lab.parallelism import JOBS_VARIABLE, usual_jobs
from kvmlab.language import ENGLISH, reading, translate
from kvmlab.report import page, tables
from kvmlab.report.overview import scheme_overview
from kvmlab.results import Result, locked
from kvmlab.runbook import engine, reference_pages, run_record
from kvmlab.runbook.notebook_process import NotebookProcess, NotebookTask, TaskEnd
from kvmlab.runbook.notebooks import Notebook, find_notebooks
from kvmlab.runbook.parameters import Value, convert_all
from kvmlab.runbook.progress import RunProgress
from kvmlab.runbook.run_host import HostRequest, RunHost
from kvmlab.runbook.run_record import NotebookEntry, RunRecord
from kvmlab.runbook.value_checks import check_values
from kvmlab.terminal import SafeConsole

NEEDED_MB = 100
_OUT = "OUT"
#: Before the anchors of terms in a report, which has other anchors as well.
_IN_GLOSSARY = "glossary-"


@dataclass(frozen=True)
class Outcome:
    """A run that came to its end."""

    folder: Path
    report: Path
    notebooks: tuple[str, ...]
    results: int


@dataclass(frozen=True)
class _Planned:
    """A notebook with the parameters that were set for it."""

    notebook: Notebook
    parameters: Mapping[str, Value]

    @property
    def values(self) -> dict[str, Value]:
        return {**self.notebook.defaults(), **self.parameters}

    @property
    def may_share_machine(self) -> bool:
        """True where other notebooks may run beside this one."""
        request = HostRequest.of(self.values)
        return request is None or request.may_share_machine


def run(
    names: Sequence[str] = (),
    *,
    parameters: Mapping[str, str] | None = None,
    out: Path | None = None,
    console: Console | None = None,
    language: str = ENGLISH,
    jobs: int | None = 1,
) -> Outcome:
    """Execute notebooks by their names (all of the lab's without any) and write the report.

    ``parameters`` are values as text; every notebook gets those that it declares. ``out`` is a new
    or empty folder. ``language`` is that of the prose; the code is the same in all. With several
    ``jobs`` so many notebooks run at a time, each on a host of its own; a notebook that runs alone
    compares on so many hosts. None is what CPUs and memory allow. The report is the same.

    Raises:
        UsageError: a notebook, parameter, kernel, language or folder cannot be used; nothing has
            started.
        RunFailed: a notebook failed; what ran until then is in the folder, report included, and
            the host has been put back.
        RevertFailed: as RunFailed, and the host could not be put back.
        HostError, EmbeddedError, Unavailable: the host cannot be had; a real one that does not
            answer, or has no libvirt, is known before anything starts.
    """
    planned = _checked(find_notebooks(names, language), parameters or {})
    _check_hosts(planned)
    folder = run_record.new_folder(out)
    _check_space(folder)
    entries = tuple(
        NotebookEntry(each.notebook.name, each.notebook.title, parameters=each.values)
        for each in planned
    )
    try:
        with locked(folder), RunProgress(console or SafeConsole()) as progress:
            first = RunRecord(folder, entries, language=planned[0].notebook.language)
            notebooks = _RunningNotebooks(first, progress)
            at_once = usual_jobs() if jobs is None else jobs
            if at_once == 1 or sum(each.may_share_machine for each in planned) < 2:
                return notebooks.one_by_one(planned, jobs)
            return notebooks.side_by_side(planned, at_once)
    except OSError as error:
        raise UsageError(
            f"The run cannot be written to {folder}: {reason_of(error)}.",
            todo="Free some space, or give another folder by --out.",
        ) from error


def describe_run(
    names: Sequence[str] = (),
    *,
    parameters: Mapping[str, str] | None = None,
    language: str = ENGLISH,
) -> tuple[str, ...]:
    """Return what `run` would do, in lines, after the same checks; nothing is started.

    Raises:
        UsageError: as `run`.
    """
    lines = []
    for planned in _checked(find_notebooks(names, language), parameters or {}):
        lines.append(f"{planned.notebook.name}: {planned.notebook.title}")
        lines += [f"    {name} = {value!r}" for name, value in planned.values.items()]
    return tuple(lines)


def _checked(notebooks: Sequence[Notebook], texts: Mapping[str, str]) -> tuple[_Planned, ...]:
    """Return the notebooks with their parameters, after every check that needs no host.

    Raises:
        UsageError: something is wrong.
    """
    repeated = {book.name for book in notebooks if notebooks.count(book) > 1}
    if repeated:
        raise UsageError(
            f"{', '.join(sorted(repeated))} was named more than once.", todo="Name it once."
        )
    values = convert_all(texts, notebooks)
    planned = tuple(_Planned(book, values[book.name]) for book in notebooks)
    for each in planned:
        engine.check_kernel(each.notebook)
        check_values(each.parameters)
    return planned


def _check_hosts(notebooks: Sequence[_Planned]) -> None:
    """Raise unless each real host of the notebooks answers, and its libvirt does.

    Raises:
        HostUnreachable, HostRefused: the host does not answer, or does not let us in.
        Unavailable: no libvirt answers there.
    """
    requests = {HostRequest.of(planned.values) for planned in notebooks}
    for spec in {request.spec for request in requests if request is not None} - {EMBEDDED}:
        with open_host(spec) as host:
            _ = host.libvirt


def _save_states(notebooks: Sequence[_Planned], say: Callable[[str], None]) -> None:
    """Boot the embedded host once where no state is saved yet, so that no notebook has to.

    A notebook under the wall clock needs a state of its own; its host boots at the same time.
    """
    requests = {HostRequest.of(planned.values) for planned in notebooks}
    virtual, wall = (HostRequest(EMBEDDED, clock) for clock in (Clock.VIRTUAL, Clock.WALL))
    if virtual not in requests or any(states_dir().glob("*")):
        return
    # Daemons, so that Ctrl-C need not wait for them: their hosts end with this process.
    beside = [
        threading.Thread(target=_boot_unheard, args=(request,), daemon=True)
        for request in requests & {wall}
    ]
    for thread in beside:
        thread.start()
    with RunHost(say, private=True) as run_host:
        run_host.switch_to(virtual)
    for thread in beside:
        thread.join()


def _boot_unheard(request: HostRequest) -> None:
    # Where it fails, its notebook boots it again and says why.
    with contextlib.suppress(KvmlabError), RunHost(lambda text: None, private=True) as run_host:
        run_host.switch_to(request)


def _check_space(folder: Path) -> None:
    free_mb = shutil.disk_usage(folder).free // 10**6
    if free_mb < NEEDED_MB:
        raise UsageError(
            f"{free_mb} MB are free at {folder}; a run needs about {NEEDED_MB} MB.",
            todo="Free some space, or give another folder by --out.",
        )


class _RunningNotebooks:
    """The notebooks of a run while they are executed."""

    def __init__(self, first: RunRecord, progress: RunProgress) -> None:
        self._record = first
        self._progress = progress
        self._guard = threading.Lock()

    def one_by_one(self, notebooks: Sequence[_Planned], jobs: int | None) -> Outcome:
        """Execute all notebooks in this process, or those up to the first that fails.

        Their comparisons use ``jobs`` hosts at a time, where figures do not depend on the load;
        without a number they choose it, each time.
        """
        self._record.write()
        with RunHost(self._progress.say) as run_host:
            try:
                for planned in notebooks:
                    run_host.switch_to(HostRequest.of(planned.values))
                    self._record = replace(self._record, host=dict(run_host.about))
                    chosen = {} if jobs is None else {JOBS_VARIABLE: str(jobs)}
                    self._execute(planned, {**run_host.environment, **chosen})
            except KvmlabError as error:
                self._after_failure(run_host.restore, error)
                raise
            except (KeyboardInterrupt, SystemExit):
                self._after_failure(run_host.restore, None)
                raise
        return self._complete()

    def side_by_side(self, notebooks: Sequence[_Planned], jobs: int) -> Outcome:
        """Execute ``jobs`` notebooks at a time, each in a process and on a host of its own.

        Those under the wall clock, or on a real host, run alone, after the others. The first that
        fails ends the others, which restore their hosts.
        """
        self._record.write()
        _save_states(notebooks, self._progress.say)
        try:
            sharing = [planned for planned in notebooks if planned.may_share_machine]
            self._wave(sharing, jobs)
            for planned in notebooks:
                if planned not in sharing:
                    self._wave([planned], 1)
        except KvmlabError as error:
            self._after_failure(tuple, error)
            raise
        except (KeyboardInterrupt, SystemExit):
            self._after_failure(tuple, None)
            raise
        return self._complete()

    def _complete(self) -> Outcome:
        self._record = self._record.closed("complete")
        results = self._finish()
        names = tuple(entry.name for entry in self._record.entries)
        return Outcome(self._record.folder, self._record.report, names, results)

    def _wave(self, notebooks: Sequence[_Planned], jobs: int) -> None:
        """Execute notebooks, ``jobs`` at a time; whatever happens, none runs on afterwards.

        Raises:
            RevertFailed: a host could not be restored.
            KvmlabError: the first failure.
        """
        stop = threading.Event()
        running: set[NotebookProcess] = set()
        with ThreadPoolExecutor(jobs) as pool:
            futures = [
                pool.submit(self._follow, planned, running, stop, is_alone=jobs == 1)
                for planned in notebooks
            ]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                stop.set()
                with self._guard:
                    for process in running:
                        process.stop()
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: not isinstance(error, RevertFailed)):
            raise error

    def _follow(
        self,
        planned: _Planned,
        running: set[NotebookProcess],
        stop: threading.Event,
        *,
        is_alone: bool,
    ) -> None:
        """Execute a notebook in a process; after ``stop`` do not start it."""
        name = planned.notebook.name
        with self._guard:
            if stop.is_set():
                return
            process = NotebookProcess(self._task_of(planned))
            running.add(process)
        self._update(name, status="running")
        progress = self._progress.begin(planned.notebook, is_alone=is_alone)
        for gap in planned.notebook.gaps:
            progress.say(f"  shown in English: {gap}")
        error: KvmlabError | None = None
        try:
            end = process.follow(progress.say, progress)
            error = end.error
        except RunFailed as failure:
            error, end = failure, TaskEnd()
        was_stopped = stop.is_set()
        with self._guard:
            running.discard(process)
            if error is not None:
                stop.set()
        progress.end(ok=error is None)
        if error is None:
            self._update(name, status="complete", elapsed_sec=round(end.elapsed_sec, 1))
            with self._guard:
                self._record = replace(self._record, host=end.host or self._record.host)
        elif was_stopped and not isinstance(error, RevertFailed):
            self._update(name, status="interrupted")
        else:
            self._update(name, status="failed")
            raise error

    def _task_of(self, planned: _Planned) -> NotebookTask:
        notebook = planned.notebook
        return NotebookTask(
            path=notebook.path,
            language=notebook.language,
            output=self._record.executed(notebook.name),
            parameters=self._parameters(planned),
            values={**planned.values},
        )

    def _parameters(self, planned: _Planned) -> dict[str, Value]:
        """Return the parameters that are set, with the notebook's own folder for results."""
        parameters = dict(planned.parameters)
        if _OUT in planned.notebook.defaults() and _OUT not in parameters:
            parameters[_OUT] = str(self._record.results(planned.notebook.name))
        return parameters

    def _execute(self, planned: _Planned, environment: Mapping[str, str]) -> None:
        notebook = planned.notebook
        self._update(notebook.name, status="running")
        progress = self._progress.begin(notebook)
        for gap in notebook.gaps:
            progress.say(f"  shown in English: {gap}")
        try:
            executed = engine.execute(
                notebook,
                self._record.executed(notebook.name),
                self._parameters(planned),
                listener=progress,
                kernel_env=environment,
            )
        except (RunFailed, KeyboardInterrupt, SystemExit):
            progress.end(ok=False)
            raise
        self._update(notebook.name, status="complete", elapsed_sec=round(executed.elapsed_sec, 1))
        progress.end(ok=True)

    def _update(self, name: str, **changes: object) -> None:
        with self._guard:
            self._record = self._record.with_entry(name, **changes)
            self._record.write()

    def _after_failure(
        self, restore: Callable[[], Sequence[str]], error: KvmlabError | None
    ) -> None:
        """Restore the host, then write what there is; a host that stays changed is the worse error.

        Raises:
            RevertFailed: the host could not be put back.
        """
        reason = error.english if error is not None else "The run was interrupted."
        self._record = self._record.closed("failed" if error is not None else "interrupted", reason)
        self._record.write()
        try:
            for sentence in restore():
                self._progress.say(sentence)
        finally:
            self._finish()

    def _finish(self) -> int:
        """Write the record, the table and the report; return the number of results."""
        with reading(self._record.language):
            return self._write()

    def _write(self) -> int:
        from kvmlab.report import html

        self._record.write()
        results, table = run_record.collect(self._record)
        run_record.write_table(self._record, table)
        executed = {
            entry.name: self._record.executed(entry.name)
            for entry in self._record.entries
            if self._record.executed(entry.name).is_file()
        }
        if not executed:
            return 0
        overview = scheme_overview(results)
        head = page.Head(
            title=translate("kvmlab: the network of KVM virtual machines"),
            language=self._record.language,
            warning=" ".join(dict.fromkeys(r.emulated for _, r in results if r.emulated)),
            failure=self._record.failure,
            facts=tuple(page.Fact(name, value) for name, value in self._record.host.items()),
            notebooks=tuple(
                page.NotebookRow(entry.name, entry.title, entry.status, entry.elapsed_sec)
                for entry in self._record.entries
            ),
            overview="" if overview is None else overview.to_json(),
            medians=_medians(self._record, results),
            csv=table.to_csv(index=False),
        )
        html.write(
            executed,
            self._record.report,
            head,
            prepare=partial(
                reference_pages.linked, language=head.language, anchors=f"#{_IN_GLOSSARY}"
            ),
            appendix=reference_pages.glossary_cells(head.language, _IN_GLOSSARY),
        )
        return len(results)


def _medians(record: RunRecord, results: Sequence[tuple[str, Result]]) -> tuple[page.Medians, ...]:
    """Return a table for each notebook that measured: one for all would have twenty columns."""
    medians = []
    for entry in record.entries:
        measured = run_record.schemes([each for each in results if each[0] == entry.name])
        if measured:
            medians.append(page.Medians(entry.title, tables.summary(*measured).to_html()))
    return tuple(medians)
