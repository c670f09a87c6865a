"""Ratios in many metrics at once: each with its interval, against the line of no difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style, text
from kvmlab.results import Comparison, Result

_ROW_PX = 26
_COLOURS = {"better": style.GREEN, "worse": style.ORANGE, "no difference shown": style.GREY}
_SYMBOLS = {"better": "circle", "worse": "diamond", "no difference shown": "circle-open"}
# Ratios beyond are drawn at the edge, with an arrow: a counter that fell to zero has no scale.
_FARTHEST = 1000.0
_NEAREST = 1.25


def ratios(*results: Result, comparisons: Sequence[Comparison]) -> go.Figure:
    """One row a comparison: its ratio and 95 % interval on a logarithmic axis, by verdict.

    ``results`` are those that were compared; they say which host and clock the figure is of.

    Raises:
        UsageError: there is no comparison, or the results are of different clocks.
    """
    if not comparisons:
        raise UsageError("There is no comparison to draw.")
    lines = style.notice(results)
    figure = go.Figure()
    reach = _reach(comparisons)
    for verdict, colour in _COLOURS.items():
        rows = [(row, one) for row, one in enumerate(comparisons) if one.verdict == verdict]
        if rows:
            _add(figure, verdict, colour, rows, reach)
    figure.add_vline(x=1, line={"color": style.INK, "width": 1.2})
    figure.update_layout(
        xaxis={
            "type": "log",
            "range": [-math.log10(reach) * 1.04, math.log10(reach) * 1.04],
            "title": {"text": "ratio (1: no difference)"},
            "tickvals": _ticks(reach),
            "ticktext": [names.number(tick) for tick in _ticks(reach)],
            "fixedrange": True,
        },
        yaxis={
            "range": [len(comparisons) - 0.4, -0.6],
            "tickvals": list(range(len(comparisons))),
            "ticktext": [names.metric(one.metric, one.workload) for one in comparisons],
            "tickfont": {"size": 12, "color": style.INK},
            "fixedrange": True,
        },
        legend={"x": 0, "y": 1, "yanchor": "bottom"},
    )
    first = comparisons[0]
    return style.finish(
        figure,
        title=f"{first.current_label} against {first.baseline_label}",
        lines=lines,
        plot_px=_ROW_PX * len(comparisons) + 20,
        left_px=310,
        head_px=34,
    )


def _add(
    figure: go.Figure,
    verdict: str,
    colour: str,
    rows: Sequence[tuple[int, Comparison]],
    reach: float,
) -> None:
    for row, one in rows:
        figure.add_trace(
            go.Scatter(
                x=[_inside(one.low, reach), _inside(one.high, reach)],
                y=[row, row],
                mode="lines",
                line={"color": colour, "width": 2},
                hoverinfo="skip",
                showlegend=False,
                name="interval",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=[_inside(one.ratio, reach) for _, one in rows],
            y=[row for row, _ in rows],
            mode="markers",
            marker={
                "color": colour,
                "size": 9,
                "symbol": _SYMBOLS[verdict],
                "line": {"color": colour, "width": 2},
            },
            name=verdict,
            hovertext=[_told(one) for _, one in rows],
            hoverinfo="text",
        )
    )


def _told(one: Comparison) -> str:
    unit = f" {one.unit}".rstrip()
    return text.lines(
        names.metric(one.metric, one.workload),
        f"{one.current_label}: {names.number(one.current.median)}{unit}",
        f"{one.baseline_label}: {names.number(one.baseline.median)}{unit}",
        f"ratio {names.number(one.ratio)} ({names.number(one.low)} … {names.number(one.high)})",
        one.verdict,
    )


def _reach(comparisons: Sequence[Comparison]) -> float:
    """How far from 1 the axis goes, both ways alike: as far as the ratios and what fits beside."""
    ratios_away = [_away(one.ratio) for one in comparisons]
    farthest = max([_NEAREST, *(away for away in ratios_away if away < _FARTHEST)])
    ends = [_away(end) for one in comparisons for end in (one.low, one.high)]
    return min(_FARTHEST, max([farthest * 1.1, *(end for end in ends if end < 2 * farthest)]))


def _away(ratio: float) -> float:
    return math.inf if ratio <= 0 or math.isinf(ratio) else max(ratio, 1 / ratio)


def _inside(ratio: float, reach: float) -> float:
    return min(max(ratio, 1 / reach), reach)


def _ticks(reach: float) -> list[float]:
    steps = (1.1, 1.25, 1.5, 2, 3, 5, 10, 30, 100, 300, 1000)
    above = [step for step in steps if step <= reach * 1.01]
    chosen = above[:: max(1, math.ceil(len(above) / 4))] if len(above) > 4 else above
    return [*(1 / step for step in reversed(chosen)), 1.0, *chosen]
