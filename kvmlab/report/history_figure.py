"""A metric over runs: each run's median with its interval, levels and their changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style, text
from kvmlab.results.history import History

_ROW_PX: Final = 260


def history(histories: Sequence[History]) -> go.Figure:
    """Return a figure with one row for each scheme; a dashed line marks each change of level.

    Raises:
        UsageError: there is nothing to draw.
    """
    from plotly.subplots import make_subplots

    if not histories:
        raise UsageError("There is no history to draw.")
    figure = make_subplots(
        rows=len(histories),
        cols=1,
        shared_xaxes=False,
        vertical_spacing=0.12 / len(histories),
        subplot_titles=[text.plain(f"{one.label}, {one.clock.value} time") for one in histories],
    )
    for row, one in enumerate(histories, start=1):
        tint = style.colour(one.scheme, row - 1)
        medians = [point.summary.median for point in one.points]
        figure.add_trace(
            go.Scatter(
                x=[text.plain(point.run) for point in one.points],
                y=medians,
                mode="lines+markers",
                marker={"color": tint, "size": 8},
                line={"color": tint, "width": 1, "dash": "dot"},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [p.summary.high - p.summary.median for p in one.points],
                    "arrayminus": [p.summary.median - p.summary.low for p in one.points],
                },
                name=text.plain(one.label),
                showlegend=False,
                hovertext=[text.lines(p.run, str(p.summary)) for p in one.points],
                hoverinfo="text",
            ),
            row=row,
            col=1,
        )
        for first, end, level in one.levels:
            figure.add_trace(
                go.Scatter(
                    x=[text.plain(one.points[index].run) for index in range(first, end)],
                    y=[level] * (end - first),
                    mode="lines",
                    line={"color": tint, "width": 3},
                    opacity=0.5,
                    hoverinfo="skip",
                    showlegend=False,
                ),
                row=row,
                col=1,
            )
        for index in one.changes:
            figure.add_vline(x=index - 0.5, line={"dash": "dash", "width": 1.5}, row=row, col=1)
        figure.update_yaxes(title_text=one.unit, rangemode="tozero", row=row, col=1)
    figure.update_xaxes(type="category")
    figure.update_layout(
        template=style.template(),
        title=text.plain(names.metric(histories[0].metric, histories[0].workload)),
        height=120 + _ROW_PX * len(histories),
    )
    return figure
