"""Schemes side by side in one metric or in several: bars, every trial, and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import names, style, text
from kvmlab.results import Better, Result, Summary

ROW_PX = 46
# Headings that have to fit over a narrow column.
_SHORT = {"cpu_us_per_packet": "CPU µs a packet"}
MARKED = "◆ A trial with a flag; the mark says what may explain it. It counts all the same."
# Room in a title on a narrow page.
_LONGEST_TITLE = 58
# Metrics of `overview`, where they were measured: throughput both ways, latency, costs.
OVERVIEW = (
    ("tcp_up_mbps", None),
    ("tcp_down_mbps", None),
    ("rtt_p50_us", None),
    ("vm_exits_per_packet", "tcp_up"),
    ("cpu_us_per_packet", "tcp_up"),
)


@dataclass(frozen=True)
class _Panel:
    """One metric of all results, in one unit."""

    metric: str
    workload: str | None
    unit: str
    divisor: float
    better: Better
    summaries: tuple[Summary | None, ...]
    flags: tuple[tuple[str, ...], ...]

    @property
    def heading(self) -> str:
        """Heading of the panel, short enough for a narrow column."""
        return _SHORT.get(self.metric, names.metric(self.metric, None))

    @property
    def where(self) -> str:
        """Workload in which a cost was counted; empty for other metrics."""
        return names.workload(self.workload) if self.workload else ""

    @property
    def sense(self) -> str:
        """The better direction, in words."""
        return "more is better" if self.better == "higher" else "less is better"


def compare(*results: Result, metric: str, workload: str | None = None) -> go.Figure:
    """Draw bars of one metric, a row for each result: median, interval, and every trial.

    Cost metrics (``vm_exits_per_packet``) need the ``workload`` they were counted in as well.

    Raises:
        UsageError: no result, unlike clocks, or a metric that a result does not have.
    """
    notice = style.notice(results)
    panel = _panel(results, metric, workload)
    figure = go.Figure()
    _rows(figure, panel, results, column=1, domain=(0.0, 1.0), labelled=True)
    about = names.metric(metric, workload)
    figure.update_xaxes(title={"text": f"{panel.unit} ({_(panel.sense)})"})
    return style.finish(
        figure,
        title=names.valued(about, _versus(results)),
        notice=_marked(notice, [panel]),
        plot_px=ROW_PX * len(results),
        head_px=0,
    )


def overview(*results: Result, metrics: Sequence[tuple[str, str | None]] = OVERVIEW) -> go.Figure:
    """Draw throughput, latency and costs side by side: one column a metric, one row a result.

    A metric that none of the results has is left out; a result without it leaves its row empty.

    Raises:
        UsageError: no result, unlike clocks, or none of the metrics was measured.
    """
    notice = style.notice(results)
    panels = [
        _panel(results, metric, workload)
        for metric, workload in metrics
        if any(result.has(metric, workload) for result in results)
    ]
    if not panels:
        listing = ", ".join(metric for metric, _ in metrics)
        raise UsageError(f"None of the results has any of these metrics: {listing}.")
    figure = go.Figure()
    gap = 0.035
    width = (1 - gap * (len(panels) - 1)) / len(panels)
    for number, panel in enumerate(panels):
        start = number * (width + gap)
        _rows(
            figure,
            panel,
            results,
            column=number + 1,
            domain=(start, min(1.0, start + width)),
            labelled=number == 0,
        )
        _column_heading(figure, panel, number + 1)
    return style.finish(
        figure,
        title=_("Throughput, latency and cost: {results}").format(results=_versus(results)),
        notice=_marked(notice, panels),
        plot_px=ROW_PX * len(results),
        head_px=62,
        bottom_px=30,
    )


def _versus(results: Sequence[Result]) -> str:
    labels = _(" against ").join(names.labels(results))
    if len(results) <= 2 and len(labels) <= _LONGEST_TITLE:
        return labels
    schemes = len({result.label for result in results})
    hosts = len({result.host for result in results})
    if schemes > 1:
        text = "{schemes} schemes on {hosts} hosts" if hosts > 1 else "{schemes} schemes"
        return _(text).format(schemes=schemes, hosts=hosts)
    label = _(results[0].label)
    return _("{label}, on {hosts} hosts").format(label=label, hosts=hosts) if hosts > 1 else label


def _panel(results: Sequence[Result], metric: str, workload: str | None) -> _Panel:
    summaries: list[Summary | None] = []
    kinds: set[tuple[str, Better]] = set()
    for result in results:
        if not result.has(metric, workload) and len(results) > 1:
            summaries.append(None)
            continue
        kinds |= {(m.unit, m.better) for m in result.metrics(metric, workload)}
        summaries.append(result.summary(metric, workload))
    if len(kinds) != 1:
        units = ", ".join(sorted(unit for unit, _ in kinds)) or "none"
        raise UsageError(f"The metric `{metric}` needs one unit in all results; found: {units}.")
    unit, better = kinds.pop()
    largest = max(max(summary.values) for summary in summaries if summary)
    shown, divisor = names.scaled(unit, largest)
    flags = tuple(_flags(result, metric, workload) for result in results)
    return _Panel(metric, workload, shown, divisor, better, tuple(summaries), flags)


def _flags(result: Result, metric: str, workload: str | None) -> tuple[str, ...]:
    """Return the flags of each trial that has the metric, in the order of its summary's values."""
    return tuple(
        "; ".join(trial.flags)
        for trial in result.trials
        if workload is None or trial.workload == workload
        for each in trial.every_metric()
        if each.name == metric
    )


