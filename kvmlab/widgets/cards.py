"""Small pieces of HTML for notebooks, built as elements and never as text."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree
from lxml.html.builder import DIV, SPAN, TABLE, TD, TH, TR

_CELL = "padding: .2em .8em; text-align: left; vertical-align: top;"


def card(title: str, lines: Mapping[str, str]) -> str:
    """A titled table of names and values."""
    rows = [
        TR(TH(name, style=f"{_CELL} white-space: nowrap;"), TD(value, style=_CELL))
        for name, value in lines.items()
    ]
    return _text(DIV(DIV(title, style="font-weight: 600;"), TABLE(*rows)))


def line(text: str, share: float | None = None) -> str:
    """One line of progress: a bar filled to ``share`` (0 … 1), if any, and what is being done."""
    style = "font-size: .875em; color: #6b7884;"
    if share is None:
        return _text(DIV(text, style=style))
    width = f"{100 * min(1.0, max(0.0, share)):.0f}%"
    filled = DIV(style=f"width: {width}; height: 100%; background: #0b5fa5;")
    bar = SPAN(
        filled,
        style="display: inline-block; width: 12em; height: .5em; margin-right: .8em; "
        "background: #dfe3e8;",
    )
    return _text(DIV(bar, SPAN(text), style=style))


def _text(element: etree._Element) -> str:
    return etree.tostring(element, encoding="unicode", method="html")
