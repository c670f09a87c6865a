"""Spread of the work over queue pairs, vhost workers and vCPUs, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import names, style, text
from kvmlab.results import Result, Share, Trial

ROW_PX = 54
_GAP = 0.03
_LEGEND_PX = 24
# Share of a row that its trials fill.
_FULL = 0.72
#: Kinds of work, a column each where it was counted.
SHOWN = ("sent_packets", "queue_interrupts", "worker_us", "vcpu_us")


@dataclass(frozen=True)
class _Bar:
    """One trial and its place; ``middle`` is its height, counted in rows of results."""

    result: Result
    trial: Trial
    middle: float
    width: float


def spread(*results: Result, workload: str = "tcp_up", shown: Sequence[str] = SHOWN) -> go.Figure:
    """Draw a bar for each trial, divided by who did its work: a column for each kind of worker.

    A bar in one colour means that one queue pair (or worker, or vCPU) did it all. Trials are not
    averaged: which of several is the busy one may change from trial to trial.

    Raises:
        UsageError: no result, unlike clocks, or nothing was counted for each queue.
    """
    notice = style.notice(results)
    bars = [
        bar for row, result in enumerate(results) for bar in _row(result, row, result.of(workload))
    ]
    kinds = [kind for kind in shown if any(shares_of(bar.trial, kind) for bar in bars)]
    if not kinds:
        raise not_counted()
    numbers = sorted(
        {s.number for bar in bars for kind in kinds for s in shares_of(bar.trial, kind)}
    )
    figure = go.Figure()
    width = (1 - _GAP * (len(kinds) - 1)) / len(kinds)
    for column, kind in enumerate(kinds):
        start = column * (width + _GAP)
        suffix = "" if column == 0 else str(column + 1)
        for number in numbers:
            figure.add_trace(_part(bars, kind, number, suffix, legend=column == 0))
        _axes(figure, suffix, (start, min(1.0, start + width)), results, labelled=column == 0)
        style.over_panel(
            figure,
            suffix,
            names.SHARES[kind],
            _("by {worker}").format(worker=_(names.ONE_OF[kind])),
        )
    # Below the axis and its labels, in pixels.
    figure.update_layout(legend={"y": -_LEGEND_PX / (ROW_PX * len(results))})
    traffic = names.workload(workload)
    return style.finish(
        figure,
        title=f"Who did the work: {traffic}",
        notice=notice,
        plot_px=ROW_PX * len(results),
        head_px=42,
        bottom_px=64,
    )


def not_counted() -> UsageError:
    """Return the error for results without counters of queues."""
    return UsageError(
        "In these results nothing was counted for each queue.",
        todo="Only virtio NICs with several queues have such counters: Virtio(queues=2).",
    )


def _row(result: Result, row: int, trials: Sequence[Trial]) -> list[_Bar]:
    height = _FULL / len(trials)
    first = row - _FULL / 2 + height / 2
    return [
        _Bar(result, trial, first + place * height, 0.86 * height)
        for place, trial in enumerate(trials)
    ]


def shares_of(trial: Trial, kind: str) -> list[Share]:
    """Return the shares of one kind."""
    return [share for share in trial.shares if share.name == kind]


def _part(bars: Sequence[_Bar], kind: str, number: int, suffix: str, *, legend: bool) -> go.Bar:
    """Return the share of one queue, worker or vCPU in every trial."""
    percents, hover_texts = [], []
    for bar in bars:
        shares = shares_of(bar.trial, kind)
        total = sum(share.value for share in shares)
        own = sum(share.value for share in shares if share.number == number)
        percents.append(100 * own / total if total else 0.0)
        hover_texts.append(
            text.lines(
                bar.result.label,
                _("trial {trial}, {worker} {number}: {percent} % ({value} {unit})").format(
                    trial=bar.trial.number,
                    worker=_(names.ONE_OF[kind]),
                    number=number,
                    percent=f"{percents[-1]:.0f}",
                    value=names.number(own),
                    unit=_(names.UNIT_OF_SHARE[kind]),
                ),
            )
        )
    return go.Bar(
        x=percents,
        y=[bar.middle for bar in bars],
        width=[bar.width for bar in bars],
        orientation="h",
        name=str(number),
        legendgroup=str(number),
        showlegend=legend,
        marker={"color": style.PALETTE[number % len(style.PALETTE)], "opacity": 0.85},
        hovertext=hover_texts,
        hoverinfo="text",
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
    )


def _axes(
    figure: go.Figure,
    suffix: str,
    domain: tuple[float, float],
    results: Sequence[Result],
    *,
    labelled: bool,
) -> None:
    figure.update_layout(
        {
            f"xaxis{suffix}": {
                "domain": list(domain),
                "anchor": f"y{suffix}",
                "range": [0, 100],
                "tickvals": [0, 50, 100],
                # Nothing at 0: it would meet the 100 % of the column before.
                "ticktext": ["", "50 %", "100 %"],
                "fixedrange": True,
            },
            f"yaxis{suffix}": {
                "anchor": f"x{suffix}",
                "range": [len(results) - 0.45, -0.55],
                "tickvals": list(range(len(results))),
                "ticktext": [style.wrapped(result.label) for result in results],
                "showticklabels": labelled,
                "tickfont": {"size": 13, "color": style.INK},
                "showgrid": False,
                "fixedrange": True,
            },
            "barmode": "stack",
            "legend": {
                "title": {"text": "number of the queue pair, worker or vCPU:"},
                "orientation": "h",
                "x": 0,
                "y": 0,
                "xanchor": "left",
                "yanchor": "top",
                "yref": "paper",
                "traceorder": "normal",
            },
        }
    )
