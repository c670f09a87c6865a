"""Path of one packet as a figure, drawn from its traced hops."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import names, style, text
from kvmlab.report.path_stations import Lane, Station, stations
from kvmlab.results import Path, Result, Side

_BAND = {"guest": "#eaf3fa", "host": "#f3f4f6", "peer": "#eef7f2"}
_BAND_NAMES: dict[Side, str] = {"guest": "test VM", "host": "host", "peer": "peer"}
_LANES: dict[Lane, float] = {"user space": 1.0, "kernel": 0.0}
_HALF_WIDTH, _HALF_HEIGHT = 0.39, 0.2
_TOP, _BOTTOM = 1.62, -0.62
_REQUEST, _REPLY = style.BLUE, style.ORANGE


def path(result: Result) -> go.Figure:
    """Draw the stations of one echo and its reply: devices, the threads between them, the cable.

    Solid boxes were seen in a tracepoint, dashed ones are inferred. Under each box are the times
    at which the request (→) and the reply (←) were first seen there.

    Raises:
        UsageError: the result has no traced path.
    """
    if result.path is None or not result.path.hops:
        raise UsageError(
            f"The result of {result.label} has no traced path.",
            todo="Trace one with `lab.trace(nic)`.",
        )
    notice = style.notice((result,))
    path_stations = stations(result.path)
    figure = go.Figure()
    _bands(figure, path_stations)
    _arrows(figure, path_stations)
    for station in path_stations:
        _box(figure, station)
    _hover(figure, path_stations)
    right = len(path_stations) - 0.45
    figure.update_xaxes(visible=False, range=[-0.55, right], fixedrange=True)
    figure.update_yaxes(visible=False, range=[_BOTTOM, _TOP], fixedrange=True)
    _legend(figure)
    return style.finish(
        figure,
        title=_("The path of one ping: {scheme}").format(scheme=_(result.label))
        + _duration(result.path),
        notice=notice,
        plot_px=250,
        left_px=70,
        head_px=0,
        bottom_px=44,
    )


def _duration(path: Path) -> str:
    """Return the traced time, which begins at the first device and not in the VM."""
    traced = [hop for hop in path.leg("request") if not hop.inferred]
    if not path.round_trip_us or not traced:
        return ""
    return _(", {duration} from {device} and back").format(
        duration=names.duration(path.round_trip_us), device=traced[0].device
    )


def _bands(figure: go.Figure, path_stations: Sequence[Station]) -> None:
    """Draw a field for each machine, and the line between user space and kernel."""
    for side, name in _BAND_NAMES.items():
        columns = [station.column for station in path_stations if station.side == side]
        if not columns:
            continue
        left, right = min(columns) - 0.48, max(columns) + 0.48
        figure.add_shape(
            type="rect",
            x0=left,
            x1=right,
            y0=_BOTTOM,
            y1=_TOP,
            fillcolor=_BAND[side],
            line={"width": 0},
            layer="below",
        )
        _text(figure, left + 0.04, _TOP - 0.03, text.bold(name), anchor="left", top=True)
    figure.add_shape(
        type="line",
        x0=-0.48,
        x1=len(path_stations) - 0.52,
        y0=0.5,
        y1=0.5,
        line={"color": style.GREY, "width": 1, "dash": "dot"},
        layer="below",
    )
    for lane, y in _LANES.items():
        figure.add_annotation(
            x=0,
            xref="paper",
            xshift=-8,
            xanchor="right",
            y=y,
            text=text.lines(*_(lane).split(" ")),
            align="right",
            showarrow=False,
            font={"size": 12, "color": style.QUIET},
        )


def _box(figure: go.Figure, station: Station) -> None:
    """Draw one station: its name, its kind, and when the packet was there."""
    x, y = station.column, _LANES[station.lane]
    figure.add_shape(
        type="rect",
        x0=x - _HALF_WIDTH,
        x1=x + _HALF_WIDTH,
        y0=y - _HALF_HEIGHT,
        y1=y + _HALF_HEIGHT,
        fillcolor="#fff3e6" if station.mover else "white",
        line={"color": style.INK, "width": 1.4, "dash": "dash" if station.inferred else "solid"},
    )
    kind = "" if station.kind == station.name else station.kind
    below = text.tinted(kind, style.QUIET) if kind else ""
    _text(figure, x, y, text.lines(*map(text.bold, _two_lines(station.name)), below))
    times = []
    if station.request_us is not None:
        times.append(text.tinted(f"→ {names.duration(station.request_us)}", _REQUEST))
    if station.reply_us is not None:
        times.append(text.tinted(f"← {names.duration(station.reply_us)}", _REPLY))
    if times:
        _text(figure, x, y - _HALF_HEIGHT - 0.03, text.lines(*times), top=True)


def _arrows(figure: go.Figure, path_stations: Sequence[Station]) -> None:
    """Draw the request, and the reply below it, between every two neighbours."""
    for left, right in itertools.pairwise(path_stations):
        for shift, tint, ends in (
            (0.07, _REQUEST, (left, right)),
            (-0.07, _REPLY, (right, left)),
        ):
            start, stop = ends
            sign = 1 if stop.column > start.column else -1
            figure.add_annotation(
                ax=start.column + sign * _HALF_WIDTH,
                ay=_LANES[start.lane] + shift,
                x=stop.column - sign * _HALF_WIDTH,
                y=_LANES[stop.lane] + shift,
                axref="x",
                ayref="y",
                xref="x",
                yref="y",
                text="",
                showarrow=True,
                arrowhead=2,
                arrowsize=1,
                arrowwidth=1.8,
                arrowcolor=tint,
            )


def _hover(figure: go.Figure, path_stations: Sequence[Station]) -> None:
    """Add what the tracepoints recorded at a station, shown when the pointer is on it."""
    figure.add_trace(
        go.Scatter(
            x=[station.column for station in path_stations],
            y=[_LANES[station.lane] for station in path_stations],
            mode="markers",
            marker={"size": 46, "opacity": 0},
            hovertext=[_hover_text(station) for station in path_stations],
            hoverinfo="text",
            showlegend=False,
            name="stations",
        )
    )


def _hover_text(station: Station) -> str:
    if not station.hops:
        return _("{station}: not traced").format(station=_(station.name))
    lines: list[str] = [text.spaced(text.bold(_(station.name)), _(station.kind))]
    for hop in station.hops:
        source = (
            _("inferred: {note}").format(note=_(hop.note))
            if hop.inferred
            else _("{event} by {carrier}").format(event=hop.event, carrier=_(hop.carrier))
        )
        device = f"{hop.device}: " if station.mover else ""
        lines.append(f"{device}{_(hop.leg)} {_(hop.direction)}, {source}")
    return text.lines(*lines)


def _legend(figure: go.Figure) -> None:
    style.below(
        figure,
        text.spaced(
            text.tinted("→ request", _REQUEST),
            text.tinted("← reply", _REPLY),
            "time since the request was first seen",
        ),
        text.spaced(
            "solid box: seen in a tracepoint or run by the lab",
            "dashed box: inferred from the boxes beside it",
        ),
    )


def _text(
    figure: go.Figure, x: float, y: float, label: str, *, anchor: str = "center", top: bool = False
) -> None:
    more: dict[str, Any] = {"yanchor": "top"} if top else {}
    figure.add_annotation(
        x=x, y=y, text=label, xanchor=anchor, showarrow=False, font={"size": 12}, **more
    )


def _two_lines(name: str) -> list[str]:
    """Break a name of several words into two lines, so that boxes stay narrow."""
    if len(name) <= 12 or " " not in name:
        return [name]
    head, _, tail = name.partition(" ")
    return [head, tail]
