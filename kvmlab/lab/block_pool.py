"""Blocks of a comparison on several embedded hosts at once, scheduled by dask.

A block applies every scheme once, in random order, and runs each workload once. Under the virtual
clock figures do not depend on what else the machine does, so that blocks can run side by side: on
the lab's own embedded host, and on others that were restored from the saved state.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from kvmlab.domain import LAB_VM_NAME
from kvmlab.embedded import Settings, acquire
from kvmlab.errors import (
    EmbeddedError,
    HostUnreachable,
    KvmlabError,
    MachineDied,
    MeasureError,
    RevertFailed,
    UsageError,
)
from kvmlab.lab.embedded_host import connect, preparation
from kvmlab.lab.host_session import HostSession
from kvmlab.measure import Interleaving, Progress, Trials, measure
from kvmlab.measure.outliers import flagged
from kvmlab.measure.stopping_rule import StoppingRule
from kvmlab.results import Raw, Result, RunJournal, Trial
from kvmlab.scheduler import connected

if TYPE_CHECKING:
    from distributed import Client

    from kvmlab.changes import Plan
    from kvmlab.measure import OnProgress

#: The address of a dask scheduler, whose workers run the blocks in place of this machine.
SCHEDULER_VARIABLE: Final = "KVMLAB_SCHEDULER"
# Hosts on which a block is tried, where one after the other dies.
_ATTEMPTS: Final = 2
_ENDED: Final = "The measurement was ended."
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class BlockTask:
    """One round of a comparison. ``measurement`` names the comparison that it belongs to."""

    measurement: str
    number: int
    plans: tuple[Plan, ...]
    trials: Trials
    settings: Settings


@dataclass(frozen=True)
class BlockResults:
    """The results of one block, one for each plan, and the host that measured them."""

    number: int
    host: str
    results: tuple[Result, ...]


@dataclass(frozen=True)
class LoneTask:
    """A whole measurement of one plan, on a host of its own; ``measurement`` as in `BlockTask`."""

    measurement: str
    plan: Plan
    trials: Trials
    settings: Settings


def compare_in_blocks(
    plans: Sequence[Plan],
    trials: Trials,
    *,
    jobs: int,
    settings: Settings,
    progress: OnProgress,
    journal: RunJournal,
    own: HostSession | None = None,
    work: Callable[[BlockTask], BlockResults] | None = None,
) -> tuple[Result, ...]:
    """Measure the plans block by block on ``jobs`` embedded hosts: one result for each plan.

    The results are as those of :func:`kvmlab.measure.interleaved`, with the host of each block in
    their metadata. ``journal`` gets every trial as soon as its block is done. ``own`` is the
    caller's host, at rest: it is one of those that measure, unless a scheduler elsewhere hands out
    the blocks, and is at rest again afterwards. A block whose host died is measured once more on a
    fresh one. ``work`` measures a block, by default `run_block`.

    Raises:
        UsageError: there is no plan.
        HostUnreachable: the dask scheduler does not answer, or ended; what was measured stays.
        RevertFailed: ``own`` could not be put back.
        MeasureError, ChangeError, HostError, EmbeddedError: the first failure; all hosts but
            ``own`` ended.
    """
    if not plans:
        raise UsageError("There is no scheme to measure.", todo="Name at least one.")
    measurement = uuid.uuid4().hex[:12]
    collected = _Collected(plans, trials, journal)
    stopping = StoppingRule(trials, settings.clock)
    total = stopping.least
    address = os.environ.get(SCHEDULER_VARIABLE, "")
    with (
        connected(address, jobs) as client,
        named_losses(client, address),
        _lent(measurement, None if address else own),
        hosts_of(measurement, client),
    ):
        while True:
            rounds = jobs
            if trials.until_percent is None:
                rounds = min(jobs, max(1, trials.count - collected.blocks))
            workloads = stopping.next_workloads(collected.samples, rounds=rounds)
            if not workloads:
                break
            first = collected.blocks + 1
            total = max(total, first + rounds - 1)
            progress(Progress(collected.blocks, total, f"{rounds} hosts measure at a time"))
            tasks = [
                BlockTask(
                    measurement,
                    number,
                    tuple(plans),
                    _round(trials, workloads, is_first=number == 1),
                    settings,
                )
                for number in range(first, first + rounds)
            ]
            for block in _as_measured(client, work or run_block, tasks):
                collected.add(block)
                progress(Progress(collected.blocks, total, f"block {block.number} is done"))
    return collected.results(stopping)


def _as_measured(
    client: Client, work: Callable[[BlockTask], BlockResults], tasks: Sequence[BlockTask]
) -> Iterator[BlockResults]:
    """Hand out blocks, and yield the results of each as soon as it is done."""
    from distributed import as_completed

    futures = [
        client.submit(work, task, key=f"kvmlab-block-{task.measurement}-{task.number}", pure=False)
        for task in tasks
    ]
    for future in as_completed(futures):
        yield future.result()


def _round(trials: Trials, workloads: Sequence[str], *, is_first: bool) -> Trials:
    """Return the settings of one block; only the first one traces the path of a packet."""
    return replace(
        trials,
        count=1,
        workloads=tuple(workloads),
        until_percent=None,
        extend_percent=None,
        trace_path=trials.trace_path and is_first,
    )


class _Collected:
    """The results of all blocks so far."""

    def __init__(self, plans: Sequence[Plan], trials: Trials, journal: RunJournal) -> None:
        self._plans = plans
        self._settings = trials
        self._journal = journal
        self._blocks: dict[int, BlockResults] = {}

    @property
    def blocks(self) -> int:
        """Number of blocks that are done."""
        return len(self._blocks)

    def add(self, block: BlockResults) -> None:
        """Add a block, and write its trials into the journal."""
        is_first = not self._blocks
        self._blocks[block.number] = block
        for place, result in enumerate(block.results):
            by_trial = {trial: _raw_of(result, trial) for trial in result.trials}
            others = [raw for raw in result.raw if not any(raw in own for own in by_trial.values())]
            if is_first:
                self._journal.begin(place, replace(result, trials=(), raw=tuple(others)))
            for trial, own in by_trial.items():
                self._journal.add(place, result.scheme, trial, own)

    def samples(self, workload: str) -> list[list[float]]:
        """Return the figures of a workload so far, one list for each plan."""
        return [
            [
                trial.metrics[0].value
                for block in self._in_order()
                for trial in block.results[place].of(workload)
            ]
            for place in range(len(self._plans))
        ]

    def results(self, stopping: StoppingRule) -> tuple[Result, ...]:
        """Return all blocks as one result for each plan."""
        blocks = self._in_order()
        workloads = {name: place for place, name in enumerate(self._settings.workloads)}
        meta = {
            "settings": self._settings.on(blocks[0].results[0].clock).to_dict(),
            "order": [label for block in blocks for label in block.results[0].meta["order"]],
            "ended": stopping.to_dict(),
            "hosts": {str(block.number): block.host for block in blocks},
        }
        merged = []
        for place in range(len(self._plans)):
            parts = [block.results[place] for block in blocks]
            trials = [trial for part in parts for trial in part.trials]
            trials.sort(key=lambda trial: (workloads[trial.workload], trial.number))
            merged.append(
                replace(
                    parts[0],
                    trials=flagged(trials),
                    raw=tuple(raw for part in parts for raw in part.raw),
                    path=next((part.path for part in parts if part.path is not None), None),
                    meta={**parts[0].meta, **meta},
                )
            )
        return tuple(merged)

    def _in_order(self) -> list[BlockResults]:
        return [self._blocks[number] for number in sorted(self._blocks)]


def _raw_of(result: Result, trial: Trial) -> list[Raw]:
    """Return the raw output of one trial, which is named after it."""
    stem = f"{trial.workload}-{trial.number:02d}-"
    return [raw for raw in result.raw if raw.name.startswith(stem)]


# ------------------------------------------------------------------ in the workers

_free: dict[str, list[_WorkerHost]] = defaultdict(list)
_in_use: dict[str, set[_WorkerHost]] = defaultdict(set)
_ended: set[str] = set()
_guard = threading.Lock()


class _WorkerHost:
    """A host that measures blocks, and the measurement that stays open on it for one after another.

    Counters are set up and proven, and the steps that all schemes share are made, once for all
    blocks of this host. It ends with the measurement, unless it ``is_lent`` by somebody who goes
    on using it.
    """

    def __init__(self, session: HostSession, *, is_lent: bool = False) -> None:
        assert session.lease is not None
        self._session, self._lease = session, session.lease
        self._is_lent = is_lent
        self._open = contextlib.ExitStack()
        self._turn: Interleaving | None = None
        self._is_ending = threading.Event()
        #: Set when nothing works on the host any more.
        self.closed = threading.Event()
        #: Why it could not be put back.
        self.failure: KvmlabError | None = None
        folder = self._lease.run_dir.name
        self.name = f"{session.host.label} {folder} on {os.uname().nodename}"

    def measure(self, block: BlockTask) -> tuple[Result, ...]:
        """Measure one block and return one result for each plan."""
        with self._session.watched():
            # A path is traced before the first round, so that the block which asks for it is that.
            if self._turn is None or block.trials.trace_path:
                self._open.close()
                self._turn = self._begun(block)
            self._turn.round(block.number, tuple(block.trials.workloads))
            return self._turn.results(only=block.number, order=self._turn.order(block.number))

    def measure_whole(self, plan: Plan, trials: Trials) -> Result:
        """Measure all rounds of one plan, the last thing that is done on this host."""
        host, vm = self._session.host, self._session.vm
        with self._session.watched():
            change = plan.apply(vm)
            try:
                return measure(host, vm, change.nic, trials)
            finally:
                # The host ends with all that was changed: nothing is put back for nobody.
                change.discard()

    def _begun(self, block: BlockTask) -> Interleaving:
        from kvmlab.changes import prepared

        vm = self._session.vm
        applied = {plan.label: functools.partial(plan.applied, vm) for plan in block.plans}
        self._open.enter_context(prepared(*block.plans, vm=vm))
        turn = Interleaving(
            applied, self._session.host, vm, block.trials, progress=self._check_ending
        )
        return self._open.enter_context(turn)

    def _check_ending(self, _step: Progress) -> None:
        """Raise at the next step of a block that nobody waits for any more.

        Raises:
            EmbeddedError: the measurement was ended.
        """
        if self._is_ending.is_set():
            raise EmbeddedError(_ENDED)

    def death(self) -> MachineDied | None:
        """Return how the host died, if it did by itself."""
        try:
            self._lease.check()
        except MachineDied as error:
            return error
        except KvmlabError:
            pass  # it was ended
        return None

    def close(self) -> None:
        """Revert what is shared, and end the host unless it is lent; also where that fails."""
        try:
            self._open.close()
        except KvmlabError as error:
            self.failure = error
        finally:
            if not self._is_lent:
                self._session.close()
            self.closed.set()

    def end(self) -> None:
        """End the block that is measured: with its host, or on a lent one at its next step."""
        self._is_ending.set()
        if not self._is_lent:
            self._lease.release(clean=False)


def _restored(settings: Settings) -> HostSession:
    lease = acquire(settings, preparation=preparation(), private=True)
    return HostSession(connect(lease), vm_name=LAB_VM_NAME, lease=lease)


def run_block(block: BlockTask) -> BlockResults:
    """Measure one block on a host of this worker's, which is restored where none is free.

    Raises:
        MeasureError, ChangeError, HostError, EmbeddedError: the block failed; its host ended.
    """
    return _tried(block.measurement, functools.partial(_measure, block))


def measure_alone(task: LoneTask) -> Result:
    """Measure a plan on a host that is restored for it, and ended afterwards.

    Raises:
        MeasureError, ChangeError, HostError, EmbeddedError: it failed; its host ended.
    """
    return _tried(task.measurement, functools.partial(_measure_whole, task))


def _tried(measurement: str, work: Callable[[], Measured]) -> Measured:
    """Return what ``work`` does, on another host where the first one died."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except (MachineDied, HostUnreachable):
            # The host died and not the work: another one is as good.
            if measurement in _ended:
                raise
    return work()


