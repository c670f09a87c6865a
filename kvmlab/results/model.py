"""Frozen results of a measurement: metrics, costs, trials, and the result of one scheme."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from kvmlab.clock import Clock
from kvmlab.errors import MeasureError, UsageError
from kvmlab.results.path import Path
from kvmlab.results.statistics import Summary, summarise
from kvmlab.results.units import check_unit

Better = Literal["higher", "lower"]
Per = Literal["packet", "megabyte", "second", "trial"]
#: Means and variances of a metric stay finite below it.
_LARGEST: Final = 1e150


@dataclass(frozen=True)
class Metric:
    """One figure of one trial, with its unit and whether higher or lower is better.

    The name ends in its unit: ``tcp_up_mbps`` (Mbit/s, 10^6), ``rtt_p50_us`` (µs),
    ``udp_received_pps`` (packets/s), ``udp_loss_percent`` (%), ``vm_exits_per_packet``.

    Raises:
        UsageError: name and unit disagree.
        MeasureError: the value is no finite number, or beyond ±10^150, which nothing has.
    """

    name: str
    value: float
    unit: str
    better: Better

    def __post_init__(self) -> None:
        check_unit(self.name, self.unit)
        if not abs(self.value) < _LARGEST:
            raise MeasureError(f"The metric `{self.name}` has no finite value: {self.value}.")

    def ratio_to(self, other: Metric) -> float:
        """Return this value divided by that of ``other``.

        Raises:
            UsageError: the units differ.
        """
        if (self.unit, self.better) != (other.unit, other.better):
            raise UsageError(
                f"`{self.name}` ({self.unit}) and `{other.name}` ({other.unit}) "
                "cannot be compared: their units or their better directions differ."
            )
        return self.value / other.value if other.value else math.inf


@dataclass(frozen=True)
class Window:
    """Interval over which the costs and packets of a trial were counted.

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
    """One cost of one trial, counted over its whole window.

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
    """State of a machine during a trial, which may explain its figures; no cost of the scheme.

    ``name`` is one of ``load_count`` (runnable tasks, mean of a minute), ``emulator_wait_percent``
    (of the time, all threads together), ``others_cpu_percent`` (of one CPU, by programs that are
    not the VM's, as the peer's), ``idle_percent`` (of all CPUs' time),
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
    """Part of a trial's work done by one queue pair, vhost worker or vCPU; their sum is the cost.

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
    """One cost, or one part of it, over the trials of a workload: per packet, MB, s or trial."""

    name: str
    part: str
    summary: Summary

    @property
    def unit(self) -> str:
        """For example ``exits/packet``."""
        return self.summary.unit


@dataclass(frozen=True)
class Raw:
    """Unchanged output of a tool. ``name`` is the file it is stored under."""

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

    def cost(self, name: str, *parts: str) -> float | None:
        """Return a cost over the window, of some parts or of all; None where none was counted."""
        values = [
            cost.value
            for cost in self.costs
            if cost.name == name and (not parts or cost.part in parts)
        ]
        return math.fsum(values) if values else None

    @cached_property
    def cost_metrics(self) -> tuple[Metric, ...]:
        """Each cost per packet and per megabyte (10^6 bytes on the wire)."""
        return tuple(self._per_traffic(()))

    def part_metrics(self, parts: Sequence[str]) -> tuple[Metric, ...]:
        """Return the costs of some parts alone, per packet and per megabyte; 0 without them."""
        return tuple(self._per_traffic(parts))

    def _per_traffic(self, parts: Sequence[str]) -> Iterator[Metric]:
        units = {cost.name: cost.unit for cost in self.costs}
        for name, unit in units.items():
            total = self.cost(name, *parts) or 0.0
            if self.window.packets:
                value = total / self.window.packets
                yield Metric(f"{name}_per_packet", value, f"{unit}/packet", "lower")
            if self.window.bytes:
                value = total / self.window.megabytes
                yield Metric(f"{name}_per_mb", value, f"{unit}/MB", "lower")

    def every_metric(self) -> Iterator[Metric]:
        """Yield the measured metrics, then the costs per packet and per megabyte."""
        yield from self.metrics
        yield from self.cost_metrics


@dataclass(frozen=True)
class Result:
    """Trials of one scheme on one host.

    ``emulated`` is None on real hardware, otherwise a sentence about the emulation.
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
    def missing_costs(self) -> Mapping[str, str]:
        """The costs that the host's kernel would not let us count, by name, with its reason."""
        return dict(self.meta.get("missing_costs", {}))

    @property
    def workloads(self) -> tuple[str, ...]:
        """The workloads that were run, in their order."""
        return tuple(dict.fromkeys(trial.workload for trial in self.trials))

    def of(self, workload: str) -> tuple[Trial, ...]:
        """Return the trials of one workload.

        Raises:
            UsageError: that workload was not run.
        """
        trials = tuple(trial for trial in self.trials if trial.workload == workload)
        if not trials:
            raise UsageError(
                f"The result of {self.label} has no workload `{workload}`.",
                todo=f"It has: {', '.join(self.workloads) or 'none'}.",
            )
        return trials

    def has(self, metric: str, workload: str | None = None) -> bool:
        """Return whether a trial (of ``workload``, or of any) has that metric."""
        return any(
            each.name == metric
            for trial in self.trials
            if workload is None or trial.workload == workload
            for each in trial.every_metric()
        )

    def metric_names(self, workload: str, costs: Collection[str]) -> list[str]:
        """Return the metrics measured in a workload, then those of ``costs`` counted in it.

        Raises:
            UsageError: that workload was not run.
        """
        trials = self.of(workload)
        measured = dict.fromkeys(metric.name for trial in trials for metric in trial.metrics)
        counted = {metric.name for trial in trials for metric in trial.cost_metrics}
        return [*measured, *(name for name in costs if name in counted)]

    def metrics(
        self, metric: str, workload: str | None = None, parts: Sequence[str] = ()
    ) -> tuple[Metric, ...]:
        """Return one metric of every trial that has it. Cost metrics need ``workload`` as well.

        ``parts`` takes some parts of a cost alone, such as the exit reason ``npf``; the value is 0
        in a trial that has the cost but none of these.

        Raises:
            UsageError: no trial has it, or trials of several workloads do and none was named.
        """
        by_workload = {
            name: tuple(
                m
                for t in self.of(name)
                for m in (t.part_metrics(parts) if parts else t.every_metric())
                if m.name == metric
            )
            for name in ((workload,) if workload else self.workloads)
        }
        by_workload = {name: metrics for name, metrics in by_workload.items() if metrics}
        if not by_workload:
            known = dict.fromkeys(m.name for t in self.trials for m in t.every_metric())
            cost = metric.removesuffix("_per_packet").removesuffix("_per_mb")
            reason = self.missing_costs.get(cost)
            raise UsageError(
                f"The result of {self.label} has no metric `{metric}`"
                f"{f' in the workload `{workload}`' if workload else ''}"
                f"{f': it could not be counted there ({reason})' if reason else ''}.",
                todo=f"It has: {', '.join(known) or 'none'}.",
            )
        if len(by_workload) > 1:
            raise UsageError(
                f"The metric `{metric}` was measured in several workloads: "
                f"{', '.join(by_workload)}.",
                todo="Name one of them as `workload`.",
            )
        return next(iter(by_workload.values()))

    def summary(
        self, metric: str, workload: str | None = None, parts: Sequence[str] = ()
    ) -> Summary:
        """Return median and 95 % interval of a metric over the trials.

        Raises:
            UsageError: see :meth:`metrics`.
        """
        metrics = self.metrics(metric, workload, parts)
        return summarise((m.value for m in metrics), name=metric, unit=metrics[0].unit)

    def costs(
        self, workload: str, *, per: Per = "packet", name: str | None = None, parts: bool = True
    ) -> tuple[CostSummary, ...]:
        """Return the costs of one workload, each part (or each name) with median and interval.

        A part that is missing in a trial counts as zero there. The largest part of a name is first.

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
        summaries = [
            CostSummary(
                key,
                part,
                summarise(
                    (
                        (t.cost(key, *((part,) if parts else ())) or 0.0) / _divisor(t, per)
                        for t in trials
                    ),
                    name=key,
                    unit=f"{unit}{_PER[per]}",
                ),
            )
            for key, part, unit in keys
        ]
        order = list(dict.fromkeys(item.name for item in summaries))
        return tuple(sorted(summaries, key=lambda c: (order.index(c.name), -c.summary.median)))


_PER = {"packet": "/packet", "megabyte": "/MB", "second": "/s", "trial": ""}


def _divisor(trial: Trial, per: Per) -> float:
    if per == "packet":
        return trial.window.packets
    if per == "megabyte":
        return trial.window.megabytes
    return trial.window.seconds if per == "second" else 1.0
