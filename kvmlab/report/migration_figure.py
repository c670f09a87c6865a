"""A live migration as a picture: phases, round trips and throughput on one time axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kvmlab.errors import UsageError
from kvmlab.language import N_, translate
from kvmlab.report import names, style
from kvmlab.results.migration import TRAFFIC_TEXTS, MigrationResult, Via

if TYPE_CHECKING:
    import pandas as pd

    from kvmlab.results.migration_figures import MigrationFigures

_PHASE_PX: Final = 22
_PANEL_PX: Final = 150
_GAP_PX: Final = 34
_BIN_SEC: Final = 0.1
_TRIP_TICKS_MS: Final = (0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
#: What is shown before the migration: the recording may begin long before it.
_BEFORE_SEC: Final = 2.0
_COLOURS: Final[dict[Via, str]] = {
    "VF": style.GREEN,
    "virtio on A": style.BLUE,
    "virtio on B": style.ORANGE,
    "": style.INK,
}
_PHASES: Final = {
    N_("unplug"): style.PINK,
    N_("stop"): style.WARN,
    N_("announce"): style.ORANGE,
    "VF back": style.GREEN,
}

_Panel = Callable[[go.Figure, MigrationResult, int], None]


def migration(result: MigrationResult) -> go.Figure:
    """Draw one migration: its phases, then each round trip or packet, then the throughput.

    Time is in seconds of the hosts' clock from QEMU's first event. The hole is shaded, with its
    length; a colour is the card by which a packet left the VM.

    Raises:
        UsageError: the recording has no traffic.
    """
    panels = _panels(result)
    if not panels:
        raise UsageError("This migration has no traffic to draw.")
    phases = len(result.phases)
    heights = [max(1, phases) * _PHASE_PX, *(_PANEL_PX for _ in panels)]
    total = sum(heights) + _GAP_PX * len(panels)
    figure = make_subplots(
        rows=len(heights),
        shared_xaxes=True,
        row_heights=[height / total for height in heights],
        vertical_spacing=_GAP_PX / total,
    )
    _draw_phases(figure, result)
    for row, panel in enumerate(panels, start=2):
        panel(figure, result, row)
    _mark_hole(figure, result)
    begin, _ = result.span
    figure.update_xaxes(
        range=[-min(begin, _BEFORE_SEC), result.seconds - begin + 0.1], zeroline=False
    )
    figure.update_xaxes(title={"text": "s from the begin of the migration"}, row=len(heights))
    remedy = f"{translate(', ')}{translate(result.remedy)}" if result.remedy else ""
    figure = style.finish(
        figure,
        title=translate("{migration}: the VM {does}").format(
            migration=f"{translate(result.label)}{remedy}",
            does=translate(TRAFFIC_TEXTS[result.traffic]),
        ),
        notice=style.notice_of((result.emulated,), result.clock),
        plot_px=total,
        left_px=150,
        head_px=12,
        bottom_px=84,
    )
    figure.update_layout(barmode="overlay", legend={"y": -70 / total, "yanchor": "bottom", "x": 0})
    return figure


def migration_table(*results: MigrationResult) -> pd.DataFrame:
    """Return one row for each figure and one column for each migration.

    Raises:
        UsageError: there is no migration.
    """
    import pandas as pd

    if not results:
        raise UsageError("There is no migration to tabulate.")
    rows = [dict(result.rows()) for result in results]
    index = list(dict.fromkeys(name for row in rows for name in row))
    labels = [f"{number}. {result.label}" for number, result in enumerate(results, start=1)]
    columns = {
        label: [row.get(name, "–") for name in index]
        for label, row in zip(labels, rows, strict=True)
    }
    return pd.DataFrame(columns, index=pd.Index(index, name="migration"))


def answers_table(*figures: MigrationFigures) -> pd.DataFrame:
    """Return one row for each answer to the migration question, with where its figures come from.

    Raises:
        UsageError: there is none.
    """
    import pandas as pd

    if not figures:
        raise UsageError("There is no migration to tabulate.")
    rows = [
        {
            "answer": one.label,
            "the VM": TRAFFIC_TEXTS[one.traffic],
            "remedy": one.remedy or "–",
            "downtime by libvirt": f"{one.downtime_ms} ms",
            "hole as the peer sees it": f"{one.hole_ms:.0f} ms",
            "packets lost": f"{one.lost} of {one.sent}",
            "migrations": one.count,
            "measured": one.source,
        }
        for one in figures
    ]
    return pd.DataFrame(rows).set_index("answer")


def _panels(result: MigrationResult) -> Sequence[_Panel]:
    panels: list[_Panel] = []
    if any(packet.rtt_ms is not None for packet in result.packets):
        panels.append(_draw_round_trips)
    if result.packets:
        panels.append(_draw_arrivals)
    if result.stream:
        panels.append(_draw_stream)
    return panels


def _draw_phases(figure: go.Figure, result: MigrationResult) -> None:
    begin, _ = result.span
    for phase in result.phases:
        figure.add_trace(
            go.Bar(
                orientation="h",
                y=[phase.name],
                x=[phase.end_sec - phase.begin_sec],
                base=[phase.begin_sec - begin],
                marker={"color": _PHASES.get(phase.name, style.SKY), "line": {"width": 0}},
                hovertext=[
                    names.valued(phase.name, f"{(phase.end_sec - phase.begin_sec) * 1000:.0f} ms")
                ],
                hoverinfo="text",
                showlegend=False,
            ),
            row=1,
            col=1,
        )
    phases = [phase.name for phase in reversed(result.phases)]
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=phases,
        tickvals=phases,
        ticktext=phases,
        fixedrange=True,
        showgrid=False,
        row=1,
        col=1,
    )


def _draw_round_trips(figure: go.Figure, result: MigrationResult, row: int) -> None:
    begin, _ = result.span
    for via, colour in _COLOURS.items():
        packets = [p for p in result.packets if p.via == via and p.rtt_ms is not None]
        if not packets:
            continue
        figure.add_trace(
            go.Scatter(
                x=[packet.at_sec - begin for packet in packets],
                y=[packet.rtt_ms for packet in packets],
                mode="markers",
                marker={"size": 5, "color": colour},
                name=via or "answers",
                hovertemplate="%{y:.2f} ms at %{x:.2f} s<extra></extra>",
            ),
            row=row,
            col=1,
        )
    figure.update_yaxes(
        title={"text": "round trip, ms"},
        type="log",
        tickvals=_TRIP_TICKS_MS,
        ticktext=[f"{tick:g}" for tick in _TRIP_TICKS_MS],
        row=row,
        col=1,
    )


def _draw_arrivals(figure: go.Figure, result: MigrationResult, row: int) -> None:
    begin, _ = result.span
    count = int(result.seconds / _BIN_SEC) + 1
    arrived = [0] * count
    for packet in result.packets:
        arrived[min(count - 1, max(0, int(packet.at_sec / _BIN_SEC)))] += 1
    figure.add_trace(
        go.Scatter(
            x=[(index + 0.5) * _BIN_SEC - begin for index in range(count - 1)],
            y=[number / _BIN_SEC for number in arrived[:-1]],
            mode="lines",
            line={"color": style.INK, "width": 1.5, "shape": "hv"},
            showlegend=False,
            hovertemplate="%{y:.0f}/s at %{x:.1f} s<extra></extra>",
        ),
        row=row,
        col=1,
    )
    figure.update_yaxes(title={"text": "packets/s"}, rangemode="tozero", row=row, col=1)


def _draw_stream(figure: go.Figure, result: MigrationResult, row: int) -> None:
    begin, _ = result.span
    points = []
    last_at, last_size = result.stream[0]
    for at_sec, size in result.stream[1:]:
        if at_sec - last_at < _BIN_SEC:
            continue
        points.append((at_sec, (size - last_size) * 8 / (at_sec - last_at) / 1e6))
        last_at, last_size = at_sec, size
    figure.add_trace(
        go.Scatter(
            x=[at_sec - begin for at_sec, _ in points],
            y=[rate for _, rate in points],
            mode="lines",
            line={"color": style.BLUE, "width": 1.5},
            showlegend=False,
            hovertemplate="%{y:.0f} Mbit/s at %{x:.1f} s<extra></extra>",
        ),
        row=row,
        col=1,
    )
    figure.update_yaxes(title={"text": "Mbit/s"}, rangemode="tozero", row=row, col=1)


def _mark_hole(figure: go.Figure, result: MigrationResult) -> None:
    start, _ = result.span
    begin, end = result.hole
    figure.add_vrect(
        x0=begin - start, x1=end - start, fillcolor=style.WARN, opacity=0.18, line={"width": 0}
    )
    figure.add_annotation(
        text=f"hole: {result.hole_ms:.0f} ms",
        # In the gap above the panel, where no packet is drawn.
        x=(begin + end) / 2 - start,
        xref="x2",
        y=1,
        yref="y2 domain",
        xanchor="center",
        yanchor="bottom",
        showarrow=False,
        font={"color": style.WARN},
    )
