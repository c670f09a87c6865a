"""Forest plot: ratios in many metrics, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import names, style, text
from kvmlab.results import Comparison, Result

_ROW_PX = 26
_COLOURS = {"better": style.GREEN, "worse": style.ORANGE, "no difference shown": style.GREY}
_SYMBOLS = {"better": "circle", "worse": "diamond", "no difference shown": "circle-open"}
# Ratios beyond are drawn at the edge: a counter that fell to zero has no place on a log axis.
_FARTHEST = 1000.0
_NEAREST = 1.25


def ratios(*results: Result, comparisons: Sequence[Comparison]) -> go.Figure:
    """Draw one row a comparison: ratio and 95 % interval on a logarithmic axis, by verdict.

    ``results`` are those that were compared; the figure names their host and clock.

    Raises:
        UsageError: there is no comparison, or the results are of different clocks.
    """
    if not comparisons:
        raise UsageError("There is no comparison to draw.")
    notice = style.notice(results)
    figure = go.Figure()
    reach = _reach(comparisons)
    for verdict, colour in _COLOURS.items():
        rows = [(row, each) for row, each in enumerate(comparisons) if each.verdict == verdict]
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
            "ticktext": [_metric(each) for each in comparisons],
            "tickfont": {"size": 12, "color": style.INK},
            "fixedrange": True,
        },
        legend={"x": 0, "y": 1, "yanchor": "bottom"},
    )
    first = comparisons[0]
    return style.finish(
        figure,
        title=_("{current_label} against {baseline_label}").format(
            current_label=_(first.current_label), baseline_label=_(first.baseline_label)
        ),
        notice=notice,
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
    for row, each in rows:
        figure.add_trace(
            go.Scatter(
                x=[_inside(each.low, reach), _inside(each.high, reach)],
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
            x=[_inside(each.ratio, reach) for _, each in rows],
            y=[row for row, _ in rows],
            mode="markers",
            marker={
                "color": colour,
                "size": 9,
                "symbol": _SYMBOLS[verdict],
                "line": {"color": colour, "width": 2},
            },
            name=verdict,
            hovertext=[_hover_text(each) for _, each in rows],
            hoverinfo="text",
        )
    )


def _metric(each: Comparison) -> str:
    return names.metric(each.metric, each.workload, each.part)


def _hover_text(each: Comparison) -> str:
    unit = f" {_(each.unit)}".rstrip()
    return text.lines(
        _metric(each),
        names.valued(each.current_label, f"{names.number(each.current.median)}{unit}"),
        names.valued(each.baseline_label, f"{names.number(each.baseline.median)}{unit}"),
        names.ratio(each.ratio, each.low, each.high),
        each.verdict,
    )


def _reach(comparisons: Sequence[Comparison]) -> float:
    """Return the factor by which the axis reaches from 1, the same both ways."""
    ratios_away = [_away(each.ratio) for each in comparisons]
    farthest = max([_NEAREST, *(away for away in ratios_away if away < _FARTHEST)])
    ends = [_away(end) for each in comparisons for end in (each.low, each.high)]
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
