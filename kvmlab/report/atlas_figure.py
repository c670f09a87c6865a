"""Figures of the tuning atlas: one row a tuning, and the tunings in pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kvmlab.errors import UsageError
from kvmlab.language import N_, _
from kvmlab.report import names, style, text
from kvmlab.results import Per
from kvmlab.results.atlas import COLUMNS, Atlas, AtlasRow, TuningEffect

_ROW_PX = 21
_TICKS_PX = 30
_COLOURS = {"better": style.GREEN, "worse": style.ORANGE, "no difference shown": style.GREY}
_SYMBOLS = {"better": "circle", "worse": "diamond", "no difference shown": "circle-open"}
# Ratios beyond are drawn at the edge of the panel.
_FARTHEST = 30.0
_NEAREST = 1.1
_CELL_PX = 46
#: Titles of the panels; the names of the columns are in `COLUMNS`.
_TITLES = {
    "throughput": (N_("throughput"), "TCP from the VM"),
    "round trip": ("round trip", "median echo"),
    "exits": ("VM exits", "per MB of TCP"),
    "instructions": (N_("instructions"), "per MB of TCP"),
}


def atlas(data: Atlas) -> go.Figure:
    """Draw one row a tuning: its ratio in each column, with interval, the largest effect first.

    Hovering over a mark shows the figures and who paid: instructions per megabyte by part. A
    click on one, in JupyterLab and in a report, opens the fold of that tuning (`folds`) below.

    Raises:
        UsageError: nothing was measured.
    """
    rows = data.measured
    if not rows:
        raise UsageError("The atlas has no row that was measured.")
    figure = make_subplots(rows=1, cols=len(COLUMNS), shared_yaxes=True, horizontal_spacing=0.02)
    shown: set[str] = set()
    for number, column in enumerate(COLUMNS, start=1):
        effects = [(place, row, row.effect(column)) for place, row in enumerate(rows)]
        drawn = [(place, row, effect) for place, row, effect in effects if effect is not None]
        reach = _reach([effect for _, _, effect in drawn])
        _add_column(figure, number, drawn, reach, shown)
        suffix = "" if number == 1 else str(number)
        style.over_panel(figure, suffix, *_TITLES[column])
    figure.update_yaxes(
        range=[len(rows) - 0.4, -0.6],
        tickvals=list(range(len(rows))),
        ticktext=[row.tuning for row in rows],
        tickfont={"size": 11, "color": style.INK},
        fixedrange=True,
    )
    plot_px = _ROW_PX * len(rows) + 20
    # Below the labels of the axes.
    figure.update_layout(legend={"x": 0, "y": -_TICKS_PX / plot_px, "yanchor": "top"})
    return style.finish(
        figure,
        title=f"Tunings of {data.scheme}: ratio to the scheme without them",
        notice=style.notice_of((data.emulated,), data.clock),
        plot_px=plot_px,
        left_px=190,
        bottom_px=84,
    )


def _add_column(
    figure: go.Figure,
    number: int,
    drawn: Sequence[tuple[int, AtlasRow, TuningEffect]],
    reach: float,
    shown: set[str],
) -> None:
    for place, _row, effect in drawn:
        figure.add_trace(
            go.Scatter(
                x=[_inside(effect.low, reach, 0.0), _inside(effect.high, reach, math.inf)],
                y=[place, place],
                mode="lines",
                line={"color": _COLOURS[effect.verdict], "width": 2},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=1,
            col=number,
        )
    for verdict, colour in _COLOURS.items():
        of_verdict = [item for item in drawn if item[2].verdict == verdict]
        if not of_verdict:
            continue
        figure.add_trace(
            go.Scatter(
                x=[_inside(effect.ratio, reach, math.inf) for _, _, effect in of_verdict],
                y=[place for place, _, _ in of_verdict],
                customdata=[row.tuning for _, row, _ in of_verdict],
                mode="markers",
                marker={
                    "color": colour,
                    "size": 8,
                    "symbol": _SYMBOLS[verdict],
                    "line": {"color": colour, "width": 2},
                },
                name=verdict,
                legendgroup=verdict,
                showlegend=verdict not in shown,
                hovertext=[_hover_text(row, effect) for _, row, effect in of_verdict],
                hoverinfo="text",
            ),
            row=1,
            col=number,
        )
        shown.add(verdict)
    ticks = _ticks(reach)
    figure.update_xaxes(
        type="log",
        range=[-math.log10(reach) * 1.08, math.log10(reach) * 1.08],
        tickvals=ticks,
        ticktext=[names.number(tick) for tick in ticks],
        fixedrange=True,
        row=1,
        col=number,
    )
    figure.add_vline(x=1, line={"color": style.INK, "width": 1}, row=1, col=number)


def _hover_text(row: AtlasRow, effect: TuningEffect) -> str:
    unit = f" {_(effect.unit)}".rstrip()
    return text.lines(
        names.valued(row.tuning, names.metric(effect.metric, effect.workload)),
        names.valued(N_("without"), f"{names.number(effect.baseline)}{unit}"),
        names.valued(N_("with"), f"{names.number(effect.current)}{unit}"),
        names.valued(_ratio(effect), _(effect.verdict)),
        *paid(row, effect.workload),
    )


def _ratio(effect: TuningEffect) -> str:
    if effect.ratio is None:
        return _("ratio without a bound")
    low = -math.inf if effect.low is None else effect.low
    high = math.inf if effect.high is None else effect.high
    return names.ratio(effect.ratio, low, high)


def paid(row: AtlasRow, workload: str, per: Per = "megabyte") -> list[str]:
    """Return a line for each part that paid or saved, the largest change first.

    Of streams under the virtual clock these are instructions, elsewhere CPU time.
    """
    parts = [p for p in row.payers if p.workload == workload and p.per == per]
    parts.sort(key=lambda payer: -abs(payer.difference))
    return [
        names.valued(
            payer.part,
            f"{names.number(payer.baseline)} → {names.number(payer.current)} {_(payer.unit)}",
        )
        for payer in parts
    ]


def interactions(data: Atlas) -> go.Figure:
    """Draw tunings in pairs: the ratio of both at once to the product of each alone.

    1 says that neither changes the other's effect; a cell in bold type is one whose interval
    excludes that.

    Raises:
        UsageError: the atlas has no pairs.
    """
    if not data.interactions:
        raise UsageError("The atlas has no tunings in pairs.", todo="Measure it with pairs=5.")
    order = list(dict.fromkeys(name for i in data.interactions for name in (i.first, i.second)))
    cells: list[list[float | None]] = [[None] * len(order) for _ in order]
    words = [[""] * len(order) for _ in order]
    for pair in data.interactions:
        across, down = order.index(pair.first), order.index(pair.second)
        cells[down][across] = math.log(pair.factor)
        factor = names.number(pair.factor)
        words[down][across] = str(text.bold(factor)) if pair.shown else factor
    limit = max(0.1, *(abs(cell) for line in cells for cell in line if cell is not None))
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x=order,
            y=order,
            text=words,
            texttemplate="%{text}",
            hoverinfo="skip",
            zmin=-limit,
            zmax=limit,
            colorscale=[[0, style.AMBER], [0.5, "white"], [1, style.SKY]],
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    figure.update_xaxes(tickangle=0, fixedrange=True, tickfont={"size": 11})
    figure.update_yaxes(autorange="reversed", fixedrange=True, tickfont={"size": 11})
    first = data.interactions[0]
    return style.finish(
        figure,
        title=f"Two tunings at once: {names.metric(first.metric, first.workload)}, "
        "ratio to the product of each alone",
        notice=style.notice_of((data.emulated,), data.clock),
        plot_px=_CELL_PX * len(order) + 20,
        left_px=190,
        head_px=12,
    )


def _reach(effects: Sequence[TuningEffect]) -> float:
    """Return the factor by which an axis reaches from 1, the same both ways."""
    sizes = [min(effect.size, _FARTHEST) for effect in effects]
    return max([_NEAREST, *sizes]) * 1.05


def _inside(ratio: float | None, reach: float, otherwise: float) -> float:
    value = otherwise if ratio is None else ratio
    return min(max(value, 1 / reach), reach)


def _ticks(reach: float) -> list[float]:
    above = [step for step in (1.1, 1.5, 2, 4, 10, 30) if step <= reach]
    chosen = above[-1:]
    return [*(1 / step for step in chosen), 1.0, *chosen]
