"""A notebook that runs in a browser: whether all of its cells have run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.notebooks.test_browser import saved

if TYPE_CHECKING:
    from playwright.sync_api import Page

_IDLE: Final = ".jp-Notebook-ExecutionIndicator[data-status=idle]"


def failed_cells(page: Page, path: Path) -> int | None:
    """Return how many cells ended with an error; None while some have not run.

    The notebook at ``path`` is saved for that: JupyterLab renders only cells that are in view.
    """
    if not page.locator(_IDLE).count():
        return None
    cells = [cell for cell in saved(page, path).cells if cell.cell_type == "code"]
    if not all(cell.execution_count for cell in cells):
        return None
    return sum(any(out.output_type == "error" for out in cell.outputs) for cell in cells)
