"""Frames for reading: cells in full length, and a heading for the first column."""

from __future__ import annotations

import re
from typing import Any, Final

import pandas as pd

from kvmlab.language import translate, typeset

# JupyterLab aligns every cell to the right; these hold words, or figures with their units. The
# style stands at each: JupyterLab drops a <style> from a notebook that is not trusted yet.
_LEFT: Final = 'style="text-align: left;"'
_CELL: Final = re.compile(r"<(th|td)\b")


class WholeFrame(pd.DataFrame):
    """Pandas frame that shows every cell in full, where pandas cuts at 50 characters.

    Its first column is the index; pandas would put its name into a line of its own. What it shows
    is in the reader's language; what it holds is not.
    """

    def __repr__(self) -> str:
        """Return the frame as text."""
        with pd.option_context("display.max_colwidth", None):
            return repr(self._headed())

    def _repr_html_(self) -> str:
        """Return the frame as HTML."""
        with pd.option_context("display.max_colwidth", None):
            page = self._headed().to_html(justify="left", classes="kvmlab-table")
        return _CELL.sub(rf"<\1 {_LEFT}", page)

    def to_html(self, *arguments: Any, **settings: Any) -> str:  # type: ignore[override]
        """Return the frame as HTML, as pandas does it."""
        return str(_translated(pd.DataFrame(self)).to_html(*arguments, **settings))

    def _headed(self) -> pd.DataFrame:
        plain = _translated(pd.DataFrame(self))
        if not isinstance(plain.index, pd.MultiIndex):
            plain.columns = plain.columns.rename(plain.index.name)
            plain.index = plain.index.rename(None)
        return plain


def _translated(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with headings, row names and cells in the reader's language."""
    shown = frame.map(_word)
    shown.columns = frame.columns.map(_word)
    shown.index = frame.index.map(
        lambda key: tuple(map(_word, key)) if isinstance(key, tuple) else _word(key)
    )
    shown.index.names = [_word(name) for name in frame.index.names]
    return shown


def _word(value: object) -> object:
    return typeset(translate(value)) if isinstance(value, str) else value
