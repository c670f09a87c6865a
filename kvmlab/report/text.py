"""The little markup that plotly's texts know, escaped where it is put together."""

from __future__ import annotations

from markupsafe import Markup

_BOLD = Markup("<b>{}</b>")
_TINTED = Markup('<span style="color:{}">{}</span>')
_BREAK = Markup("<br>")


def bold(text: str) -> Markup:
    """The text in bold."""
    return _BOLD.format(text)


def tinted(text: str, colour: str) -> Markup:
    """The text in a colour."""
    return _TINTED.format(colour, text)


def lines(*texts: str) -> Markup:
    """The texts, one below the other; empty ones are left out."""
    return _BREAK.join(text for text in texts if text)


def spaced(*texts: str) -> Markup:
    """The texts in one line, with some space between them."""
    return Markup("   ").join(text for text in texts if text)
