"""Measuring one applied scheme, and several in turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kvmlab.errors import UsageError
from kvmlab.measure.metadata import guest_metadata, host_metadata
from kvmlab.measure.selfcheck import self_check
from kvmlab.measure.settings import Trials
from kvmlab.measure.subject import Subject
from kvmlab.measure.tracing import trace_path
from kvmlab.measure.trial import run_trial
from kvmlab.measure.workloads import workload
from kvmlab.results import Journal, Path, Raw, Result, Trial

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM, VmThreads
    from kvmlab.hosts import Host

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
    """Counts the steps of a measurement for whoever wants to see them."""

    def __init__(self, total: int, tell: OnProgress | None) -> None:
        self._done = 0
        self._total = total
        self._tell = tell

    def now(self, what: str) -> None:
        if self._tell is not None:
            self._tell(Progress(self._done, self._total, what))
        self._done += 1

    def end(self) -> None:
        if self._tell is not None:
            self._tell(Progress(self._total, self._total, "done"))


class _Gathering:
    """What has been measured of one scheme so far."""

    def __init__(
        self, host: Host, vm: TestVM, trials: Trials, journal: Journal | None, number: int = 0
    ) -> None:
        self._host, self._vm, self._settings = host, vm, trials.on(host.clock)
        self._journal, self._number = journal, number
        self._nic: Nic | None = None
        self._meta: dict[str, Any] = {}
        self._trials: list[Trial] = []
        self._raw: list[Raw] = []
        self._path: Path | None = None

    def first_look(self, nic: Nic, threads: VmThreads, steps: _Steps) -> None:
        """Once for each scheme: metadata, the counters' proof, the path of a packet."""
        self._nic = nic
        steps.now(f"{nic.label}: proving the counters")
        self._meta = {
            "settings": self._settings.to_dict(),
            "nic": nic.to_dict(),
            "host": host_metadata(self._host, threads),
            "guest": guest_metadata(self._host, self._vm, nic),
            "self_check": self_check(Subject(self._host, self._vm, nic, threads)),
        }
        if self._settings.trace_path:
            steps.now(f"{nic.label}: following one packet")
            self._path, trace = trace_path(self._host, self._vm, nic, threads)
            self._raw.append(trace)
        if self._journal is not None:
            self._journal.begin(self._number, self.result())

    def round(self, nic: Nic, number: int, block: int, steps: _Steps) -> None:
        """One trial of every workload, after a first look where there was none yet."""
        threads = self._vm.threads()
        if self._nic is None:
            self.first_look(nic, threads, steps)
        subject = Subject(self._host, self._vm, nic, threads)
        for name in self._settings.workloads:
            steps.now(f"{nic.label}: {name}, trial {number} of {self._settings.count}")
            work = workload(name, self._settings, nic.peer_ip, self._host.clock)
            trial, raw = run_trial(subject, work, self._settings, number=number, block=block)
            self._trials.append(trial)
            self._raw.extend(raw)
            if self._journal is not None:
                self._journal.add(self._number, nic.scheme, trial, raw)

    def result(self) -> Result:
        """Everything, as one frozen result."""
        if self._nic is None:
            raise UsageError("A scheme of which nothing was measured has no result.")
        order = {name: place for place, name in enumerate(self._settings.workloads)}
        return Result(
            scheme=self._nic.scheme,
            label=self._nic.label,
            host=self._host.label,
            clock=self._host.clock,
            emulated=self._host.emulated,
            trials=tuple(sorted(self._trials, key=lambda t: (order[t.workload], t.number))),
            path=self._path,
            meta=self._meta,
            raw=tuple(self._raw),
        )


def _steps_of_one(trials: Trials) -> int:
    return trials.count * len(trials.workloads) + 1 + int(trials.trace_path)


def measure(
    host: Host,
    vm: TestVM,
    nic: Nic,
    trials: Trials,
    *,
    progress: OnProgress | None = None,
    journal: Journal | None = None,
) -> Result:
    """Measure the scheme that is applied now, ``trials.count`` times each workload.

    ``journal`` gets every trial as soon as it is done.

    Raises:
        MeasureError: a trial or a meter failed, or a counter cannot be trusted.
        HostError, DomainError: host or VM do not answer.
    """
    steps = _Steps(_steps_of_one(trials), progress)
    gathering = _Gathering(host, vm, trials, journal)
    for number in range(1, trials.count + 1):
        gathering.round(nic, number, number, steps)
    steps.end()
    return gathering.result()


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
    workload once; there are ``trials.count`` rounds. One result for each scheme, in the order
    given. ``journal`` gets every trial as soon as it is done.

    Raises:
        UsageError: there is no scheme.
        MeasureError, ChangeError, HostError, DomainError: the first failure; what was applied
            then has been reverted.
    """
    if not schemes:
        raise UsageError("There is no scheme to measure.", todo="Name at least one.")
    steps = _Steps(len(schemes) * (_steps_of_one(trials) + trials.count), progress)
    gathered = {
        name: _Gathering(host, vm, trials, journal, place) for place, name in enumerate(schemes)
    }
    for block, (number, name) in enumerate(turns(tuple(schemes), trials), start=1):
        steps.now(f"{name}: applying")
        with schemes[name]() as nic:
            gathered[name].round(nic, number, block, steps)
    steps.end()
    order = [name for _, name in turns(tuple(schemes), trials)]
    return tuple(_with_order(item.result(), order) for item in gathered.values())


def turns(names: tuple[str, ...], trials: Trials) -> list[tuple[int, str]]:
    """Round and scheme of each block: every scheme once a round, in a seeded random order.

    >>> turns(("a", "b"), Trials(count=2, seed=3)) == turns(("a", "b"), Trials(count=2, seed=3))
    True
    """
    generator = random.Random(trials.seed)
    return [
        (number, name)
        for number in range(1, trials.count + 1)
        for name in generator.sample(names, len(names))
    ]


def _with_order(result: Result, order: list[str]) -> Result:
    return replace(result, meta={**result.meta, "order": order})
