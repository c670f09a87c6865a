"""The timeline of one echo as a picture: a lane for each of the parts that a packet passes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kvmlab.errors import UsageError
from kvmlab.language import _, typeset
from kvmlab.report import names, style
from kvmlab.results.timeline import Lane, Mark, MarkKind, Span, Timeline

_LANE_PX, _HEAD_PX = 30, 46
_NOTICE_COLUMNS = 116
_COLOURS: dict[Lane, str] = {
    "guest": "#c3c9cf",
    "vCPU in KVM": style.SKY,
    "vCPU in QEMU": style.YELLOW,
    "main loop": style.ORANGE,
    "QEMU's other threads": style.AMBER,
    "vhost worker": style.GREEN,
    "interrupt": "#8a5fbf",
    "softirq": style.PINK,
    "peer": style.BLUE,
    "peer after sending": "#9cc3e0",
    "other programs": style.GREY,
    "idle": "#eceff2",
}
_SYMBOLS: dict[MarkKind, str] = {
    "exit": "x",
    "system call": "line-ns-open",
    "interrupt": "diamond",
    "packet": "circle-open",
}
_LEGEND: dict[MarkKind, str] = {
    "exit": "VM exit",
    "system call": "system call",
    "interrupt": "interrupt",
    "packet": "packet at a device",
}


def timeline(*timelines: Timeline) -> go.Figure:
    """Draw echoes below one another, on one scale: lanes as rows, time from left to right.

    Bars are what ran; pale ones ran beside the path of the echo, on another CPU. Arrows are
    wake-ups. Other marks are VM exits, system calls, interrupts, and packets at devices; the name
    of each is shown at the pointer.

    Raises:
        UsageError: there is no timeline, or their clocks differ.
    """
    notice = _notice(timelines)
    heights = [_LANE_PX * len(one.lanes) for one in timelines]
    total_px = sum(heights) + _HEAD_PX * (len(timelines) - 1)
    figure = make_subplots(
        rows=len(timelines),
        shared_xaxes=True,
        row_heights=[height / total_px for height in heights],
        vertical_spacing=_HEAD_PX / total_px if len(timelines) > 1 else 0,
    )
    for row, one in enumerate(timelines, start=1):
        _panel(figure, one, row)
    _mark_legend(figure, timelines)
    longest = max(one.total_us for one in timelines)
    figure.update_xaxes(range=[0, longest * 1.01], fixedrange=True)
    figure.update_xaxes(title={"text": "µs from the begin of the echo"}, row=len(timelines))
    figure.update_layout(barmode="overlay", bargap=0.25)
    heading = "One echo from the peer" if len(timelines) > 1 else _heading(timelines[0])
    figure = style.finish(
        figure,
        title=heading,
        notice=notice,
        plot_px=total_px,
        left_px=150,
        head_px=34 if len(timelines) > 1 else 12,
        bottom_px=84,
    )
    figure.update_layout(legend={"y": -70 / total_px, "yanchor": "bottom", "x": 0})
    return figure


def _notice(timelines: Sequence[Timeline]) -> style.Notice:
    if not timelines:
        raise UsageError("There is no timeline to draw.", todo="Trace one: lab.timeline(nic).")
    if len({one.clock for one in timelines}) > 1:
        raise UsageError("Timelines of different clocks do not compare.")
    notice = style.notice_of((one.emulated for one in timelines), timelines[0].clock)
    missing = dict.fromkeys(reason for one in timelines for reason in one.missing)
    if not missing:
        return notice
    sentence = _("Not told apart, for want of tracepoints: {missing}.").format(
        missing=_("; ").join(map(_, missing))
    )
    lines = (*notice.lines, *textwrap.wrap(sentence, _NOTICE_COLUMNS))
    return style.Notice(lines, f"{notice.full} {sentence}".strip())


def _heading(one: Timeline) -> str:
    untraced = ""
    if one.untraced_us is not None:
        untraced = _(" ({duration} untraced)").format(duration=names.duration(one.untraced_us))
    return _("{scheme}: one echo in {duration}{untraced}").format(
        scheme=_(one.label), duration=names.duration(one.total_us), untraced=untraced
    )


def _panel(figure: go.Figure, one: Timeline, row: int) -> None:
    rows = [str(lane) for lane in reversed(one.lanes)]
    for lane in one.lanes:
        spans = [span for span in one.spans if span.lane == lane]
        on_path = [span for span in one.path if span.lane == lane]
        _bars(figure, lane, spans, row, pale=True)
        _bars(figure, lane, on_path, row, pale=False)
    for kind, symbol in _SYMBOLS.items():
        marks = [mark for mark in one.marks if mark.kind == kind and mark.lane in one.lanes]
        figure.add_trace(
            go.Scatter(
                x=[mark.at_us for mark in marks],
                y=[mark.lane for mark in marks],
                mode="markers",
                marker={"symbol": symbol, "size": 8, "color": style.INK, "line": {"width": 1.4}},
                hovertext=[
                    names.valued(names.duration(mark.at_us), typeset(f"{_(kind)} {_(mark.name)}"))
                    for mark in marks
                ],
                hoverinfo="text",
                showlegend=False,
                name=kind,
            ),
            row=row,
            col=1,
        )
    _wake_ups(figure, one, row)
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=rows,
        tickvals=rows,
        ticktext=[_(lane) for lane in rows],
        fixedrange=True,
        showgrid=False,
        row=row,
        col=1,
    )
    suffix = "" if row == 1 else str(row)
    if len(list(figure.select_yaxes())) > 1:
        style.over_panel(figure, suffix, _heading(one))
        figure.layout.annotations[-1].update(yref=f"y{suffix} domain")


def _bars(figure: go.Figure, lane: Lane, spans: Sequence[Span], row: int, *, pale: bool) -> None:
    beside = _(", beside the path") if pale else ""
    figure.add_trace(
        go.Bar(
            orientation="h",
            y=[lane] * len(spans),
            x=[span.us for span in spans],
            base=[span.begin_us for span in spans],
            marker={"color": _COLOURS[lane], "opacity": 0.3 if pale else 1, "line": {"width": 0}},
            hovertext=[
                _("{lane}: {duration} from {begin}").format(
                    lane=_(lane),
                    duration=names.duration(span.us),
                    begin=names.duration(span.begin_us),
                )
                + beside
                for span in spans
            ],
            hoverinfo="text",
            showlegend=False,
            name=lane,
        ),
        row=row,
        col=1,
    )


def _wake_ups(figure: go.Figure, one: Timeline, row: int) -> None:
    suffix = "" if row == 1 else str(row)
    for mark in _drawn(one):
        figure.add_annotation(
            x=mark.at_us,
            ax=mark.at_us,
            y=mark.to_lane,
            ay=mark.lane,
            xref=f"x{suffix}",
            yref=f"y{suffix}",
            axref=f"x{suffix}",
            ayref=f"y{suffix}",
            text="",
            hovertext=typeset(
                _("{time}: {lane} wakes {woken}").format(
                    time=names.duration(mark.at_us), lane=_(mark.lane), woken=_(mark.name)
                )
            ),
            showarrow=True,
            arrowhead=2,
            arrowsize=1,
            arrowwidth=1.3,
            arrowcolor=style.INK,
        )


def _drawn(one: Timeline) -> list[Mark]:
    """Return the wake-ups between two of the lanes that are drawn."""
    return [
        mark
        for mark in one.marks
        if mark.kind == "wake-up"
        and mark.to_lane in one.lanes
        and mark.lane in one.lanes
        and mark.to_lane != mark.lane
    ]


def _mark_legend(figure: go.Figure, timelines: Sequence[Timeline]) -> None:
    for kind, label in _LEGEND.items():
        if any(one.count(kind) for one in timelines):
            figure.add_trace(
                go.Scatter(
                    x=[None],
                    y=[timelines[0].lanes[0]],
                    mode="markers",
                    marker={
                        "symbol": _SYMBOLS[kind],
                        "size": 8,
                        "color": style.INK,
                        "line": {"width": 1.4},
                    },
                    name=label,
                ),
                row=1,
                col=1,
            )
    if any(_drawn(one) for one in timelines):
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[timelines[0].lanes[0]],
                mode="markers",
                marker={"symbol": "triangle-down", "size": 9, "color": style.INK},
                name="wake-up",
            ),
            row=1,
            col=1,
        )
