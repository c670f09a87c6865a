"""HTML page of a metric's history; it loads nothing from a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kvmlab.directories import write_named
from kvmlab.report import html, names, page
from kvmlab.report.history_figure import history
from kvmlab.report.markdown import escaped
from kvmlab.results.history import History


def write(histories: Sequence[History], out: Path) -> Path:
    """Write a page with the figure of ``histories`` to ``out``, in one step.

    Raises:
        UsageError: the file cannot be written, or there is nothing to draw.
    """
    figure = {html.PLOTLY: json.loads(history(histories).to_json())}
    title = names.metric(histories[0].metric, histories[0].workload)
    cells = [
        new_markdown_cell(f"# {escaped(title)}"),
        new_code_cell("", outputs=[new_output("display_data", data=figure)]),
    ]
    exporter = html.ReportExporter()
    exporter.head = page.Head(
        title=title, created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), language="en"
    )
    text, _ = exporter.from_notebook_node(new_notebook(cells=cells))
    write_named(out, text)
    return out
