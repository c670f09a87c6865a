"""Markup in plotly's texts, escaped."""

from __future__ import annotations

from markupsafe import Markup, escape

_BOLD = Markup("<b>{}</b>")
_TINTED = Markup('<span style="color:{}">{}</span>')
_BREAK = Markup("<br>")


def plain(text: str) -> Markup:
    """Return a text in which nothing is plotly's markup, nor TeX."""
    return Markup(str(escape(text)).replace("$", "&#36;"))


def bold(text: str) -> Markup:
    """Return the text in bold."""
    return _BOLD.format(plain(text))


def tinted(text: str, colour: str) -> Markup:
    """Return the text in a colour."""
    return _TINTED.format(colour, plain(text))


def lines(*texts: str) -> Markup:
    """Return the texts on lines of their own, without empty ones."""
    return _BREAK.join(plain(text) for text in texts if text)


def spaced(*texts: str) -> Markup:
    """Return the texts on one line, spaced, without empty ones."""
    return Markup("   ").join(plain(text) for text in texts if text)