def _measure_whole(task: LoneTask) -> Result:
    host = _new_host(task.measurement, task.settings)
    try:
        return host.measure_whole(task.plan, task.trials)
    except KvmlabError as error:
        death = host.death()
        if death is not None:
            raise death from error
        raise
    finally:
        with _guard:
            _in_use[task.measurement].discard(host)
        host.close()


def _measure(block: BlockTask) -> BlockResults:
    host = _take(block)
    try:
        results = host.measure(block)
    except BaseException as error:
        # What cannot be put back on a host that died is no failure of the block.
        death = host.death() if isinstance(error, KvmlabError) else None
        if isinstance(error, RevertFailed):
            host.failure = error
        host.close()
        if death is not None:
            raise death from error
        raise
    finally:
        with _guard:
            _in_use[block.measurement].discard(host)
    with _guard:
        is_over = block.measurement in _ended
        if not is_over:
            _free[block.measurement].append(host)
    if is_over:
        host.close()
    return BlockResults(block.number, host.name, results)


def _take(block: BlockTask) -> _WorkerHost:
    with _guard:
        if _free[block.measurement]:
            host = _free[block.measurement].pop()
            _in_use[block.measurement].add(host)
            return host
    return _new_host(block.measurement, block.settings)


def _new_host(measurement: str, settings: Settings) -> _WorkerHost:
    """Return a host that is restored now, in use for a measurement.

    Raises:
        EmbeddedError: the measurement was ended, or no host can be started.
    """
    if measurement in _ended:
        raise EmbeddedError(_ENDED)
    host = _WorkerHost(_restored(settings))
    with _guard:
        is_over = measurement in _ended
        if not is_over:
            _in_use[measurement].add(host)
    if is_over:
        host.close()
        raise EmbeddedError(_ENDED)
    return host


