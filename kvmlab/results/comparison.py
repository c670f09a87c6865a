"""Comparison of two results in one metric: ratio, interval, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.results.model import Better, Result
from kvmlab.results.statistics import Summary, ratio_interval, ratio_of

Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Comparison:
    """``current`` against ``baseline`` in one metric, or in one ``part`` of a cost.

    ``ratio`` is current / baseline (medians); ``low`` … ``high`` is its 95 % interval. A
    difference is claimed only where the interval excludes 1.
    """

    metric: str
    workload: str | None
    unit: str
    better: Better
    baseline_label: str
    current_label: str
    baseline: Summary
    current: Summary
    ratio: float
    low: float
    high: float
    clock: Clock
    part: str = ""

    @property
    def shown(self) -> bool:
        """True where the interval excludes 1."""
        return self.low > 1 or self.high < 1

    @property
    def verdict(self) -> Verdict:
        """Verdict for ``current``, in the better direction of the metric."""
        if not self.shown:
            return "no difference shown"
        return "better" if (self.low > 1) == (self.better == "higher") else "worse"

    def __str__(self) -> str:
        """Return one line for people."""
        part = f" ({self.part})" if self.part else ""
        return (
            f"{self.metric}{part}: {self.current_label} {self.current.median:.4g} against "
            f"{self.baseline_label} {self.baseline.median:.4g} {self.unit}, "
            f"ratio {self.ratio:.3g}{self._interval()}: {self.verdict}"
        )

    def _interval(self) -> str:
        if min(self.baseline.count, self.current.count) < 2:
            return ""
        return f" [{self.low:.3g} … {self.high:.3g}]"


def require_one_clock(results: Sequence[Result]) -> Clock:
    """Return the clock that all results share.

    Raises:
        UsageError: there is no result, or their clocks differ.
    """
    clocks = {result.clock for result in results}
    if len(clocks) == 1:
        return clocks.pop()
    if not clocks:
        raise UsageError("There is no result to compare.")
    clock_list = "; ".join(f"{result.label}: {result.clock.value} time" for result in results)
    raise UsageError(
        f"Results of different clocks do not compare ({clock_list}).",
        todo="Measure both under the same clock.",
    )


def distinct_labels(results: Sequence[Result]) -> list[str]:
    """Return the labels of results shown together, with their hosts where there are several."""
    several = len({result.host for result in results}) > 1
    return [f"{result.label}, on {result.host}" if several else result.label for result in results]


def compare(
    baseline: Result,
    current: Result,
    metric: str,
    workload: str | None = None,
    *,
    parts: Sequence[str] = (),
    among: Sequence[Result] = (),
) -> Comparison:
    """Compare two results in one metric. Cost metrics need the ``workload`` as well.

    ``parts`` compares some parts of a cost alone, such as the VM exits of reason ``npf``. ``among``
    are the results of the same measurement (all that `lab.compare` returned): the spread of the
    trials is then estimated from all of them, where their spreads agree.

    Raises:
        UsageError: clocks or units differ, or a result does not have the metric.
    """
    clock = require_one_clock((baseline, current))
    below, above = (r.metrics(metric, workload, parts) for r in (baseline, current))
    kinds = {(m.unit, m.better) for m in (*below, *above)}
    if len(kinds) != 1:
        units = ", ".join(sorted(unit for unit, _ in kinds))
        raise UsageError(f"The metric `{metric}` has different units: {units}.")
    unit, better = kinds.pop()
    labels = distinct_labels((baseline, current))
    first, second = (r.summary(metric, workload, parts) for r in (baseline, current))
    if parts and not any((*first.values, *second.values)):
        listing = ", ".join(f"`{part}`" for part in parts)
        raise UsageError(f"Neither result has a part {listing} of the metric `{metric}`.")
    others = [
        result.summary(metric, workload, parts).values
        for result in among
        if result is not baseline and result is not current and result.has(metric, workload)
    ]
    low, high = ratio_interval(first.values, second.values, others)
    return Comparison(
        metric=metric,
        workload=workload,
        unit=unit,
        better=better,
        baseline_label=labels[0],
        current_label=labels[1],
        baseline=first,
        current=second,
        ratio=ratio_of(first.median, second.median),
        low=low,
        high=high,
        clock=clock,
        part=", ".join(part for part in parts if _has_part((baseline, current), part)),
    )


def _has_part(results: Sequence[Result], part: str) -> bool:
    costs = (cost for result in results for trial in result.trials for cost in trial.costs)
    return any(cost.part == part for cost in costs)
