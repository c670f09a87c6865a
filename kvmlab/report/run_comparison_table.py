"""Tables of two compared runs, one a scheme, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from kvmlab.report import names, tables
from kvmlab.results import SchemeComparison


def heading(scheme: SchemeComparison) -> str:
    """Return the heading of a scheme: its label, its notebook and the clock."""
    notebook = f", notebook {scheme.notebook}" if scheme.notebook else ""
    return f"{scheme.label} ({scheme.scheme}){notebook}, {scheme.current.clock.value} clock"


def columns(scheme: SchemeComparison) -> tuple[str, ...]:
    """Return the headings of the columns; the last two are the names of the runs."""
    return (
        "metric",
        "verdict",
        "ratio",
        "95 % interval",
        scheme.baseline.label,
        scheme.current.label,
    )


def rows(scheme: SchemeComparison) -> Iterator[tuple[str, ...]]:
    """Yield one row for each verdict."""
    for verdict in scheme.verdicts:
        yield (
            names.metric(verdict.metric, verdict.workload, verdict.part),
            verdict.verdict,
            names.number(verdict.ratio),
            names.interval(verdict.ratio, verdict.low, verdict.high),
            tables.median(verdict.baseline),
            tables.median(verdict.current),
        )