def end_hosts(measurement: str) -> None:
    """End the hosts of a measurement in this process, also those that are measuring."""
    with _guard:
        _ended.add(measurement)
        free, busy = _free.pop(measurement, []), [*_in_use[measurement]]
    for host in busy:
        host.end()
    for host in free:
        host.close()


@contextlib.contextmanager
def _lent(measurement: str, own: HostSession | None) -> Iterator[None]:
    """Let blocks of a measurement use the caller's own host; afterwards it is put back and free.

    Raises:
        RevertFailed: it could not be put back.
    """
    if own is None:
        yield
        return
    host = _WorkerHost(own, is_lent=True)
    with _guard:
        _free[measurement].append(host)
    try:
        yield
    finally:
        end_hosts(measurement)
        # A block that is being measured reverts its scheme first.
        host.closed.wait()
        if host.failure is not None and host.death() is None:
            raise host.failure


@contextlib.contextmanager
def hosts_of(measurement: str, client: Client) -> Iterator[None]:
    """End the hosts of a measurement in all workers at the end of the block."""
    try:
        yield
    finally:
        # Workers whose scheduler is gone end by themselves, and their hosts with them.
        if client.status == "running":
            client.run(end_hosts, measurement)


@contextlib.contextmanager
def named_losses(client: Client, address: str) -> Iterator[None]:
    """Name what dask lost: its scheduler, or one worker after the other on the same block.

    Raises:
        HostUnreachable: the scheduler ended, or the connection to it.
        MeasureError: every worker that measured a block died.
    """
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise MeasureError(
            "A block was given up: each worker that measured it died.",
            todo="Look at the workers' logs, and at their memory: each host takes some 600 MiB.",
            evidence=str(error),
        ) from error
    except (OSError, CancelledError) as error:
        # A block's own errors are kvmlab's; these come from dask, where its scheduler is lost.
        if client.status == "running":
            raise
        raise HostUnreachable(
            f"The dask scheduler {address} ended, or the connection to it.",
            todo="What was measured until then is kept (`kvmlab runs`). Start the scheduler again, "
            f"or unset {SCHEDULER_VARIABLE} to measure on this machine.",
            evidence=str(error),
        ) from error
