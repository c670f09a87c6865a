"""One result against another: an object with a ratio, its interval and a verdict."""

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
    """``current`` against ``baseline`` in one metric.

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

    @property
    def shown(self) -> bool:
        """Does the interval exclude 1?"""
        return self.low > 1 or self.high < 1

    @property
    def verdict(self) -> Verdict:
        """Better, worse or no difference shown, in the sense of the metric."""
        if not self.shown:
            return "no difference shown"
        return "better" if (self.low > 1) == (self.better == "higher") else "worse"

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.metric}: {self.current_label} {self.current.median:.4g} against "
            f"{self.baseline_label} {self.baseline.median:.4g} {self.unit}, "
            f"ratio {self.ratio:.3g} [{self.low:.3g} … {self.high:.3g}]: {self.verdict}"
        )


def require_one_clock(results: Sequence[Result]) -> Clock:
    """The clock that all results share.

    Raises:
        UsageError: there is no result, or their clocks differ.
    """
    clocks = {result.clock for result in results}
    if len(clocks) == 1:
        return clocks.pop()
    if not clocks:
        raise UsageError("There is no result to compare.")
    told = "; ".join(f"{result.label}: {result.clock.value} time" for result in results)
    raise UsageError(
        f"Results of different clocks do not compare ({told}).",
        todo="Measure both under the same clock.",
    )


def named_by_host(results: Sequence[Result]) -> list[str]:
    """What results are called beside each other: their labels, with hosts where there are several.

    >>> named_by_host([])
    []
    """
    several = len({result.host for result in results}) > 1
    return [f"{result.label}, on {result.host}" if several else result.label for result in results]


def compare(
    baseline: Result, current: Result, metric: str, workload: str | None = None
) -> Comparison:
    """Compare two results in one metric. Cost metrics need the ``workload`` as well.

    Raises:
        UsageError: the clocks, the units or the metrics of the two do not fit.
    """
    clock = require_one_clock((baseline, current))
    below, above = baseline.metrics(metric, workload), current.metrics(metric, workload)
    kinds = {(m.unit, m.better) for m in (*below, *above)}
    if len(kinds) != 1:
        units = ", ".join(sorted(unit for unit, _ in kinds))
        raise UsageError(f"The metric `{metric}` comes in unlike units: {units}.")
    unit, better = kinds.pop()
    labels = named_by_host((baseline, current))
    first, second = baseline.summary(metric, workload), current.summary(metric, workload)
    low, high = ratio_interval(list(first.values), list(second.values))
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
    )
