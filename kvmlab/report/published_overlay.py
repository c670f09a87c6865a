"""Published figures over measured ones, both as ratios to their own bare metal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.language import N_, _
from kvmlab.report import names, style, text
from kvmlab.results import Comparison, Result, compare
from kvmlab.results.published import METRICS, PUBLISHED, Kind, Published, PublishedTuning
from kvmlab.results.published import published as of_scheme

ROW_PX = 56
_SYMBOLS = {
    "paper": "diamond",
    "paper, derived": "diamond-open",
    "documented test": "square",
    "informal": "circle-open",
}
#: Distance of published marks below the measured bar of their row.
_BELOW = 0.26


@dataclass(frozen=True)
class _Row:
    """One scheme, with measured and published ratios; either may be missing."""

    label: str
    scheme: str
    measured: Comparison | None
    published: tuple[Published, ...]


def published(*results: Result, baseline: Result, metric: str = "tcp_up_mbps") -> go.Figure:
    """Draw measured ratios to ``baseline`` (the host's own port, no VM) and published ones.

    A published ratio is to the bare metal of its own source; the mark shows source, year and
    quality when the pointer is on it. Schemes without verified figures have no marks.

    Raises:
        UsageError: unlike clocks, or a metric that was not published or not measured.
    """
    kind = _kind(metric)
    notice = style.notice((baseline, *results))
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
        notice=notice.with_line(
            "Marks (◆ paper, ■ documented test) are published, each against its own bare metal."
        ),
        plot_px=ROW_PX * len(rows),
        left_px=190,
        head_px=0,
    )


def _kind(metric: str) -> Kind:
    if metric not in METRICS:
        raise UsageError(
            f"There is no published figure for the metric `{metric}`.",
            todo=f"Use one of {', '.join(METRICS)}.",
        )
    return METRICS[metric]


def _rows(results: Sequence[Result], baseline: Result, metric: str, kind: Kind) -> list[_Row]:
    rows = []
    for result in results:
        if result.scheme == baseline.scheme:
            continue
        measured = compare(baseline, result, metric)
        figures = of_scheme(result.scheme, kind)
        with_ratio = tuple(each for each in figures if each.ratio is not None)
        rows.append(_Row(result.label, result.scheme, measured, with_ratio))
    for each in PUBLISHED:
        if not each.schemes and each.kind == kind and each.ratio:
            rows.append(_Row(f"{each.label}, published only", "", None, (each,)))
    if not rows:
        raise UsageError("There is no result to lay published figures over.")
    return rows


def _measured(row: _Row, number: int) -> list[go.Bar | go.Scatter]:
    measured = row.measured
    if measured is None:
        return []
    low, high = measured.low, measured.high
    known = math.isfinite(low) and math.isfinite(high) and low > 0
    interval = (
        _("95 % interval {interval}").format(interval=names.interval(measured.ratio, low, high))
        if known
        else "a single trial: no interval"
    )
    hover_text = text.lines(
        row.label,
        f"measured: {names.number(measured.ratio)} of {measured.baseline_label}",
        interval,
    )
    tint = style.colour(row.scheme, number)
    traces: list[go.Bar | go.Scatter] = [
        go.Bar(
            x=[measured.ratio],
            y=[number],
            orientation="h",
            width=0.28,
            marker={"color": tint, "opacity": 0.55},
            name=f"measured: {row.label}",
            hovertext=hover_text,
            hoverinfo="text",
            showlegend=False,
        )
    ]
    if known:
        traces.append(
            go.Scatter(
                x=[low, high],
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
    """Return a mark for each figure, a line for a range; the source is their hover text."""
    traces = []
    for each in row.published:
        assert each.low is not None
        assert each.high is not None
        unsure = "the source does not name the back end" if len(each.schemes) > 1 else ""
        hover_text = text.lines(
            each.label,
            names.valued(N_("published"), _(each.value)),
            ratio_text(each),
            unsure,
            cited(each),
        )
        ends = [each.low] if each.low == each.high else [each.low, each.high]
        traces.append(
            go.Scatter(
                x=ends,
                y=[number + _BELOW] * len(ends),
                mode="markers+lines",
                line={"color": style.QUIET, "width": 2},
                marker={"symbol": _SYMBOLS[each.quality], "size": 10, "color": style.QUIET},
                name=f"published: {each.label}",
                hovertext=[hover_text] * len(ends),
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
        values += [each.high for each in row.published if each.high is not None]
    return 1.08 * max(values)


def cited(figure: Published | PublishedTuning) -> str:
    """Return source, year and quality in one line, in the reader's language."""
    year = f", {figure.year}" if figure.year is not None else ""
    return _("{source} ({quality})").format(
        source=f"{_(figure.source)}{year}", quality=_(figure.quality)
    )


def ratio_text(figure: Published) -> str:
    """Return the ratio to bare metal in words; empty where the source has none."""
    if figure.low is None or figure.high is None:
        return ""
    if figure.low == figure.high:
        return f"{names.number(figure.low)} of bare metal"
    return f"{names.number(figure.low)} … {names.number(figure.high)} of bare metal"
