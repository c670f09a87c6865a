"""Measuring one applied scheme, and several in turns."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmlab.errors import UsageError
from kvmlab.measure.counting import Counting
from kvmlab.measure.flagging import flagged
from kvmlab.measure.metadata import About
from kvmlab.measure.settings import Trials
from kvmlab.measure.stopping import Stopping
from kvmlab.measure.tracing import trace_path
from kvmlab.measure.trial import run_trial
from kvmlab.measure.workloads import workload
from kvmlab.results import Journal, Path, Raw, Result, Trial

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host
    from kvmlab.measure.meters import Meters
    from kvmlab.measure.subject import Subject

Apply = Callable[[], AbstractContextManager["Nic"]]
"""Applies a scheme for the length of a ``with`` block, and hands over the VM's interface."""


@dataclass(frozen=True)
class Progress:
    """How far a measurement is: ``done`` of ``total`` steps, and what is being done now."""

    done: int
    total: int
    what: str


OnProgress = Callable[[Progress], None]


class _Steps:
    """Counts the steps of a measurement for whoever wants to see them.

    How many there will be is a guess where the trials go on until they are enough: it grows.
    """

    def __init__(self, trials: Trials, schemes: int, least: int, tell: OnProgress | None) -> None:
        self._done = 0
        applying = least if schemes > 1 else 0
        once = 1 + int(trials.trace_path)
        self._total = schemes * (least * len(trials.workloads) + once + applying)
        self._tell = tell
        self.of = "" if trials.until_percent is not None else f" of {trials.count}"

    def now(self, what: str) -> None:
        """Tell the step that begins; more than were counted on make the whole longer."""
        self._total = max(self._total, self._done + 1)
        if self._tell is not None:
            self._tell(Progress(self._done, self._total, what))
        self._done += 1

    def end(self) -> None:
        """Tell that all is done, also where fewer steps were needed."""
        if self._tell is not None:
            self._tell(Progress(self._total, self._total, "done"))


class _Gathering:
    """What has been measured of one scheme so far."""

    def __init__(
        self,
        host: Host,
        vm: TestVM,
        trials: Trials,
        journal: Journal | None,
        about: About,
        number: int = 0,
    ) -> None:
        self._host, self._vm, self._settings = host, vm, trials.on(host.clock)
        self._about = about
        self._journal, self._number = journal, number
        self._nic: Nic | None = None
        self._meta: dict[str, Any] = {}
        self._trials: list[Trial] = []
        self._raw: list[Raw] = []
        self._path: Path | None = None

    def first_look(self, subject: Subject, proof: dict[str, Any], steps: _Steps) -> None:
        """Once for each scheme: metadata, with the counters' proof, and the path of a packet."""
        nic, threads = subject.nic, subject.threads
        self._nic = nic
        self._meta = {
            "settings": self._settings.to_dict(),
            "nic": nic.to_dict(),
            "host": self._about.host(threads),
            "guest": self._about.guest(nic),
            "self_check": proof,
        }
        if self._settings.trace_path:
            steps.now(f"{nic.label}: following one packet")
            self._path, trace = trace_path(self._host, self._vm, nic, threads)
            self._raw.append(trace)
        if self._journal is not None:
            self._journal.begin(self._number, self.result())

    def round(
        self,
        nic: Nic,
        counting: Counting,
        number: int,
        block: int,
        workloads: Sequence[str],
        steps: _Steps,
    ) -> None:
        """One trial of each workload, after a first look where there was none yet."""
        subject, meters = counting.turn_to(nic)
        if self._nic is None:
            steps.now(f"{nic.label}: proving the counters")
            self.first_look(subject, counting.proof(subject, meters), steps)
        for name in workloads:
            steps.now(f"{nic.label}: {name}, trial {number}{steps.of}")
            self._trial(subject, meters, name, number, block)

    def _trial(self, subject: Subject, meters: Meters, name: str, number: int, block: int) -> None:
        work = workload(name, self._settings, subject.nic.peer_ip)
        trial, raw = run_trial(
            subject, work, self._settings, number=number, block=block, meters=meters
        )
        self._trials.append(trial)
        self._raw.extend(raw)
        if self._journal is not None:
            self._journal.add(self._number, subject.nic.scheme, trial, raw)

    def found(self, name: str) -> list[float]:
        """The figures of a workload so far: those of the metric that its trials name first."""
        return [trial.metrics[0].value for trial in self._trials if trial.workload == name]

    def result(self, **more: Any) -> Result:
        """Everything, as one frozen result; ``more`` is added to its metadata."""
        if self._nic is None:
            raise UsageError("A scheme of which nothing was measured has no result.")
        order = {name: place for place, name in enumerate(self._settings.workloads)}
        return Result(
            scheme=self._nic.scheme,
            label=self._nic.label,
            host=self._host.label,
            clock=self._host.clock,
            emulated=self._host.emulated,
            trials=flagged(sorted(self._trials, key=lambda t: (order[t.workload], t.number))),
            path=self._path,
            meta={**self._meta, **more},
            raw=tuple(self._raw),
        )


