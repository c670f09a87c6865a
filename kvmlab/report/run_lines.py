"""Two runs compared, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from kvmlab.report import names, tables
from kvmlab.results import Comparison, RunComparison, SchemeComparison

_COLUMNS = ("metric", "verdict", "ratio", "95 % interval")


def lines(found: RunComparison) -> Iterator[str]:
    """The verdicts as lines of text: scheme by scheme, then what has to be known to read them."""
    yield f"{found.current.name} (current) against {found.baseline.name} (baseline)"
    for scheme in found.schemes:
        yield ""
        yield heading(scheme)
        rows: list[tuple[str, ...]] = [(*_COLUMNS, scheme.baseline.label, scheme.current.label)]
        rows += [_row(verdict) for verdict in scheme.verdicts]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield f"  {'  '.join(cells).rstrip()}"
    yield ""
    yield from found.notes


def heading(scheme: SchemeComparison) -> str:
    """The scheme, and where and under which clock it was measured."""
    where = f", notebook {scheme.notebook}" if scheme.notebook else ""
    return f"{scheme.label} ({scheme.scheme}){where}, {scheme.current.clock.value} clock"


def _row(verdict: Comparison) -> tuple[str, ...]:
    return (
        names.metric(verdict.metric, verdict.workload),
        verdict.verdict,
        names.number(verdict.ratio),
        f"{names.number(verdict.low)} … {names.number(verdict.high)}",
        tables.told(verdict.baseline),
        tables.told(verdict.current),
    )
