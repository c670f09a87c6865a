"""A measurement: one applied scheme, or several in turns."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kvmlab.errors import UsageError
from kvmlab.measure.counters import Detail
from kvmlab.measure.metadata import MetadataReader
from kvmlab.measure.meters import Meters
from kvmlab.measure.outliers import flagged
from kvmlab.measure.packet_trace import trace_path
from kvmlab.measure.selfcheck import self_check
from kvmlab.measure.stopping_rule import StoppingRule
from kvmlab.measure.subject import Subject, counted_at
from kvmlab.measure.trial import run_trial
from kvmlab.measure.trial_settings import Trials
from kvmlab.measure.workloads import workload
from kvmlab.results import Path, Raw, Result, RunJournal, Trial

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host

Apply = Callable[[], AbstractContextManager["Nic"]]
"""Applies a scheme for the length of a ``with`` block, and hands over the VM's interface."""


@dataclass(frozen=True)
class Progress:
    """The state of a measurement: ``done`` of ``total`` steps, and what is being done now."""

    done: int
    total: int
    what: str


OnProgress = Callable[[Progress], None]


class _Steps:
    """The steps of a measurement, reported one by one.

    Their number is a guess where the trials go on until they are enough: it grows.
    """

    def __init__(self, trials: Trials, schemes: int, least: int, report: OnProgress | None) -> None:
        self._done = 0
        applying = least if schemes > 1 else 0
        once = 1 + int(trials.trace_path)
        self._total = schemes * (least * len(trials.workloads) + once + applying)
        self._report = report
        is_fixed = trials.until_percent is trials.extend_percent is None
        self.of = f" of {trials.count}" if is_fixed else ""

    def now(self, what: str) -> None:
        """Report the step that begins."""
        self._total = max(self._total, self._done + 1)
        if self._report is not None:
            self._report(Progress(self._done, self._total, what))
        self._done += 1

    def end(self) -> None:
        """Report that all is done, also where fewer steps were needed."""
        if self._report is not None:
            self._report(Progress(self._total, self._total, "done"))


class _Measurement:
    """Host, VM, settings, meters and journal, which all schemes of a measurement share."""

    def __init__(
        self,
        host: Host,
        vm: TestVM,
        trials: Trials,
        schemes: int,
        progress: OnProgress | None,
        journal: RunJournal | None,
    ) -> None:
        self.host, self.vm, self.trials = host, vm, trials.on(host.clock)
        self.stopping = StoppingRule(trials, host.clock)
        self.steps = _Steps(trials, schemes, self.stopping.least, progress)
        self.meters = Meters(host)
        self.metadata = MetadataReader(host, vm)
        self.journal = journal
        self._proofs: dict[str, dict[str, Any]] = {}

    def proof(self, subject: Subject) -> dict[str, Any]:
        """Return what the counters saw of a known load, once for each place that counts packets.

        The other counters are the same for the same VM, whatever interface is plugged in.

        Raises:
            MeasureError: a counter stayed at zero.
        """
        if not subject.is_counted:
            return {}
        # Set up as the first stream will need them, so that it need not be done twice.
        stream = Detail.FULL if self.trials.full_costs else Detail.STREAM
        self.meters.set_up(subject, stream)
        place = counted_at(subject.cable)
        if place not in self._proofs:
            self._proofs[place] = self_check(subject, self.meters)
        return self._proofs[place]


