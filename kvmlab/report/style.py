"""The look of every figure: quiet, labelled at the data, safe for colour-blind readers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

from kvmlab.clock import Clock
from kvmlab.report import text
from kvmlab.results import Result, require_one_clock

INK = "#1f2933"
QUIET = "#5b6670"
LINE = "#dfe3e8"
WARN = "#8a4b00"
FONT = (
    "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', "
    "'Microsoft YaHei', sans-serif"
)
# Okabe and Ito's colours, which stay apart for colour-blind readers. A scheme keeps its colour
# through all notebooks.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
AMBER, SKY, PINK, GREY = "#e69f00", "#56b4e9", "#cc79a7", "#7f8790"
YELLOW = "#f0e442"
PALETTE = (BLUE, ORANGE, GREEN, AMBER, SKY, PINK, GREY)
SCHEMES = {
    "e1000": ORANGE,
    "e1000e": AMBER,
    "virtio-qemu": BLUE,
    "virtio-vhost": GREEN,
    "macvtap": SKY,
    "sriov-vf": PINK,
    "passthrough": GREY,
}
#: What fits beside a figure's rows.
LABEL_COLUMNS = 20
NOTICE_COLUMNS = 116
_LINE_PX = 16


def colour(scheme: str, index: int) -> str:
    """The colour of a scheme, or the next of the palette for one that has none of its own."""
    return SCHEMES.get(scheme, PALETTE[index % len(PALETTE)])


def notice(results: Sequence[Result]) -> list[str]:
    """The lines every figure shows: that a host is emulated and what its clock means.

    Raises:
        UsageError: the results are of different clocks.
    """
    clock = require_one_clock(results)
    return notice_lines((result.emulated for result in results), clock)


def notice_lines(emulated: Iterable[str | None], clock: Clock) -> list[str]:
    """The same from its parts; empty for real hardware under wall time."""
    said = list(dict.fromkeys(sentence for sentence in emulated if sentence))
    if not said and clock is Clock.WALL:
        return []
    return textwrap.wrap(" ".join((*said, clock.meaning)), NOTICE_COLUMNS)


def finish(
    figure: go.Figure,
    *,
    title: str,
    lines: Sequence[str],
    plot_px: int,
    left_px: int = 150,
    bottom_px: int = 46,
    head_px: int = 40,
) -> go.Figure:
    """Give a figure its title, the notice under it, its margins and its height.

    ``plot_px`` is the height of the plot alone, ``head_px`` the room above it for the headings
    of panels; the notice adds its lines to the height.
    """
    notice_px = _LINE_PX * len(lines)
    top = 44 + notice_px + head_px
    height = top + plot_px + bottom_px
    figure.update_layout(
        template=template(),
        autosize=True,
        height=height,
        margin={"l": left_px, "r": 24, "t": top, "b": bottom_px},
    )
    _heading(figure, title, lines, top_px=top, left_px=left_px)
    figure.update_layout(meta={"title": title, "notice": " ".join(lines)})
    return figure


def _heading(
    figure: go.Figure, title: str, lines: Sequence[str], *, top_px: int, left_px: int
) -> None:
    """Title and notice as annotations measured in pixels from the top left of the figure."""
    place = {
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "top",
        "align": "left",
        "showarrow": False,
        "xshift": 6 - left_px,
    }
    figure.add_annotation(
        text=text.bold(title),
        font={"size": 16, "color": INK},
        yshift=top_px - 8,
        **place,
    )
    if lines:
        figure.add_annotation(
            text=text.lines(*lines),
            font={"size": 12, "color": WARN},
            yshift=top_px - 34,
            name="notice",
            **place,
        )


def template() -> go.layout.Template:
    """The house template: white paper, one quiet grid, no boxes."""
    axis = {
        "gridcolor": LINE,
        "linecolor": QUIET,
        "zeroline": False,
        "ticks": "",
        "automargin": False,
        "title": {"font": {"size": 12, "color": QUIET}, "standoff": 6},
        "tickfont": {"size": 12, "color": QUIET},
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "colorway": list(PALETTE),
            "xaxis": axis,
            "yaxis": {**axis, "ticklabelstandoff": 8},
            "hoverlabel": {"font": {"family": FONT, "size": 12}, "align": "left"},
            "legend": {
                "orientation": "h",
                "font": {"size": 12},
                "itemclick": False,
                "itemdoubleclick": False,
            },
            "hovermode": "closest",
            "dragmode": False,
        }
    )


def over_panel(figure: go.Figure, suffix: str, title: str, *lines: str) -> None:
    """A panel's title and what it needs to be read, above its x axis ("", "2", "3", …)."""
    figure.add_annotation(
        text=text.lines(text.bold(title), *lines),
        xref=f"x{suffix} domain",
        yref="paper",
        x=0,
        y=1,
        xanchor="left",
        yanchor="bottom",
        align="left",
        showarrow=False,
        font={"size": 12},
        yshift=4,
    )


def wrapped(label: str) -> str:
    """A long label on several lines: broken at its first comma, before its host, and where needed.

    >>> str(wrapped("virtio, vhost, on kvm1"))
    'virtio,<br>vhost,<br>on kvm1'
    """
    scheme, on, host = label.rpartition(", on ")
    head, comma, tail = (f"{scheme}," if on else label).partition(", ")
    there = f"on {host}" if on else ""
    return text.lines(f"{head}{comma.strip()}", *textwrap.wrap(tail, LABEL_COLUMNS), there)
