"""How the work of each trial spread over queue pairs, vhost workers and vCPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style, text
from kvmlab.results import Result, Share, Trial

if TYPE_CHECKING:
    import pandas as pd

ROW_PX = 54
_GAP = 0.03
_LEGEND_PX = 24
# Whoever did less than this part of the work was only woken by something else.
_AT_WORK = 0.01
# How much of a row its trials take together.
_FULL = 0.72
#: What is drawn where it was counted, a column each.
SHOWN = ("sent_packets", "queue_interrupts", "worker_us", "vcpu_us")


@dataclass(frozen=True)
class _Bar:
    """One trial in its place: ``row`` counts results from 0, ``middle`` is its height there."""

    result: Result
    trial: Trial
    middle: float
    width: float


def spread(*results: Result, workload: str = "tcp_up", shown: Sequence[str] = SHOWN) -> go.Figure:
    """A bar for each trial, divided by who did its work: a column for each kind of worker.

    A bar in one colour means that one queue pair (or worker, or vCPU) did it all. Trials are not
    averaged: which of several is the busy one may change from trial to trial.

    Raises:
        UsageError: no result, unlike clocks, or nothing was counted for each queue.
    """
    lines = style.notice(results)
    bars = [
        bar for row, result in enumerate(results) for bar in _row(result, row, result.of(workload))
    ]
    kinds = [kind for kind in shown if any(_of(bar.trial, kind) for bar in bars)]
    if not kinds:
        raise _not_counted()
    numbers = sorted({s.number for bar in bars for kind in kinds for s in _of(bar.trial, kind)})
    figure = go.Figure()
    width = (1 - _GAP * (len(kinds) - 1)) / len(kinds)
    for column, kind in enumerate(kinds):
        start = column * (width + _GAP)
        suffix = "" if column == 0 else str(column + 1)
        for number in numbers:
            figure.add_trace(_part(bars, kind, number, suffix, legend=column == 0))
        _axes(figure, suffix, (start, min(1.0, start + width)), results, labelled=column == 0)
        style.over_panel(figure, suffix, names.SHARES[kind], f"by {names.ONE_OF[kind]}")
    # Below the axis and its labels, measured in pixels.
    figure.update_layout(legend={"y": -_LEGEND_PX / (ROW_PX * len(results))})
    traffic = names.workload(workload)
    return style.finish(
        figure,
        title=f"Who did the work: {traffic}",
        lines=lines,
        plot_px=ROW_PX * len(results),
        head_px=42,
        bottom_px=64,
    )


def at_work(*results: Result, kind: str = "worker_us") -> pd.DataFrame:
    """How many did a part of the work worth the name: one row a result, one column a workload.

    ``kind`` is one of the names of :class:`kvmlab.results.Share`. "1 to 2" where trials differ.

    Raises:
        UsageError: nothing was counted for each queue.
    """
    import pandas as pd

    rows: dict[str, dict[str, str]] = {}
    for result in results:
        for workload in result.workloads:
            counts = [_busy(_of(trial, kind)) for trial in result.of(workload)]
            least, most = min(counts), max(counts)
            told = str(most) if least == most else f"{least} to {most}"
            row = rows.setdefault(result.label, {})
            row[names.workload(workload)] = told if most else "–"
    if not any(value != "–" for row in rows.values() for value in row.values()):
        raise _not_counted()
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = f"{names.ONE_OF[kind]}s at work"
    return frame


def _busy(shares: Sequence[Share]) -> int:
    total = sum(share.value for share in shares)
    return sum(share.value > _AT_WORK * total for share in shares)


def _not_counted() -> UsageError:
    return UsageError(
        "In these results nothing was counted for each queue.",
        todo="Only virtio cards with several queues have such counters: Virtio(queues=2).",
    )


def _row(result: Result, row: int, trials: Sequence[Trial]) -> list[_Bar]:
    height = _FULL / len(trials)
    first = row - _FULL / 2 + height / 2
    return [
        _Bar(result, trial, first + place * height, 0.86 * height)
        for place, trial in enumerate(trials)
    ]


def _of(trial: Trial, kind: str) -> list[Share]:
    return [share for share in trial.shares if share.name == kind]


def _part(bars: Sequence[_Bar], kind: str, number: int, suffix: str, *, legend: bool) -> go.Bar:
    """What one queue, worker or vCPU did in every trial."""
    percents, told = [], []
    for bar in bars:
        shares = _of(bar.trial, kind)
        total = sum(share.value for share in shares)
        own = sum(share.value for share in shares if share.number == number)
        percents.append(100 * own / total if total else 0.0)
        told.append(
            text.lines(
                bar.result.label,
                f"trial {bar.trial.number}, {names.ONE_OF[kind]} {number}: "
                f"{percents[-1]:.0f} % ({names.number(own)} {names.UNIT_OF_SHARE[kind]})",
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
        hovertext=told,
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