class _SchemeRun:
    """The trials of one scheme so far; ``number`` is its place in the measurement."""

    def __init__(self, measurement: _Measurement, number: int = 0) -> None:
        self._measurement, self._number = measurement, number
        self._nic: Nic | None = None
        self._meta: dict[str, Any] = {}
        self._trials: list[Trial] = []
        self._raw: dict[int, list[Raw]] = defaultdict(list)
        self._first = 0
        self._path: Path | None = None

    def round(self, nic: Nic, workloads: tuple[str, ...], *, number: int, block: int) -> None:
        """Run one trial of each workload; before the first, prove counters and follow a packet."""
        shared = self._measurement
        subject = Subject.of(shared.host, shared.vm, nic)
        if self._nic is None:
            self._first = number
            self._collect_metadata(subject)
        for name in workloads:
            shared.steps.now(f"{nic.label}: {name}, trial {number}{shared.steps.of}")
            work = workload(name, shared.trials, nic.peer_ip)
            trial, raw = run_trial(
                subject, work, shared.trials, shared.meters, number=number, block=block
            )
            self._trials.append(trial)
            self._raw[number].extend(raw)
            if shared.journal is not None:
                shared.journal.add(self._number, nic.scheme, trial, raw)

    def _collect_metadata(self, subject: Subject) -> None:
        shared, nic = self._measurement, subject.nic
        shared.steps.now(f"{nic.label}: proving the counters")
        proof = shared.proof(subject)
        self._nic = nic
        self._meta = {
            "settings": shared.trials.to_dict(),
            "nic": nic.to_dict(),
            "host": shared.metadata.host(subject.threads),
            "guest": shared.metadata.guest(nic),
            "self_check": proof,
            "missing_costs": shared.meters.missing_costs,
        }
        if shared.trials.trace_path:
            shared.steps.now(f"{nic.label}: following one packet")
            self._path, trace = trace_path(subject)
            self._raw[self._first].append(trace)
        if shared.journal is not None:
            shared.journal.begin(self._number, self.result())

    def values(self, name: str) -> list[float]:
        """Return a workload's figures so far: those of the metric that its trials name first."""
        return [trial.metrics[0].value for trial in self._trials if trial.workload == name]

    def result(self, *, only: int | None = None, **more: Any) -> Result:
        """Return everything, or ``only`` one round, as one frozen result.

        ``more`` is added to its metadata. The path belongs to the first round.

        Raises:
            UsageError: nothing was measured.
        """
        if self._nic is None:
            raise UsageError("A scheme of which nothing was measured has no result.")
        shared = self._measurement
        order = {name: place for place, name in enumerate(shared.trials.workloads)}
        trials = [trial for trial in self._trials if only in (None, trial.number)]
        raw = [raw for number, part in self._raw.items() if only in (None, number) for raw in part]
        return Result(
            scheme=self._nic.scheme,
            label=self._nic.label,
            host=shared.host.label,
            clock=shared.host.clock,
            emulated=shared.host.emulated,
            trials=flagged(sorted(trials, key=lambda t: (order[t.workload], t.number))),
            path=self._path if only in (None, self._first) else None,
            meta={**self._meta, **more},
            raw=tuple(raw),
        )


def measure(
    host: Host,
    vm: TestVM,
    nic: Nic,
    trials: Trials,
    *,
    progress: OnProgress | None = None,
    journal: RunJournal | None = None,
) -> Result:
    """Measure the scheme that is applied now: each workload as often as ``trials`` ask for.

    ``journal`` gets every trial as soon as it is done.

    Raises:
        MeasureError: a trial or a meter failed, or a counter cannot be trusted.
        HostError, DomainError: host or VM do not answer.
    """
    measurement = _Measurement(host, vm, trials, 1, progress, journal)
    stopping, run = measurement.stopping, _SchemeRun(measurement)
    with measurement.meters:
        for number in itertools.count(1):
            workloads = stopping.next_workloads(lambda name: [run.values(name)])
            if not workloads:
                break
            run.round(nic, workloads, number=number, block=number)
    measurement.steps.end()
    return run.result(ended=stopping.to_dict())


