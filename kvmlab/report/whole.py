"""Frames for reading: whole cells, and the name of the first column beside those of the others."""

from __future__ import annotations

from typing import Final

import pandas as pd

# JupyterLab sets every cell to the right; these hold words, or figures with their units.
_LEFT: Final = (
    "<style>.jp-RenderedHTMLCommon table.kvmlab-table :is(th, td, tr) { text-align: left; }</style>"
)


class WholeFrame(pd.DataFrame):
    """A pandas frame that shows every cell as it is, where pandas would cut at 50 characters.

    Its first column is the index. pandas shows the name of an index in a line of its own.
    """

    def __repr__(self) -> str:
        """For a terminal."""
        with pd.option_context("display.max_colwidth", None):
            return repr(self._headed())

    def _repr_html_(self) -> str:
        """For a notebook."""
        with pd.option_context("display.max_colwidth", None):
            return _LEFT + self._headed().to_html(justify="left", classes="kvmlab-table")

    def _headed(self) -> pd.DataFrame:
        plain = pd.DataFrame(self)
        if not isinstance(plain.index, pd.MultiIndex):
            plain.columns = plain.columns.rename(plain.index.name)
            plain.index = plain.index.rename(None)
        return plain
