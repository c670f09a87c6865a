"""Schemes side by side in one metric or in several: bars, every trial, and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style, text
from kvmlab.results import Better, Result, Summary, named_by_host

ROW_PX = 54
# Headings that have to fit over a narrow column.
_SHORT = {"cpu_us_per_packet": "CPU µs a packet"}
MARKED = "◆ A trial with a flag: what may explain it is shown at the mark. It counts all the same."
# What a title has room for beside its first words, where a page is narrow.
_LONGEST_TITLE = 58
# What `overview` shows where it was measured: throughput both ways, latency, then the costs.
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
        """What stands over the panel, short enough for a narrow column."""
        return _SHORT.get(self.metric, names.metric(self.metric, None))

    @property
    def where(self) -> str:
        """The traffic in which a cost was counted; nothing for what only one traffic gives."""
        return names.workload(self.workload) if self.workload else ""

    @property
    def sense(self) -> str:
        """Which way is better, in words."""
        return "more is better" if self.better == "higher" else "less is better"


def compare(*results: Result, metric: str, workload: str | None = None) -> go.Figure:
    """Bars of one metric, a row for each result: the median, its interval, and every trial.

    Cost metrics (``vm_exits_per_packet``) need the ``workload`` they were counted in as well.

    Raises:
        UsageError: no result, unlike clocks, or a metric that a result does not have.
    """
    lines = style.notice(results)
    panel = _panel(results, metric, workload)
    figure = go.Figure()
    _rows(figure, panel, results, column=1, domain=(0.0, 1.0), labelled=True)
    about = names.metric(metric, workload)
    figure.update_xaxes(title={"text": f"{panel.unit} ({panel.sense})"})
    return style.finish(
        figure,
        title=f"{about}: {_versus(results)}",
        lines=_marked(lines, [panel]),
        plot_px=ROW_PX * len(results),
        head_px=0,
    )


def overview(*results: Result, metrics: Sequence[tuple[str, str | None]] = OVERVIEW) -> go.Figure:
    """Throughput, latency and cost side by side: one column a metric, one row a result.

    A metric that none of the results has is left out; a result without it leaves its row empty.

    Raises:
        UsageError: no result, unlike clocks, or none of the metrics was measured.
    """
    lines = style.notice(results)
    panels = [
        _panel(results, metric, workload)
        for metric, workload in metrics
        if any(_has(result, metric, workload) for result in results)
    ]
    if not panels:
        wanted = ", ".join(metric for metric, _ in metrics)
        raise UsageError(f"None of the results has any of these metrics: {wanted}.")
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
        title=f"Throughput, latency and cost: {_versus(results)}",
        lines=_marked(lines, panels),
        plot_px=ROW_PX * len(results),
        head_px=62,
        bottom_px=30,
    )


def _versus(results: Sequence[Result]) -> str:
    said = " against ".join(named_by_host(results))
    if len(results) <= 2 and len(said) <= _LONGEST_TITLE:
        return said
    schemes = len({result.label for result in results})
    hosts = len({result.host for result in results})
    if schemes > 1:
        return f"{schemes} schemes on {hosts} hosts" if hosts > 1 else f"{schemes} schemes"
    return f"{results[0].label}, on {hosts} hosts" if hosts > 1 else results[0].label


def _has(result: Result, metric: str, workload: str | None) -> bool:
    return any(
        found.name == metric
        for trial in result.trials
        if workload is None or trial.workload == workload
        for found in trial.every_metric()
    )


def _panel(results: Sequence[Result], metric: str, workload: str | None) -> _Panel:
    summaries: list[Summary | None] = []
    kinds: set[tuple[str, Better]] = set()
    for result in results:
        if not _has(result, metric, workload) and len(results) > 1:
            summaries.append(None)
            continue
        kinds |= {(m.unit, m.better) for m in result.metrics(metric, workload)}
        summaries.append(result.summary(metric, workload))
    if len(kinds) != 1:
        told = ", ".join(sorted(unit for unit, _ in kinds)) or "none at all"
        raise UsageError(f"The metric `{metric}` needs one unit in all results; found: {told}.")
    unit, better = kinds.pop()
    largest = max(max(summary.values) for summary in summaries if summary)
    shown, divisor = names.scaled(unit, largest)
    flags = tuple(_flags(result, metric, workload) for result in results)
    return _Panel(metric, workload, shown, divisor, better, tuple(summaries), flags)


def _flags(result: Result, metric: str, workload: str | None) -> tuple[str, ...]:
    """What may explain each trial that has the metric, in the order of its summary's values."""
    return tuple(
        "; ".join(trial.flags)
        for trial in result.trials
        if workload is None or trial.workload == workload
        for found in trial.every_metric()
        if found.name == metric
    )


def _marked(lines: Sequence[str], panels: Sequence[_Panel]) -> list[str]:
    """The lines under the title, with one about marked trials where there are any."""
    marked = any(flags for panel in panels for row in panel.flags for flags in row)
    return [*lines, MARKED] if marked else list(lines)


def _rows(
    figure: go.Figure,
    panel: _Panel,
    results: Sequence[Result],
    *,
    column: int,
    domain: tuple[float, float],
    labelled: bool,
) -> None:
    """One column of bars, with axes of its own."""
    axes = {
        "xaxis": "x" if column == 1 else f"x{column}",
        "yaxis": "y" if column == 1 else f"y{column}",
    }
    reach = 0.0
    for row, (result, label) in enumerate(zip(results, named_by_host(results), strict=True)):
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
                "ticktext": [style.wrapped(label) for label in named_by_host(results)],
                "showticklabels": labelled,
                "tickfont": {"size": 13, "color": style.INK},
                "showgrid": False,
                "fixedrange": True,
            },
        }
    )


def _traces(
    panel: _Panel, summary: Summary, about: str, row: int, tint: str
) -> list[go.Bar | go.Scatter]:
    """The bar of the median with its label above it, the interval, and the trials."""
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
        _bar(panel, summary, about, row, tint),
        label,
        *_whisker(panel, summary, row),
        _points(panel, summary, about, row),
    ]


def _bar(panel: _Panel, summary: Summary, about: str, row: int, tint: str) -> go.Bar:
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
        name=about,
        hovertext=text.lines(about, f"median {names.number(median)} {panel.unit}", interval),
        hoverinfo="text",
        showlegend=False,
    )


def _points(panel: _Panel, summary: Summary, about: str, row: int) -> go.Scatter:
    """A dot for every trial; a flagged one is told by shape and colour."""
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
        name=f"trials of {about}",
        hovertext=[
            text.lines(f"one trial: {names.number(value)} {panel.unit}", flags)
            for value, flags in zip(values, panel.flags[row], strict=True)
        ],
        hoverinfo="text",
        showlegend=False,
    )


def _whisker(panel: _Panel, summary: Summary, row: int) -> list[go.Scatter]:
    """The interval as a line under the trials; nothing for a single trial, which has none."""
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
    # A cost carries its unit in its name; what has to be said is the traffic it was counted in.
    unit = "" if "_per_" in panel.metric else panel.unit
    second = ", ".join(filter(None, (panel.where, unit)))
    style.over_panel(figure, suffix, panel.heading, second, panel.sense)