class Interleaving:
    """Several schemes on one host in turns, round by round; a context manager.

    Each round applies every scheme once, in an order drawn from ``trials.seed``, and runs each
    workload once. Counters are proven and conditions read once, before a scheme's first round here.
    ``schemes`` maps a name for messages to what applies the scheme (``lambda: plan.applied(vm)``).
    """

    def __init__(
        self,
        schemes: Mapping[str, Apply],
        host: Host,
        vm: TestVM,
        trials: Trials,
        *,
        progress: OnProgress | None = None,
        journal: RunJournal | None = None,
    ) -> None:
        if not schemes:
            raise UsageError("There is no scheme to measure.", todo="Name at least one.")
        self._schemes = schemes
        self._measurement = _Measurement(host, vm, trials, len(schemes), progress, journal)
        self._runs = {
            name: _SchemeRun(self._measurement, place) for place, name in enumerate(schemes)
        }
        self._orders = turns(tuple(schemes), trials.seed)
        self._drawn: list[list[str]] = []

    def __enter__(self) -> Self:
        self._measurement.meters.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._measurement.meters.__exit__(kind, error, trace)

    @property
    def stopping(self) -> StoppingRule:
        """The rule that says when there are enough rounds."""
        return self._measurement.stopping

    def order(self, number: int) -> list[str]:
        """Return the schemes in the order of round ``number``, from 1 on."""
        while len(self._drawn) < number:
            self._drawn.append(next(self._orders))
        return self._drawn[number - 1]

    def round(self, number: int, workloads: tuple[str, ...]) -> None:
        """Measure round ``number``; other numbers may have been measured elsewhere.

        Raises:
            MeasureError, ChangeError, HostError, DomainError: the first failure; what was applied
                then has been reverted.
        """
        for place, name in enumerate(self.order(number), start=1):
            block = (number - 1) * len(self._schemes) + place
            self._measurement.steps.now(f"{name}: applying")
            with self._schemes[name]() as nic:
                self._runs[name].round(nic, workloads, number=number, block=block)

    def samples(self, workload: str) -> list[list[float]]:
        """Return the figures of a workload so far, one list for each scheme."""
        return [run.values(workload) for run in self._runs.values()]

    def end(self) -> None:
        """Report that all is done."""
        self._measurement.steps.end()

    def results(self, *, only: int | None = None, **more: Any) -> tuple[Result, ...]:
        """Return one result for each scheme, of all rounds on this host or of ``only`` one.

        ``more`` is added to their metadata.
        """
        return tuple(run.result(only=only, **more) for run in self._runs.values())


def interleaved(
    schemes: Mapping[str, Apply],
    host: Host,
    vm: TestVM,
    trials: Trials,
    *,
    progress: OnProgress | None = None,
    journal: RunJournal | None = None,
) -> tuple[Result, ...]:
    """Measure several schemes in turns, so that a drift of the machine hits all of them alike.

    There are ``trials.count`` rounds of an `Interleaving`, or as many as
    :class:`~kvmlab.measure.stopping_rule.StoppingRule` says. Returns one result for each scheme, in
    the order of ``schemes``; the first is the one that the others are compared with. ``journal``
    gets every trial as soon as it is done.

    Raises:
        UsageError: there is no scheme.
        MeasureError, ChangeError, HostError, DomainError: the first failure; what was applied
            then has been reverted.
    """
    order: list[str] = []
    with Interleaving(schemes, host, vm, trials, progress=progress, journal=journal) as turn:
        for number in itertools.count(1):
            workloads = turn.stopping.next_workloads(turn.samples)
            if not workloads:
                break
            turn.round(number, workloads)
            order += turn.order(number)
    turn.end()
    return turn.results(order=order, ended=turn.stopping.to_dict())


def turns(names: tuple[str, ...], seed: int) -> Iterator[list[str]]:
    """Yield the order of the schemes in round after round, without an end: seeded, random, fair.

    >>> rounds = turns(("a", "b", "c"), 3)
    >>> next(rounds), next(rounds)
    (['a', 'c', 'b'], ['c', 'b', 'a'])
    """
    generator = random.Random(seed)
    while True:
        yield generator.sample(names, len(names))