def _marked(notice: style.Notice, panels: Sequence[_Panel]) -> style.Notice:
    """Return the notice, with a line about marked trials where there are any."""
    marked = any(flags for panel in panels for row in panel.flags for flags in row)
    return notice.with_line(MARKED) if marked else notice


def _rows(
    figure: go.Figure,
    panel: _Panel,
    results: Sequence[Result],
    *,
    column: int,
    domain: tuple[float, float],
    labelled: bool,
) -> None:
    """Draw one column of bars, with axes of its own."""
    axes = {
        "xaxis": "x" if column == 1 else f"x{column}",
        "yaxis": "y" if column == 1 else f"y{column}",
    }
    reach = 0.0
    for row, (result, label) in enumerate(zip(results, names.labels(results), strict=True)):
        summary = panel.summaries[row]
        if summary is None:
            continue
        tint = style.colour(result.scheme, row)
        for trace in _traces(panel, summary, label, row, tint):
            figure.add_trace(trace.update(axes))
        reach = max(reach, *(value / panel.divisor for value in summary.values))
        if math.isfinite(summary.high):
            reach = max(reach, min(summary.high / panel.divisor, 1.4 * reach))
    number = "" if column == 1 else str(column)
    figure.update_layout(
        {
            f"xaxis{number}": {
                "domain": list(domain),
                "anchor": axes["yaxis"],
                "range": [0, reach * 1.08 or 1],
                "nticks": 5,
                "fixedrange": True,
            },
            f"yaxis{number}": {
                "anchor": axes["xaxis"],
                "range": [len(results) - 0.45, -0.55],
                "tickvals": list(range(len(results))),
                "ticktext": [style.wrapped(label) for label in names.labels(results)],
                "showticklabels": labelled,
                "tickfont": {"size": 13, "color": style.INK},
                "showgrid": False,
                "fixedrange": True,
            },
        }
    )


def _traces(
    panel: _Panel, summary: Summary, name: str, row: int, tint: str
) -> list[go.Bar | go.Scatter]:
    """Return the bar of the median with its label above it, the interval, and the trials."""
    label = go.Scatter(
        x=[0],
        y=[row - 0.32],
        mode="text",
        text=[text.bold(names.number(summary.median / panel.divisor))],
        textposition="middle right",
        textfont={"size": 13, "color": style.INK},
        hoverinfo="skip",
        showlegend=False,
    )
    return [
        _bar(panel, summary, name, row, tint),
        label,
        *_whisker(panel, summary, row),
        _points(panel, summary, name, row),
    ]


def _bar(panel: _Panel, summary: Summary, label: str, row: int, tint: str) -> go.Bar:
    median = summary.median / panel.divisor
    interval = (
        f"95 % interval {names.number(summary.low / panel.divisor)} … "
        f"{names.number(summary.high / panel.divisor)}"
        if summary.count > 1
        else "one trial: no interval"
    )
    return go.Bar(
        x=[median],
        y=[row],
        orientation="h",
        width=0.3,
        marker={"color": tint, "opacity": 0.55},
        name=label,
        hovertext=text.lines(label, f"median {names.number(median)} {panel.unit}", interval),
        hoverinfo="text",
        showlegend=False,
    )


def _points(panel: _Panel, summary: Summary, label: str, row: int) -> go.Scatter:
    """Return a dot for every trial; a flagged one has another shape and colour."""
    values = [value / panel.divisor for value in summary.values]
    return go.Scatter(
        x=values,
        y=[row] * len(values),
        mode="markers",
        marker={
            "color": [style.AMBER if flags else "white" for flags in panel.flags[row]],
            "size": 7,
            "line": {"color": style.INK, "width": 1.2},
            "symbol": ["diamond" if flags else "circle" for flags in panel.flags[row]],
        },
        name=f"trials of {label}",
        hovertext=[
            text.lines(f"one trial: {names.number(value)} {panel.unit}", flags)
            for value, flags in zip(values, panel.flags[row], strict=True)
        ],
        hoverinfo="text",
        showlegend=False,
    )


def _whisker(panel: _Panel, summary: Summary, row: int) -> list[go.Scatter]:
    """Return the interval as a line under the trials; a single trial has none."""
    if summary.count < 2:
        return []
    low, high = max(0.0, summary.low / panel.divisor), summary.high / panel.divisor
    return [
        go.Scatter(
            x=[low, high],
            y=[row, row],
            mode="lines+markers",
            line={"color": style.INK, "width": 1.6},
            marker={"symbol": "line-ns", "size": 10, "line": {"width": 1.6, "color": style.INK}},
            name="interval",
            hoverinfo="skip",
            showlegend=False,
            cliponaxis=True,
        )
    ]


def _column_heading(figure: go.Figure, panel: _Panel, column: int) -> None:
    suffix = "" if column == 1 else str(column)
    # A cost has its unit in its name; the heading adds the workload it was counted in.
    unit = "" if "_per_" in panel.metric else panel.unit
    second = ", ".join(filter(None, (panel.where, unit)))
    style.over_panel(figure, suffix, panel.heading, second, panel.sense)
