"""History of a metric over runs, with the points where its level changed."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kvmlab.clock import Clock
from kvmlab.errors import KvmlabError, UsageError
from kvmlab.results.runs import Run, load_run
from kvmlab.results.statistics import Summary

_LEAST_RUNS: Final = 4
_PENALTY: Final = 3.0
"""Times σ² · log(n): the usual choice of a BIC-like penalty for changes in the mean."""
_MAD_TO_SIGMA: Final = 1.4826


@dataclass(frozen=True)
class HistoryPoint:
    """One run's median of a metric, with its 95 % interval."""

    run: str
    started: str
    summary: Summary


@dataclass(frozen=True)
class History:
    """A metric of one scheme over runs, oldest first; ``changes`` index the first new points."""

    scheme: str
    label: str
    metric: str
    workload: str | None
    unit: str
    clock: Clock
    points: tuple[HistoryPoint, ...]
    changes: tuple[int, ...]

    @property
    def levels(self) -> tuple[tuple[int, int, float], ...]:
        """The stretches between changes: first index, index after the last, median level."""
        edges = [0, *self.changes, len(self.points)]
        return tuple(
            (first, end, statistics.median(p.summary.median for p in self.points[first:end]))
            for first, end in itertools.pairwise(edges)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the history as JSON values."""
        return {
            "scheme": self.scheme,
            "metric": self.metric,
            "workload": self.workload,
            "unit": self.unit,
            "clock": self.clock.value,
            "points": [
                {
                    "run": point.run,
                    "started": point.started,
                    "median": point.summary.median,
                    "low": point.summary.low,
                    "high": point.summary.high,
                    "trials": point.summary.count,
                }
                for point in self.points
            ],
            "changes": [self.points[index].run for index in self.changes],
        }


def history_of(
    runs: Sequence[Run], metric: str, *, scheme: str = "", workload: str | None = None
) -> tuple[History, ...]:
    """Return the history of a metric, one for each scheme (or for ``scheme``) and clock.

    Runs that lack the metric, or cannot be read, have no point. A cost needs ``workload``.

    Raises:
        UsageError: there is no run, or none has the metric.
    """
    if not runs:
        raise UsageError(
            "There is no finished run, so no metric has a history.",
            todo="`kvmlab run` makes one; `kvmlab runs` lists what there is, also unfinished ones.",
        )
    series: dict[tuple[str, Clock], list[tuple[HistoryPoint, str, str]]] = {}
    for run in runs:
        try:
            parts = load_run(run)
        except KvmlabError:
            continue
        for part in parts:
            result = part.result
            if scheme and result.scheme != scheme:
                continue
            try:
                summary = result.summary(metric, workload)
                unit = result.metrics(metric, workload)[0].unit
            except UsageError:
                continue
            points = series.setdefault((result.scheme, result.clock), [])
            if not points or points[-1][0].run != run.name:
                points.append((HistoryPoint(run.name, run.started, summary), unit, result.label))
    if not series:
        where = f" of the scheme {scheme}" if scheme else ""
        hint = " A cost needs --workload." if workload is None else ""
        raise UsageError(
            f"None of the {len(runs)} runs has the metric {metric!r}{where}.{hint}",
            todo="`kvmlab runs` lists runs and schemes; data.csv of a run has its metrics.",
        )
    return tuple(
        History(
            scheme=name,
            label=points[-1][2],
            metric=metric,
            workload=workload,
            unit=points[-1][1],
            clock=clock,
            points=tuple(point for point, _, _ in points),
            changes=change_points([point.summary.median for point, _, _ in points]),
        )
        for (name, clock), points in series.items()
    )


def change_points(values: Sequence[float]) -> tuple[int, ...]:
    """Return the indices at which the level of a series changes: first points of a new level.

    PELT (Killick, Fearnhead and Eckley 2012) on changes in the mean, as ``ruptures`` has it. The
    noise is estimated from differences of neighbours, so a step does not count as noise.

    >>> change_points([100, 101, 99, 100, 80, 81, 79, 80])
    (4,)
    >>> change_points([100, 101, 99, 100])
    ()
    """
    import ruptures

    if len(values) < _LEAST_RUNS:
        return ()
    series = np.asarray(values, dtype=float)
    steps = np.diff(series)
    sigma = float(_MAD_TO_SIGMA * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))
    # Rounded figures may repeat exactly; a thousandth of the level is the least that counts.
    sigma = max(sigma, abs(float(np.median(series))) * 1e-3, 1e-12)
    signal = (series / sigma).reshape(-1, 1)
    penalty = _PENALTY * float(np.log(len(values)))
    ends = ruptures.Pelt(model="l2", min_size=2, jump=1).fit(signal).predict(pen=penalty)
    return tuple(int(end) for end in ends[:-1])
