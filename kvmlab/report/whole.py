"""A frame for reading: cells are shown whole, where pandas would cut them after 50 characters."""

from __future__ import annotations

import pandas as pd


class WholeFrame(pd.DataFrame):
    """A pandas frame that shows every cell as it is."""

    def __repr__(self) -> str:
        """For a terminal."""
        with pd.option_context("display.max_colwidth", None):
            return super().__repr__()

    def _repr_html_(self) -> str | None:
        """For a notebook."""
        with pd.option_context("display.max_colwidth", None):
            html: str | None = super()._repr_html_()  # type: ignore[misc]
        return html
