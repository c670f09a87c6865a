"""Style of every figure: quiet, labelled at the data, safe for colour-blind readers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any, Final

import plotly.graph_objects as go
from markupsafe import escape
from rich.cells import cell_len

from kvmlab.clock import Clock
from kvmlab.language import ENGLISH, _, current_language, translate, typeset
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
# Okabe and Ito's palette for colour-blind readers, its yellow darkened: reports invert figures in a
# dark browser, where the original all but vanishes. A scheme has one colour in all notebooks.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
AMBER, SKY, PINK, GREY = "#e69f00", "#56b4e9", "#cc79a7", "#7f8790"
YELLOW = "#c9a200"
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
#: Width of the labels beside a figure's rows.
LABEL_COLUMNS = 20
_LINE_PX = 16
_TAG = re.compile(r"(<[^<>]+>| {3,})")


def colour(scheme: str, index: int) -> str:
    """Return the colour of a scheme, or the next of the palette for one without its own."""
    return SCHEMES.get(scheme, PALETTE[index % len(PALETTE)])


@dataclass(frozen=True)
class Notice:
    """Notice of a figure about an emulated host, its clock, and marks in the figure.

    ``lines`` are drawn under the title; ``full`` is the whole text, in the figure's metadata.
    """

    lines: tuple[str, ...] = ()
    full: str = ""

    def with_line(self, line: str) -> Notice:
        """Return the notice with one more line."""
        return Notice((*self.lines, _(line)), f"{self.full} {_(line)}".strip())


def notice(results: Sequence[Result]) -> Notice:
    """Return the notice of a figure: one line for an emulated host, none for real hardware.

    Raises:
        UsageError: the results are of different clocks.
    """
    clock = require_one_clock(results)
    return notice_of((result.emulated for result in results), clock)


def notice_of(emulated: Iterable[str | None], clock: Clock) -> Notice:
    """Return the notice for sentences about emulated hosts (None: real hardware) and a clock."""
    sentences = list(dict.fromkeys(sentence for sentence in emulated if sentence))
    if not sentences and clock is Clock.WALL:
        return Notice()
    # Only an emulated host has a virtual clock, also where nothing else is known of it.
    line = _(
        "{host}, {clock} time: compare ratios and counts, not speeds with real servers."
    ).format(host=_("Emulated host"), clock=_(clock.value))
    return Notice((line,), " ".join((*map(_, sentences), _(clock.meaning))))


def finish(
    figure: go.Figure,
    *,
    title: str,
    notice: Notice,
    plot_px: int,
    left_px: int = 150,
    bottom_px: int = 46,
    head_px: int = 40,
) -> go.Figure:
    """Set title, notice, margins and height of a figure, and return it.

    ``plot_px`` is the height of the plot alone, ``head_px`` the room above it for the headings
    of panels; the notice adds its lines to the height.
    """
    notice_px = _LINE_PX * len(notice.lines)
    top = 44 + notice_px + head_px
    height = top + plot_px + bottom_px
    figure.update_layout(
        template=template(),
        autosize=True,
        height=height,
        margin={"l": left_px, "r": 24, "t": top, "b": bottom_px},
    )
    _heading(figure, title, notice.lines, top_px=top, left_px=left_px)
    figure.update_layout(meta={"title": title, "notice": notice.full})
    if current_language() != ENGLISH:
        translate_figure(figure)
    return figure


#: Properties of traces and of the layout that hold text for people.
_TEXTS: Final = ("name", "text", "hovertext", "ticktext", "title", "notice")


def translate_figure(figure: go.Figure) -> None:
    """Put every text of a figure into the reader's language, in place; markup stays as it is."""
    for trace in figure.data:
        trace.update(_translated_texts(trace.to_plotly_json()))
    layout = figure.layout.to_plotly_json()
    changed = {
        name: _translated_texts(value)
        for name, value in layout.items()
        if name.startswith(("xaxis", "yaxis")) or name in ("meta", "legend")
    }
    figure.update_layout(changed)
    for annotation in figure.layout.annotations:
        annotation.text = _translated_markup(annotation.text or "")


def _translated_texts(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts among the properties of a trace or axis, translated."""
    changed: dict[str, Any] = {}
    for name, value in properties.items():
        if isinstance(value, dict):
            inner = _translated_texts(value)
            if inner:
                changed[name] = inner
        elif name in _TEXTS and isinstance(value, str):
            changed[name] = _translated_markup(value)
        elif name in _TEXTS and isinstance(value, list | tuple):
            changed[name] = [
                _translated_markup(item) if isinstance(item, str) else item for item in value
            ]
    return changed


def _translated_markup(markup: str) -> str:
    """Translate what stands between the tags of a plotly text."""
    parts = _TAG.split(markup)
    return "".join(
        part if index % 2 else str(escape(typeset(translate(unescape(part)))))
        for index, part in enumerate(parts)
    )


def _heading(
    figure: go.Figure, title: str, lines: Sequence[str], *, top_px: int, left_px: int
) -> None:
    """Add title and notice as annotations, in pixels from the top left of the figure."""
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
    """Return the template of all figures: white paper, a quiet grid, no boxes."""
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
    """Add a panel's title and subtitles above its x axis ("", "2", "3", …)."""
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


def below(figure: go.Figure, *lines: str) -> None:
    """Add a legend in lines of text below the figure's axes."""
    figure.add_annotation(
        text=text.lines(*lines),
        xref="paper",
        yref="paper",
        x=0,
        y=0,
        xanchor="left",
        yanchor="top",
        align="left",
        showarrow=False,
        font={"size": 12, "color": QUIET},
        yshift=-8,
    )


def wrapped(label: str) -> str:
    """Break a long label into lines: at its first comma, before its host, and where needed.

    >>> str(wrapped("virtio, vhost, on kvm1"))
    'virtio,<br>vhost,<br>on kvm1'
    """
    label = _(label)
    if cell_len(label) > len(label):
        return text.lines(*_wrapped_han(label))
    scheme, on, host = label.rpartition(", on ")
    head, comma, tail = (f"{scheme}," if on else label).partition(", ")
    there = f"on {host}" if on else ""
    return text.lines(f"{head}{comma.strip()}", *textwrap.wrap(tail, LABEL_COLUMNS), there)


def _wrapped_han(label: str) -> list[str]:
    """Break a Chinese label after its first comma, then where a line would get too long.

    >>> _wrapped_han("virtio，QEMU 后端，在内嵌宿主机上")
    ['virtio，', 'QEMU 后端，', '在内嵌宿主机上']
    """
    first, *parts = re.split("(?<=，)", label)
    rows = [first, ""]
    for part in parts:
        if rows[-1] and cell_len(rows[-1] + part) > LABEL_COLUMNS:
            rows.append("")
        rows[-1] += part
    return rows
