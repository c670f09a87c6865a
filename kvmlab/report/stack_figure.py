"""The stacks on a host's ports as a picture: what is built on each port, and who uses it."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import plotly.graph_objects as go
from rich.cells import cell_len

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import style, text

#: Half of a box, in columns and rows.
_WIDTH, _HEIGHT = 0.42, 0.4
_ROW_PX = 46
_COLUMNS_AT_LEAST = 5
_WORDS_COLUMNS = 30
_PORT, _FOREIGN, _LAB, _VM = "#f3f4f6", "#fff3e6", "#eaf3fa", "#eef7f2"


class UserTree(Protocol):
    """One user of an interface, as an inspection has it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def relation(self) -> str:
        """Its relation to what it uses."""

    @property
    def users(self) -> Sequence[UserTree]:
        """Its own users."""

    @property
    def lab(self) -> bool:
        """True where kvmlab made it."""

    @property
    def vm(self) -> str:
        """The VM behind it."""


class PortUsers(Protocol):
    """A port and its users."""

    @property
    def name(self) -> str:
        """The port's name."""

    @property
    def description(self) -> str:
        """Return the description of a port."""

    @property
    def users(self) -> Sequence[UserTree]:
        """Its direct users."""


@dataclass(frozen=True)
class _Box:
    """A box of the picture; ``parent`` is the place of the one on its left that it uses."""

    column: int
    row: float
    name: str
    words: str
    fill: str
    parent: tuple[int, float] | None = None


def stack(ports: Sequence[PortUsers]) -> go.Figure:
    """Return a picture of ``ports`` below each other, each with what is built on it to its right.

    Give it `HostFacts.users` of an inspection, or some of them. A line from one box to another on
    its left means that the right one uses the left one.

    Raises:
        UsageError: there is no port.
    """
    if not ports:
        raise UsageError("There is no port to draw.", todo="Pass `facts.users` of an inspection.")
    boxes: list[_Box] = []
    rows = 0
    for port in ports:
        _row, rows = _place(port.users, 1, rows, boxes, (0, port.name, port.description, _PORT))
    columns = max(_COLUMNS_AT_LEAST, max(box.column for box in boxes) + 1)
    figure = go.Figure()
    for box in boxes:
        _draw(figure, box)
    figure.add_trace(
        go.Scatter(
            x=[box.column for box in boxes],
            y=[box.row for box in boxes],
            mode="markers",
            marker={"size": 30, "opacity": 0},
            hovertext=[text.lines(text.bold(box.name), box.words) for box in boxes],
            hoverinfo="text",
            showlegend=False,
            name="users",
        )
    )
    figure.update_xaxes(visible=False, range=[-0.5, columns - 0.5], fixedrange=True)
    figure.update_yaxes(visible=False, range=[rows - 0.5, -0.5], fixedrange=True)
    _legend(figure)
    return style.finish(
        figure,
        title="Who uses which port",
        notice=style.Notice(),
        plot_px=_ROW_PX * rows,
        left_px=24,
        head_px=0,
        bottom_px=30,
    )


def _place(
    users: Sequence[UserTree],
    column: int,
    first: int,
    boxes: list[_Box],
    own: tuple[int, str, str, str],
) -> tuple[float, int]:
    """Place a box and all that use it, from row ``first`` on; return its row and the next free."""
    below, rows = [], first
    for user in users:
        fill = _VM if user.vm else _LAB if user.lab else _FOREIGN
        row, rows = _place(
            user.users, column + 1, rows, boxes, (column, user.name, user.relation, fill)
        )
        below.append((len(boxes) - 1, row))
    at, name, words, fill = own
    row = sum(place for _, place in below) / len(below) if below else float(first)
    for index, _row in below:
        boxes[index] = replace(boxes[index], parent=(at, row))
    boxes.append(_Box(at, row, name, words, fill))
    return row, max(rows, first + 1)


def _draw(figure: go.Figure, box: _Box) -> None:
    if box.parent is not None:
        column, row = box.parent
        figure.add_shape(
            type="line",
            x0=box.column - _WIDTH,
            y0=box.row,
            x1=column + _WIDTH,
            y1=row,
            line={"color": style.GREY, "width": 1.4},
            layer="below",
        )
    figure.add_shape(
        type="rect",
        x0=box.column - _WIDTH,
        x1=box.column + _WIDTH,
        y0=box.row - _HEIGHT,
        y1=box.row + _HEIGHT,
        fillcolor=box.fill,
        line={"color": style.INK, "width": 1.2},
    )
    words = _fitting(_(box.words))
    figure.add_annotation(
        x=box.column,
        y=box.row,
        showarrow=False,
        font={"size": 11},
        text=text.lines(
            text.bold(_fitting(box.name)),
            text.tinted(words, style.QUIET) if words else "",
        ),
    )


def _fitting(words: str) -> str:
    """Return what of ``words`` fits into a box; a Han character is two columns wide."""
    if cell_len(words) == len(words):
        return textwrap.shorten(words, _WORDS_COLUMNS, placeholder="…")
    if cell_len(words) <= _WORDS_COLUMNS:
        return words
    ends = itertools.accumulate(map(cell_len, words))
    kept = [char for char, end in zip(words, ends, strict=True) if end < _WORDS_COLUMNS]
    return f"{''.join(kept).rstrip()}…"


def _legend(figure: go.Figure) -> None:
    style.below(
        figure,
        text.spaced(
            text.tinted("■ port", style.GREY),
            text.tinted("■ in use", style.ORANGE),
            text.tinted("■ a VM's", style.GREEN),
            text.tinted("■ the lab's own, or a part", style.BLUE),
        ),
    )
