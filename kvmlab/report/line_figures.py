"""Line figures over a swept variable: lines, every trial on them, and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go

from kvmlab.language import _
from kvmlab.report import names, style, text
from kvmlab.report.bar_figures import MARKED
from kvmlab.results import Better, Result, Summary

_PLOT_PX = 250
_GAP = 0.09
_LEGEND_PX = 52
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "triangle-up", "cross", "x")
# Beyond this range a linear axis would flatten the slow schemes.
_LOG_FROM = 15.0
_MANY_US = 1e4
_MOST_TICKS = 8
# Distance between the dots of two schemes, as a share of the axis.
_DODGE = 0.012


@dataclass(frozen=True)
class Point:
    """One point of a line: ``at`` on the axis, ``place`` in words, and what was measured there."""

    at: float
    place: str
    summary: Summary
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """Points of one scheme, host or number of flows; ``nth`` of the lines of one colour."""

    label: str
    tint: str
    nth: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Axis:
    """Axis that all panels share: its title, and its ticks by their places."""

    title: str
    places: Mapping[float, str]


@dataclass(frozen=True)
class Panel:
    """One metric of all lines, in one unit."""

    heading: str
    unit: str
    divisor: float
    better: Better
    lines: tuple[Line, ...]

    @property
    def values(self) -> list[float]:
        """Values of all trials, in the unit of the panel."""
        return [
            value / self.divisor
            for line in self.lines
            for point in line.points
            for value in point.summary.values
        ]

    @property
    def logarithmic(self) -> bool:
        """True where the values span too much for a linear axis."""
        if self.unit == "%":
            return False
        return min(self.values) > 0 and max(self.values) > _LOG_FROM * min(self.values)


def distinguished(lines: Sequence[Line]) -> list[Line]:
    """Give lines of one colour different dashes and symbols."""
    counts: dict[str, int] = {}
    numbered = []
    for line in lines:
        nth = counts[line.tint] = counts.get(line.tint, -1) + 1
        numbered.append(replace(line, nth=nth))
    return numbered


def points_of(result: Result, metric: str, workload: str, at: float, place: str) -> list[Point]:
    """Return the point of one workload; none where the result does not have it."""
    if workload not in result.workloads:
        return []
    trials = [
        trial
        for trial in result.of(workload)
        if any(each.name == metric for each in trial.every_metric())
    ]
    flags = tuple("; ".join(trial.flags) for trial in trials)
    return [Point(at, place, result.summary(metric, workload), flags)]


def panel_of(heading: str, unit: str, better: Better, lines: Sequence[Line]) -> Panel:
    """Return a panel of lines, in a unit that is easy to read."""
    largest = max(
        value for line in lines for point in line.points for value in point.summary.values
    )
    shown, divisor = names.scaled(unit, largest)
    if unit.startswith("µs/") and largest > _MANY_US:
        shown, divisor = unit.replace("µs", "ms"), 1e3
    return Panel(heading, shown, divisor, better, tuple(lines))


def line_figure(title: str, panels: Sequence[Panel], axis: Axis, notice: style.Notice) -> go.Figure:
    """Draw panels side by side over one axis, a legend below, ``notice`` under the title."""
    figure = go.Figure()
    width = (1 - _GAP * (len(panels) - 1)) / len(panels)
    for column, panel in enumerate(panels):
        suffix = "" if column == 0 else str(column + 1)
        _axes(figure, panel, axis, suffix, column * (width + _GAP), width)
        span = max(axis.places) - min(axis.places) or 1.0
        for nth, line in enumerate(panel.lines):
            aside = (nth - (len(panel.lines) - 1) / 2) * _DODGE * span
            for trace in _traces(panel, line, aside, legend=column == 0):
                figure.add_trace(trace.update({"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}))
        sense = "more is better" if panel.better == "higher" else "less is better"
        scale = _(", logarithmic") if panel.logarithmic else ""
        style.over_panel(
            figure, suffix, panel.heading, f"{_(panel.unit)}{_(', ')}{_(sense)}{scale}"
        )
    rows = math.ceil(len(panels[0].lines) / 3)
    figure.update_layout(
        legend={"x": 0, "y": -_LEGEND_PX / _PLOT_PX, "yanchor": "top", "xanchor": "left"}
    )
    flagged = any(
        f for p in panels for line in p.lines for point in line.points for f in point.flags
    )
    return style.finish(
        figure,
        title=title,
        notice=notice.with_line(MARKED) if flagged else notice,
        plot_px=_PLOT_PX,
        left_px=70,
        head_px=46,
        bottom_px=_LEGEND_PX + 24 * rows + 8,
    )


def _axes(
    figure: go.Figure, panel: Panel, axis: Axis, suffix: str, start: float, width: float
) -> None:
    ticks = _ticks(*_range(panel)) if panel.logarithmic else []
    low, high = min(axis.places), max(axis.places)
    margin = 0.06 * ((high - low) or 1.0)
    figure.update_layout(
        {
            f"xaxis{suffix}": {
                "domain": [start, min(1.0, start + width)],
                "anchor": f"y{suffix}",
                "range": [low - margin, high + margin],
                "tickvals": list(axis.places),
                "ticktext": list(axis.places.values()),
                "title": {"text": axis.title},
                "fixedrange": True,
            },
            f"yaxis{suffix}": {
                "anchor": f"x{suffix}",
                "type": "log" if panel.logarithmic else "linear",
                "range": _range(panel),
                "nticks": 6,
                "tickvals": ticks or None,
                "ticktext": [f"{tick:,.10g}" for tick in ticks],
                "fixedrange": True,
            },
        }
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10 … between two powers of ten; without 2 and 5 where that would be many."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(inside) <= _MOST_TICKS:
            return inside
    return inside


def _range(panel: Panel) -> list[float]:
    """Return the range of all trials, and of the intervals unless they go far beyond."""
    ends = [
        end / panel.divisor
        for line in panel.lines
        for point in line.points
        for end in (point.summary.low, point.summary.high)
        if point.summary.count > 1
    ]
    least, most = min(panel.values), max(panel.values)
    top = max([most, *(end for end in ends if most < end < 1.4 * most)])
    if not panel.logarithmic:
        return [0, top * 1.06 or 1]
    bottom = min([least, *(end for end in ends if least / 1.4 < end < least)])
    return [math.log10(bottom / 1.15), math.log10(top * 1.15)]


def _traces(panel: Panel, line: Line, aside: float, *, legend: bool) -> list[go.Scatter]:
    """Return the line through the medians with its intervals, and the trials."""
    return [_medians(panel, line, aside, legend=legend), _trials(panel, line, aside)]


def _medians(panel: Panel, line: Line, aside: float, *, legend: bool) -> go.Scatter:
    """Return the line, with an interval at each point that has more than one trial."""
    summaries = [point.summary for point in line.points]
    above = [s.high - s.median if s.count > 1 else 0.0 for s in summaries]
    below = [s.median - max(0.0, s.low) if s.count > 1 else 0.0 for s in summaries]
    return go.Scatter(
        x=[point.at + aside for point in line.points],
        y=[summary.median / panel.divisor for summary in summaries],
        mode="lines",
        line={"color": line.tint, "width": 2, "dash": _DASHES[line.nth % len(_DASHES)]},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [length / panel.divisor for length in above],
            "arrayminus": [length / panel.divisor for length in below],
            "color": line.tint,
            "thickness": 1.4,
            "width": 4,
        },
        name=line.label,
        legendgroup=line.label,
        showlegend=legend,
        hoverinfo="skip",
    )


def _trials(panel: Panel, line: Line, aside: float) -> go.Scatter:
    """Return a dot for every trial; a flagged one has another shape and colour."""
    shown = [
        (point, value, flags)
        for point in line.points
        for value, flags in zip(point.summary.values, point.flags, strict=True)
    ]
    symbol = _SYMBOLS[line.nth % len(_SYMBOLS)]
    return go.Scatter(
        x=[point.at + aside for point, _, _ in shown],
        y=[value / panel.divisor for _, value, _ in shown],
        mode="markers",
        marker={
            "color": [style.AMBER if flags else "white" for _, _, flags in shown],
            "size": 7,
            "line": {"color": line.tint, "width": 1.6},
            "symbol": ["diamond" if flags else symbol for _, _, flags in shown],
        },
        cliponaxis=False,  # Those at zero are seen whole.
        name=f"trials of {line.label}",
        legendgroup=line.label,
        showlegend=False,
        hovertext=[
            text.lines(
                line.label,
                names.valued(point.place, f"{names.number(value / panel.divisor)} {panel.unit}"),
                _interval(point.summary, panel),
                flags,
            )
            for point, value, flags in shown
        ],
        hoverinfo="text",
    )


def _interval(summary: Summary, panel: Panel) -> str:
    if summary.count < 2:
        return "one trial: no interval"
    low, middle, high = (
        names.number(value / panel.divisor)
        for value in (max(0.0, summary.low), summary.median, summary.high)
    )
    return f"median {middle}, 95 % interval {low} … {high}"
