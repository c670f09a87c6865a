"""Pieces of HTML for notebooks, built as elements and never as text; how controls are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.display import display
from lxml import etree
from lxml.html.builder import DIV, EM, SPAN, TABLE, TD, TH, TR, P

from kvmlab.language import _
from kvmlab.rendering import is_headless

if TYPE_CHECKING:
    from kvmlab.widgets.host_terminal import HostTerminal

_CELL = "padding: .2em .8em; text-align: left; vertical-align: top;"


def card(title: str, lines: Mapping[str, str]) -> str:
    """Return a titled table of names and values."""
    rows = [
        TR(TH(_(name), style=f"{_CELL} white-space: nowrap;"), TD(_(value), style=_CELL))
        for name, value in lines.items()
    ]
    return _text(DIV(DIV(_(title), style="font-weight: 600;"), TABLE(*rows)))


def line(text: str, share: float | None = None) -> str:
    """Return a line of progress: a bar filled to ``share`` (0 to 1), if any, and ``text``."""
    style, shown = "font-size: .875em; color: #6b7884;", _(text)
    if share is None:
        return _text(DIV(shown, style=style))
    width = f"{100 * min(1.0, max(0.0, share)):.0f}%"
    filled = DIV(style=f"width: {width}; height: 100%; background: #0b5fa5;")
    bar = SPAN(
        filled,
        style="display: inline-block; width: 12em; height: .5em; margin-right: .8em; "
        "background: #dfe3e8;",
    )
    return _text(DIV(bar, SPAN(shown), style=style))


def _text(element: etree._Element) -> str:
    return etree.tostring(element, encoding="unicode", method="html")


def display_controls(
    controls: Any, static: str = "", *, terminal: HostTerminal | None = None
) -> None:
    """Display a widget, below the button of a terminal if one is given.

    Where nobody clicks, or no kernel runs, the HTML ``static`` stands in the widget's place; a
    sentence where there is none.
    """
    sentence = _("The panel works where a kernel runs.")
    instead = {"text/plain": sentence, "text/html": static or _text(P(EM(sentence)))}
    if is_headless():
        display(instead, raw=True)
        return
    if terminal is not None:
        display(terminal)
    display({**controls._repr_mimebundle_(), **instead}, raw=True)
