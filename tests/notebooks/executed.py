"""A finished run of notebooks: the results they stored, and what their cells show."""

from __future__ import annotations

import io
import re
from typing import Any

import nbformat
import pandas as pd

from kvmlab.report.html import PLOTLY, WIDGET
from kvmlab.results import Result, load
from kvmlab.runbook import Outcome

_VERDICT = re.compile(r"\*\*(Confirmed|Rejected|Inconclusive)\*\*")


def stored(run: Outcome, name: str) -> tuple[Result, ...]:
    """Return the results of a notebook's comparison, without its panel's trial."""
    folders = [path.parent for path in (run.folder / "results" / name).glob("*/results.json")]
    return max((load(folder) for folder in folders), key=len)


def stored_by_scheme(run: Outcome, name: str) -> dict[str, Result]:
    """Return every result that a notebook stored, by scheme; the last wins."""
    folders = [path.parent for path in (run.folder / "results" / name).glob("*/results.json")]
    return {result.scheme: result for folder in folders for result in load(folder)}


def text(run: Outcome, name: str, cell_id: str) -> str:
    """Return what a cell shows, as markdown where there is some, as plain text otherwise."""
    return "\n".join(
        output.get("text")
        or output.get("data", {}).get("text/markdown")
        or output.get("data", {}).get("text/plain", "")
        for output in _outputs(run, name, cell_id)
    )


def page(run: Outcome, name: str, cell_id: str) -> str:
    """Return the HTML that a cell shows."""
    outputs = _outputs(run, name, cell_id)
    return "\n".join(output.get("data", {}).get("text/html", "") for output in outputs)


def table(run: Outcome, name: str, cell_id: str) -> pd.DataFrame:
    """Return the table that a cell shows."""
    (frame,) = pd.read_html(io.StringIO(page(run, name, cell_id)))
    return frame


def figures_of(run: Outcome, name: str, cell_id: str) -> list[dict[str, Any]]:
    """Return the figures that a cell shows, as JSON."""
    data = [output.get("data", {}) for output in _outputs(run, name, cell_id)]
    return [each[PLOTLY] for each in data if PLOTLY in each]


def verdicts(run: Outcome, name: str) -> dict[str, str]:
    """Return the verdict of each claim of a notebook, by the id of its cell."""
    node = nbformat.read(run.folder / "notebooks" / f"{name}.ipynb", as_version=4)
    claims = [cell.id for cell in node.cells if "sentences.claim(" in cell.source]
    return {
        cell_id: match[1] if (match := _VERDICT.search(text(run, name, cell_id))) else ""
        for cell_id in claims
    }


def widgets(run: Outcome, name: str) -> list[str]:
    """Return the ids of the cells that show a widget."""
    node = nbformat.read(run.folder / "notebooks" / f"{name}.ipynb", as_version=4)
    code = (cell for cell in node.cells if cell.cell_type == "code")
    return [cell.id for cell in code if any(WIDGET in o.get("data", {}) for o in cell.outputs)]


def host_devices(result: Result) -> list[str]:
    """Return the kinds of the host's devices that the VM's packet passed, in order."""
    assert result.path is not None
    return [hop.kind for hop in result.path.leg("request") if hop.side == "host"]


def _outputs(run: Outcome, name: str, cell_id: str) -> list[nbformat.NotebookNode]:
    node = nbformat.read(run.folder / "notebooks" / f"{name}.ipynb", as_version=4)
    (cell,) = (cell for cell in node.cells if cell.id == cell_id)
    outputs: list[nbformat.NotebookNode] = cell.outputs
    return outputs
