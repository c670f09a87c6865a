"""Regression gate: whether a run is worse than a baseline by more than is tolerated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from kvmlab.errors import UsageError
from kvmlab.results.comparison import Comparison
from kvmlab.results.run_comparison import RunComparison, SchemeComparison, compare_runs
from kvmlab.results.runs import Run, load_run

GateVerdict = Literal["passed", "failed", "not decided"]


@dataclass(frozen=True)
class GateCheck:
    """One metric of one scheme: the change for the worse in percent, and whether it is too much.

    ``worse_percent`` is positive where the current run is worse; ``at_least`` and ``at_most`` are
    the ends of its 95 % interval. A check fails where the whole interval is beyond the tolerance.
    """

    scheme: str
    label: str
    notebook: str
    comparison: Comparison
    worse_percent: float
    at_least: float
    at_most: float
    verdict: GateVerdict

    @property
    def name(self) -> str:
        """The metric with its workload: ``tcp_up_mbps`` or ``vm_exits_per_packet, tcp_up``."""
        metric, workload = self.comparison.metric, self.comparison.workload
        return f"{metric}, {workload}" if workload else metric

    def __str__(self) -> str:
        """Return one line for people."""
        sense = "worse" if self.worse_percent >= 0 else "better"
        return (
            f"{self.label}: {self.name} is {abs(self.worse_percent):.2g} % {sense} "
            f"(between {self.at_least:+.2g} % and {self.at_most:+.2g} % worse): {self.verdict}"
        )


@dataclass(frozen=True)
class GateReport:
    """The outcome of a gate; ``missing`` names schemes that only the baseline measured."""

    comparison: RunComparison
    tolerance_percent: float
    checks: tuple[GateCheck, ...]
    missing: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[GateCheck, ...]:
        """The checks that failed, the worst first."""
        failures = [check for check in self.checks if check.verdict == "failed"]
        return tuple(sorted(failures, key=lambda check: -check.worse_percent))

    @property
    def passed(self) -> bool:
        """True where no check failed and no scheme is missing."""
        return not self.failed and not self.missing

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {
            "baseline": self.comparison.baseline.name,
            "current": self.comparison.current.name,
            "passed": self.passed,
            "tolerance_percent": self.tolerance_percent,
            "missing": list(self.missing),
            "checks": [
                {
                    "scheme": check.scheme,
                    "notebook": check.notebook,
                    "metric": check.comparison.metric,
                    "workload": check.comparison.workload,
                    "baseline": check.comparison.baseline.median,
                    "current": check.comparison.current.median,
                    "unit": check.comparison.unit,
                    "worse_percent": _rounded(check.worse_percent),
                    "interval_percent": [_rounded(check.at_least), _rounded(check.at_most)],
                    "verdict": check.verdict,
                }
                for check in self.checks
            ],
        }


def judge_runs(
    baseline: Run,
    current: Run,
    *,
    tolerance_percent: float = 5.0,
    metrics: Sequence[str] = ("*",),
    allow_missing: bool = False,
    unfinished: bool = False,
) -> GateReport:
    """Return whether ``current`` is worse than ``baseline`` by more than is tolerated.

    Args:
        baseline: see :func:`kvmlab.find_run`.
        current: the run to judge.
        tolerance_percent: a metric fails where it is worse by more than this with its whole 95 %
            interval, and passes where no part of the interval is; else it is not decided.
        metrics: shell patterns of the metrics that count: ``tcp_*``, ``*_per_packet``.
        allow_missing: schemes of the baseline may be missing from the current run.
        unfinished: take what unfinished runs have.

    Raises:
        UsageError: the tolerance is negative, a pattern fits no metric, or the runs do not compare
            (see :func:`kvmlab.compare_runs`).
        OutputError: a file of a run is damaged.
    """
    if not 0 <= tolerance_percent < float("inf"):
        raise UsageError(
            f"A tolerance of {tolerance_percent} % makes no sense.",
            todo="Use a number of percent from 0 on.",
        )
    comparison = compare_runs(baseline, current, unfinished=unfinished)
    known = dict.fromkeys(verdict.metric for verdict in comparison.verdicts)
    for pattern in metrics:
        if not any(fnmatchcase(metric, pattern) for metric in known):
            raise UsageError(
                f"No metric of the two runs fits {pattern!r}.",
                todo=f"They share {', '.join(known)}.",
            )
    checks = tuple(
        _check(scheme, verdict, tolerance_percent)
        for scheme in comparison.schemes
        for verdict in scheme.verdicts
        if any(fnmatchcase(verdict.metric, pattern) for pattern in metrics)
    )
    before, now = (
        dict.fromkeys(
            part.result.scheme
            for part in load_run(run, unfinished=unfinished)
            if part.result.trials
        )
        for run in (baseline, current)
    )
    missing = () if allow_missing else tuple(scheme for scheme in before if scheme not in now)
    return GateReport(comparison, tolerance_percent, checks, missing)


def _check(scheme: SchemeComparison, one: Comparison, tolerance_percent: float) -> GateCheck:
    sign = -1 if one.better == "higher" else 1
    ends = sorted(sign * (end - 1) * 100 for end in (one.low, one.high))
    worse = sign * (one.ratio - 1) * 100
    verdict: GateVerdict
    if ends[0] > tolerance_percent and one.shown:
        verdict = "failed"
    elif ends[1] <= tolerance_percent:
        verdict = "passed"
    else:
        verdict = "not decided"
    return GateCheck(
        scheme=scheme.scheme,
        label=scheme.label,
        notebook=scheme.notebook,
        comparison=one,
        worse_percent=worse,
        at_least=ends[0],
        at_most=ends[1],
        verdict=verdict,
    )


def _rounded(percent: float) -> float | None:
    return round(percent, 3) if abs(percent) < float("inf") else None
