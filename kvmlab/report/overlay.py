"""Published figures laid over measured ones: both as ratios to their own bare metal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style, text
from kvmlab.results import Comparison, Result, compare
from kvmlab.results.published import METRICS, PUBLISHED, Kind, Published
from kvmlab.results.published import published as about

if TYPE_CHECKING:
    import pandas as pd

ROW_PX = 56
_SYMBOLS = {
    "paper": "diamond",
    "paper, derived": "diamond-open",
    "documented test": "square",
    "informal": "circle-open",
}
#: How far published marks stand below the measured bar of their row.
_BELOW = 0.26


@dataclass(frozen=True)
class _Row:
    """One scheme: what was measured of it, what was published; either may be missing."""

    label: str
    scheme: str
    measured: Comparison | None
    published: tuple[Published, ...]


def published(*results: Result, baseline: Result, metric: str = "tcp_up_mbps") -> go.Figure:
    """Measured ratios to ``baseline`` (the host's own port, no VM) and published ones, by scheme.

    A published ratio is to the bare metal of its own source, which stands with its year and
    quality behind the mark. A scheme of which nothing was verified has none.

    Raises:
        UsageError: unlike clocks, or a metric that nobody published or that was not measured.
    """
    kind = _kind(metric)
    lines = style.notice((baseline, *results))
    rows = _rows(results, baseline, metric, kind)
    figure = go.Figure()
    for number, row in enumerate(rows):
        for trace in (*_measured(row, number), *_published(row, number)):
            figure.add_trace(trace)
    _reference(figure, len(rows))
    better = "more is better" if kind != "latency" else "less is better"
    figure.update_xaxes(
        title={"text": f"times its own bare metal ({better})"},
        range=[0, _reach(rows)],
        fixedrange=True,
    )
    figure.update_yaxes(
        range=[len(rows) - 0.35, -0.6],
        tickvals=list(range(len(rows))),
        ticktext=[style.wrapped(row.label) for row in rows],
        tickfont={"size": 13, "color": style.INK},
        showgrid=False,
        fixedrange=True,
    )
    return style.finish(
        figure,
        title=f"{names.metric(metric)}: measured here, and published for real hardware",
        lines=(
            *lines,
            "Marks (◆ paper, ■ documented test) are published, each against its own bare metal.",
        ),
        plot_px=ROW_PX * len(rows),
        left_px=190,
        head_px=0,
    )


def published_table() -> pd.DataFrame:
    """Every verified figure with its source; what has no bare metal has no ratio."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "what": one.label,
                "metric": one.kind,
                "value": one.value,
                "ratio to bare metal": _ratio_text(one),
                "source": one.source,
                "year": "" if one.year is None else str(one.year),
                "quality": one.quality,
            }
            for one in PUBLISHED
        ]
    ).set_index("what")


def _kind(metric: str) -> Kind:
    if metric not in METRICS:
        raise UsageError(
            f"Nothing was published that `{metric}` could be laid over.",
            todo=f"Use one of {', '.join(METRICS)}.",
        )
    return METRICS[metric]


def _rows(results: Sequence[Result], baseline: Result, metric: str, kind: Kind) -> list[_Row]:
    found = []
    for result in results:
        if result.scheme == baseline.scheme:
            continue
        measured = compare(baseline, result, metric)
        with_ratio = tuple(one for one in about(result.scheme, kind) if one.ratio is not None)
        found.append(_Row(result.label, result.scheme, measured, with_ratio))
    others = [one for one in PUBLISHED if not one.schemes and one.kind == kind and one.ratio]
    for one in others:
        found.append(_Row(f"{one.label}, published only", "", None, (one,)))
    if not found:
        raise UsageError("There is no result to lay published figures over.")
    return found


def _measured(row: _Row, number: int) -> list[go.Bar | go.Scatter]:
    found = row.measured
    if found is None:
        return []
    known = math.isfinite(found.low) and math.isfinite(found.high) and found.low > 0
    interval = (
        f"95 % interval {names.number(found.low)} … {names.number(found.high)}"
        if known
        else "a single trial: no interval"
    )
    told = text.lines(
        row.label, f"measured: {names.number(found.ratio)} of {found.baseline_label}", interval
    )
    tint = style.colour(row.scheme, number)
    traces: list[go.Bar | go.Scatter] = [
        go.Bar(
            x=[found.ratio],
            y=[number],
            orientation="h",
            width=0.28,
            marker={"color": tint, "opacity": 0.55},
            name=f"measured: {row.label}",
            hovertext=told,
            hoverinfo="text",
            showlegend=False,
        )
    ]
    if known:
        traces.append(
            go.Scatter(
                x=[found.low, found.high],
                y=[number, number],
                mode="lines",
                line={"color": style.INK, "width": 1.6},
                name="interval",
                hoverinfo="skip",
                showlegend=False,
            )
        )
    return traces


def _published(row: _Row, number: int) -> list[go.Scatter]:
    """A mark for each figure, a line for a range; the source behind both."""
    traces = []
    for one in row.published:
        assert one.low is not None
        assert one.high is not None
        unsure = "the source does not name the back end" if len(one.schemes) > 1 else ""
        told = text.lines(
            *filter(None, (one.label, f"published: {one.value}", _ratio_text(one), unsure)),
            one.cited,
        )
        ends = [one.low] if one.low == one.high else [one.low, one.high]
        traces.append(
            go.Scatter(
                x=ends,
                y=[number + _BELOW] * len(ends),
                mode="markers+lines",
                line={"color": style.QUIET, "width": 2},
                marker={"symbol": _SYMBOLS[one.quality], "size": 10, "color": style.QUIET},
                name=f"published: {one.label}",
                hovertext=[told] * len(ends),
                hoverinfo="text",
                showlegend=False,
            )
        )
    return traces


def _reference(figure: go.Figure, rows: int) -> None:
    figure.add_trace(
        go.Scatter(
            x=[1, 1],
            y=[-0.6, rows - 0.35],
            mode="lines",
            line={"color": style.INK, "width": 1, "dash": "dot"},
            name="bare metal",
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _reach(rows: Sequence[_Row]) -> float:
    values = [1.0]
    for row in rows:
        if row.measured is not None and math.isfinite(row.measured.ratio):
            values.append(row.measured.ratio)
            if math.isfinite(row.measured.high):
                values.append(min(row.measured.high, 1.4 * row.measured.ratio))
        values += [one.high for one in row.published if one.high is not None]
    return 1.08 * max(values)


def _ratio_text(one: Published) -> str:
    if one.low is None or one.high is None:
        return ""
    if one.low == one.high:
        return f"{names.number(one.low)} of bare metal"
    return f"{names.number(one.low)} … {names.number(one.high)} of bare metal"