def measure(
    host: Host,
    vm: TestVM,
    nic: Nic,
    trials: Trials,
    *,
    progress: OnProgress | None = None,
    journal: Journal | None = None,
) -> Result:
    """Measure the scheme that is applied now: each workload as often as ``trials`` ask for.

    ``journal`` gets every trial as soon as it is done.

    Raises:
        MeasureError: a trial or a meter failed, or a counter cannot be trusted.
        HostError, DomainError: host or VM do not answer.
    """
    stopping = Stopping(trials, host.clock)
    steps = _Steps(trials, 1, stopping.least, progress)
    gathering = _Gathering(host, vm, trials, journal, About(host, vm))
    with Counting(host, vm, full=trials.full_costs) as counting:
        for number in itertools.count(1):
            workloads = stopping.going_on(lambda name: [gathering.found(name)])
            if not workloads:
                break
            gathering.round(nic, counting, number, number, workloads, steps)
    steps.end()
    return gathering.result(ended=stopping.to_dict())


def interleaved(
    schemes: Mapping[str, Apply],
    host: Host,
    vm: TestVM,
    trials: Trials,
    *,
    progress: OnProgress | None = None,
    journal: Journal | None = None,
) -> tuple[Result, ...]:
    """Measure several schemes in turns, so that a drift of the machine hits all of them alike.

    ``schemes`` maps a name for messages to what applies the scheme (``lambda: plan.applied(vm)``).
    Each round applies every scheme once, in an order drawn from ``trials.seed``, and runs each
    workload once; there are ``trials.count`` rounds, or as many as
    :class:`~kvmlab.measure.stopping.Stopping` says. One result for each scheme, in the order
    given; the first is the one that the others are compared with. ``journal`` gets every trial as
    soon as it is done.

    Raises:
        UsageError: there is no scheme.
        MeasureError, ChangeError, HostError, DomainError: the first failure; what was applied
            then has been reverted.
    """
    if not schemes:
        raise UsageError("There is no scheme to measure.", todo="Name at least one.")
    stopping = Stopping(trials, host.clock)
    steps = _Steps(trials, len(schemes), stopping.least, progress)
    about = About(host, vm)
    gathered = {
        name: _Gathering(host, vm, trials, journal, about, place)
        for place, name in enumerate(schemes)
    }
    order: list[str] = []
    with Counting(host, vm, full=trials.full_costs) as counting:
        for number, names in enumerate(turns(tuple(schemes), trials.seed), start=1):
            workloads = stopping.going_on(lambda work: [g.found(work) for g in gathered.values()])
            if not workloads:
                break
            for name in names:
                order.append(name)
                steps.now(f"{name}: applying")
                with schemes[name]() as nic:
                    gathered[name].round(nic, counting, number, len(order), workloads, steps)
    steps.end()
    ended = stopping.to_dict()
    return tuple(one.result(order=order, ended=ended) for one in gathered.values())


def turns(names: tuple[str, ...], seed: int) -> Iterator[list[str]]:
    """The order of the schemes in round after round, without an end: seeded, random, fair.

    >>> [next(turns(("a", "b"), 3)) for _ in range(2)] == [next(turns(("a", "b"), 3))] * 2
    True
    """
    generator = random.Random(seed)
    while True:
        yield generator.sample(names, len(names))
