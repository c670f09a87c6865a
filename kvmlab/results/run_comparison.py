"""Comparison of two runs: every scheme that both measured, in every metric that both have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kvmlab.errors import UsageError
from kvmlab.results.comparison import Comparison, compare, require_one_clock
from kvmlab.results.model import Result
from kvmlab.results.runs import Part, Run, load_run
from kvmlab.results.statistics import CONFIDENCE
from kvmlab.serialization import to_json

COSTS = tuple(
    f"{name}_per_packet"
    for name in ("vm_exits", "userspace_exits", "context_switches", "cpu_us", "softirq_us")
)
"""Costs that get a verdict; the tidy tables of the runs have all of them."""


@dataclass(frozen=True)
class SchemeComparison:
    """One scheme in two runs; the labels of the results are the names of the runs."""

    scheme: str
    label: str
    notebook: str
    baseline: Result
    current: Result
    verdicts: tuple[Comparison, ...]


@dataclass(frozen=True)
class RunComparison:
    """Two runs, scheme by scheme; ``notes`` say how to read the verdicts."""

    baseline: Run
    current: Run
    schemes: tuple[SchemeComparison, ...]
    notes: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[Comparison, ...]:
        """All verdicts, scheme by scheme."""
        return tuple(verdict for scheme in self.schemes for verdict in scheme.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON values; an infinite end of an interval is None."""
        return {
            "baseline": to_json(self.baseline),
            "current": to_json(self.current),
            "notes": list(self.notes),
            "schemes": [
                {
                    "scheme": each.scheme,
                    "label": each.label,
                    "notebook": each.notebook,
                    "clock": each.current.clock.value,
                    "hosts": [each.baseline.host, each.current.host],
                    "verdicts": [_plain(verdict) for verdict in each.verdicts],
                }
                for each in self.schemes
            ],
        }


def compare_runs(first: Run, second: Run, *, unfinished: bool = False) -> RunComparison:
    """Compare two runs; ``first`` is the baseline. See :func:`kvmlab.results.find_run`.

    Schemes are matched within notebooks of the same name; failing that, schemes that each run
    measured once.

    Raises:
        UsageError: the runs share no scheme that can be compared, their clocks differ, or one is
            not finished and ``unfinished`` is False.
        OutputError: a file of a run is damaged.
    """
    below, above = (load_run(run, unfinished=unfinished) for run in (first, second))
    pairs = list(_pairs(_measured(below), _measured(above)))
    if not pairs:
        raise UsageError(
            f"The runs {first.name} and {second.name} have no scheme in common: "
            f"{first.name} has {_schemes(below)}; {second.name} has {_schemes(above)}.",
            todo=(
                "Compare runs that measured the same scheme. For one that a run measured several "
                "times, name the folder of its notebook: RUN/results/NOTEBOOK/TIME."
            ),
        )
    schemes = tuple(_compared(first, second, old, new) for old, new in pairs)
    return RunComparison(first, second, schemes, tuple(_notes(first, second, schemes)))


def _measured(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part.result.trials]


def _pairs(below: Sequence[Part], above: Sequence[Part]) -> Iterator[tuple[Part, Part]]:
    for keys in (lambda p: (p.notebook, p.result.scheme), lambda p: ("", p.result.scheme)):
        pairs = [
            (old[0], new[0])
            for key in dict.fromkeys(keys(part) for part in below)
            if len(old := [part for part in below if keys(part) == key]) == 1
            and len(new := [part for part in above if keys(part) == key]) == 1
        ]
        if pairs:
            yield from pairs
            return


def _compared(first: Run, second: Run, old: Part, new: Part) -> SchemeComparison:
    require_one_clock((_named(old.result, first), _named(new.result, second)))
    below, above = (
        replace(part.result, label=run.name) for part, run in ((old, first), (new, second))
    )
    verdicts = tuple(
        compare(below, above, metric, workload) for metric, workload in _shared(below, above)
    )
    if not verdicts:
        raise UsageError(
            f"The scheme {old.result.label} has no metric that both runs measured.",
            todo=f"{first.name} ran {', '.join(below.workloads)}; "
            f"{second.name} ran {', '.join(above.workloads)}.",
        )
    return SchemeComparison(
        scheme=old.result.scheme,
        label=old.result.label,
        notebook=new.notebook if old.notebook == new.notebook else "",
        baseline=below,
        current=above,
        verdicts=verdicts,
    )


def _named(result: Result, run: Run) -> Result:
    return replace(result, label=f"{result.label} in {run.name}")


def _shared(below: Result, above: Result) -> Iterator[tuple[str, str]]:
    for workload in below.workloads:
        if workload in above.workloads:
            names = above.metric_names(workload, COSTS)
            yield from (
                (name, workload) for name in below.metric_names(workload, COSTS) if name in names
            )


def _schemes(parts: Sequence[Part]) -> str:
    return ", ".join(dict.fromkeys(part.result.scheme for part in _measured(parts))) or "none"


def _notes(first: Run, second: Run, schemes: Sequence[SchemeComparison]) -> Iterator[str]:
    yield (
        "The two runs were not interleaved: whatever else changed between them (the machine, its "
        "load) is part of the ratio. Within one run the schemes alternate."
    )
    count = sum(len(one.verdicts) for one in schemes)
    by_chance = count * (1 - CONFIDENCE)
    yield (
        f"{count} verdicts at {CONFIDENCE:.0%} confidence each: for two equal runs about "
        f"{by_chance:.0f} would claim a difference by chance."
    )
    for run in (first, second):
        if run.status != "finished":
            yield f"The run {run.name} is not finished: {run.detail}"
    single = [each.label for each in schemes if _least(each) < 2]
    if single:
        names = ", ".join(single)
        yield f"A single trial has no interval, so nothing is claimed: {names}."
    if any(each.baseline.host != each.current.host for each in schemes):
        yield "The runs are of different hosts: a verdict is about the hosts, not about a change."


def _least(scheme: SchemeComparison) -> int:
    """Return the smallest number of trials behind a verdict."""
    return min(min(v.baseline.count, v.current.count) for v in scheme.verdicts)


def _plain(verdict: Comparison) -> dict[str, Any]:
    return {
        "metric": verdict.metric,
        "workload": verdict.workload,
        "unit": verdict.unit,
        "better": verdict.better,
        "baseline": verdict.baseline.median,
        "current": verdict.current.median,
        "trials": [verdict.baseline.count, verdict.current.count],
        "ratio": _finite(verdict.ratio),
        "low": _finite(verdict.low),
        "high": _finite(verdict.high),
        "verdict": verdict.verdict,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
