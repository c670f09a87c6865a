"""What a measurement leaves behind: metrics, costs, trials and results, complete when built."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from kvmlab.clock import Clock
from kvmlab.errors import MeasureError, UsageError
from kvmlab.results.path import Path
from kvmlab.results.statistics import Summary, summarise
from kvmlab.results.units import check_unit

Better = Literal["higher", "lower"]
Per = Literal["packet", "megabyte", "second", "trial"]


@dataclass(frozen=True)
class Metric:
    """One figure of one trial, with its unit and the direction in which it gets better.

    The name ends in its unit: ``tcp_up_mbps`` (Mbit/s, 10^6), ``rtt_p50_us`` (µs),
    ``udp_received_pps`` (packets/s), ``udp_loss_percent`` (%), ``vm_exits_per_packet``.

    Raises:
        UsageError: name and unit disagree.
        MeasureError: the value is not a finite number.
    """

    name: str
    value: float
    unit: str
    better: Better

    def __post_init__(self) -> None:
        check_unit(self.name, self.unit)
        if not math.isfinite(self.value):
            raise MeasureError(f"The metric `{self.name}` has no finite value: {self.value}.")

    def ratio_to(self, other: Metric) -> float:
        """How many times ``other`` this is.

        Raises:
            UsageError: the two are not in one unit.
        """
        if (self.unit, self.better) != (other.unit, other.better):
            raise UsageError(
                f"`{self.name}` ({self.unit}) and `{other.name}` ({other.unit}) do not compare: "
                "their units or their better directions differ."
            )
        return self.value / other.value if other.value else math.inf


@dataclass(frozen=True)
class Window:
    """The stretch of time over which costs and packets of a trial were counted.

    ``packets`` and ``bytes`` are both directions together, read from the interface counters named
    by ``counted_at`` ("p2p2 in namespace peer"). ``seconds`` is in the host's clock.
    """

    seconds: float
    packets: int
    bytes: int
    counted_at: str

    @property
    def megabytes(self) -> float:
        """10^6 bytes."""
        return self.bytes / 1e6


@dataclass(frozen=True)
class Cost:
    """What one trial cost, counted over its whole window.

    ``name`` is one of ``instructions`` (under the virtual clock, of all that ran), ``vm_exits``,
    ``userspace_exits``, ``syscalls``, ``context_switches``, ``cpu_us``, ``softirq_us``,
    ``interrupts``, ``softirqs``, ``steal_us``; ``part`` says of what (an exit reason, the role of
    a thread, an interrupt's name); ``unit`` is what is counted ("exits", "µs", ...). Parts of one
    name add up; costs of different names do not.
    """

    name: str
    part: str
    value: float
    unit: str


@dataclass(frozen=True)
class Condition:
    """What a trial met with on the machine, which may explain it: no cost of the scheme.

    ``name`` is one of ``load_count`` (runnable tasks, mean of a minute), ``emulator_wait_percent``
    (of the time, all threads together), ``others_cpu_percent`` (of one CPU, by programs that are
    not the VM's, as the peer's), ``idle_percent`` (under the virtual clock, of the window),
    ``cpu_frequency_mhz`` (the slowest CPU),
    ``temperature_celsius`` (the hottest zone), ``throttled_count``, ``client_sec`` (of wall time,
    from the client's start to its end); ``where`` says of which machine ("host", "machine
    beneath", "machine that runs kvmlab").
    """

    name: str
    where: str
    value: float
    unit: str


@dataclass(frozen=True)
class Share:
    """What fell to one of several that share a trial's work; no cost, since their sum is.

    ``name`` is ``sent_packets`` or ``queue_interrupts`` (of a queue pair, over the client's whole
    run), ``worker_us`` or ``vcpu_us`` (CPU time of a vhost worker or a
    vCPU, in the window); ``number`` counts the pairs, workers or vCPUs from 0.
    """

    name: str
    number: int
    value: float
    unit: str


@dataclass(frozen=True)
class CostSummary:
    """One cost (or one part of it) over the trials of a workload, per packet, MB, s or trial."""

    name: str
    part: str
    summary: Summary

    @property
    def unit(self) -> str:
        """For example ``exits/packet``."""
        return self.summary.unit


@dataclass(frozen=True)
class Raw:
    """What a tool printed, word for word. ``name`` is the file it is stored under."""

    name: str
    text: str


@dataclass(frozen=True)
class Trial:
    """One run of one workload.

    ``number`` counts from 1 within scheme and workload; ``block`` is the interleaving block it
    belongs to; ``flags`` name what may explain a bad trial ("steal 31 %").
    """

    workload: str
    number: int
    block: int
    metrics: tuple[Metric, ...]
    costs: tuple[Cost, ...]
    window: Window
    started: str = ""  # ISO 8601, UTC, of the machine that ran kvmlab
    flags: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    shares: tuple[Share, ...] = ()

    def cost(self, name: str, part: str | None = None) -> float | None:
        """The cost over the window, all parts together or one; None where it was not counted."""
        values = [
            cost.value
            for cost in self.costs
            if cost.name == name and (part is None or cost.part == part)
        ]
        return math.fsum(values) if values else None

    @cached_property
    def cost_metrics(self) -> tuple[Metric, ...]:
        """Each cost per packet and per megabyte (10^6 bytes on the wire)."""
        units = {cost.name: cost.unit for cost in self.costs}
        found: list[Metric] = []
        for name, unit in units.items():
            total = self.cost(name) or 0.0
            if self.window.packets:
                value = total / self.window.packets
                found.append(Metric(f"{name}_per_packet", value, f"{unit}/packet", "lower"))
            if self.window.bytes:
                value = total / self.window.megabytes
                found.append(Metric(f"{name}_per_mb", value, f"{unit}/MB", "lower"))
        return tuple(found)

    def every_metric(self) -> Iterator[Metric]:
        """What was measured, then what it cost per packet and per megabyte."""
        yield from self.metrics
        yield from self.cost_metrics


@dataclass(frozen=True)
class Result:
    """The trials of one scheme on one host.

    ``emulated`` is None on real hardware, otherwise the sentence that every plot has to show.
    ``meta`` holds plain JSON values: kernel, tool versions, sysctls, settings, self-check.
    """

    scheme: str
    label: str
    host: str
    clock: Clock
    emulated: str | None
    trials: tuple[Trial, ...]
    path: Path | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    raw: tuple[Raw, ...] = ()

    @property
    def workloads(self) -> tuple[str, ...]:
        """The workloads that were run, in their order."""
        return tuple(dict.fromkeys(trial.workload for trial in self.trials))

    def of(self, workload: str) -> tuple[Trial, ...]:
        """The trials of one workload.

        Raises:
            UsageError: that workload was not run.
        """
        found = tuple(trial for trial in self.trials if trial.workload == workload)
        if not found:
            raise UsageError(
                f"The result of {self.label} has no workload `{workload}`.",
                todo=f"It has: {', '.join(self.workloads) or 'none'}.",
            )
        return found

    def metrics(self, metric: str, workload: str | None = None) -> tuple[Metric, ...]:
        """That metric in every trial that has it. Cost metrics need ``workload`` as well.

        Raises:
            UsageError: no trial has it, or trials of several workloads do and none was named.
        """
        found = {
            name: tuple(m for t in self.of(name) for m in t.every_metric() if m.name == metric)
            for name in ((workload,) if workload else self.workloads)
        }
        found = {name: metrics for name, metrics in found.items() if metrics}
        if not found:
            known = dict.fromkeys(m.name for t in self.trials for m in t.every_metric())
            raise UsageError(
                f"The result of {self.label} has no metric `{metric}`"
                f"{f' in the workload `{workload}`' if workload else ''}.",
                todo=f"It has: {', '.join(known) or 'none'}.",
            )
        if len(found) > 1:
            raise UsageError(
                f"The metric `{metric}` was measured in several workloads: {', '.join(found)}.",
                todo="Name one of them as `workload`.",
            )
        return next(iter(found.values()))

    def summary(self, metric: str, workload: str | None = None) -> Summary:
        """Median and 95 % interval of a metric over the trials.

        Raises:
            UsageError: see :meth:`metrics`.
        """
        metrics = self.metrics(metric, workload)
        return summarise((m.value for m in metrics), name=metric, unit=metrics[0].unit)

    def costs(
        self, workload: str, *, per: Per = "packet", name: str | None = None, parts: bool = True
    ) -> tuple[CostSummary, ...]:
        """The costs of one workload, each part (or each name) with median and interval.

        A part that a trial did not see counts as zero there. The costliest part of a name first.

        Raises:
            UsageError: that workload was not run.
        """
        trials = [trial for trial in self.of(workload) if _divisor(trial, per)]
        keys = dict.fromkeys(
            (cost.name, cost.part if parts else "", cost.unit)
            for trial in trials
            for cost in trial.costs
            if name is None or cost.name == name
        )
        found = [
            CostSummary(
                key,
                part,
                summarise(
                    (
                        (t.cost(key, part if parts else None) or 0.0) / _divisor(t, per)
                        for t in trials
                    ),
                    name=key,
                    unit=f"{unit}{_PER[per]}",
                ),
            )
            for key, part, unit in keys
        ]
        order = list(dict.fromkeys(item.name for item in found))
        return tuple(sorted(found, key=lambda c: (order.index(c.name), -c.summary.median)))


_PER = {"packet": "/packet", "megabyte": "/MB", "second": "/s", "trial": ""}


def _divisor(trial: Trial, per: Per) -> float:
    if per == "packet":
        return trial.window.packets
    if per == "megabyte":
        return trial.window.megabytes
    return trial.window.seconds if per == "second" else 1.0
