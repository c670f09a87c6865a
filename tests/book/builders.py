"""A run of two notebooks whose outputs are made by kvmlab from recorded results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat

from kvmlab import figures, sentences, tables
from kvmlab.course.card import tasks_html
from kvmlab.course.question import questions
from kvmlab.course.registry import tasks_of
from kvmlab.language import reading
from kvmlab.results import compare
from kvmlab.runbook.notebooks import find_notebooks
from kvmlab.runbook.run_record import NotebookEntry, RunRecord
from tests.report import builders

#: Cells of the course, which show something of their own.
_COURSE = ("kvmlab.questions(", "lab.tasks(")


def executed_run(folder: Path, language: str = "en") -> Path:
    """Write a run of the notebooks 00 and 01 in ``language``, and return its folder."""
    with reading(language):
        outputs = _outputs()
    (folder / "notebooks").mkdir(parents=True)
    for notebook in find_notebooks(["00", "01"], language):
        node = nbformat.from_dict(notebook.node)
        code = [cell for cell in node.cells if cell.cell_type == "code" and cell.id != "parameters"]
        measured = [cell for cell in code if not cell.source.startswith(_COURSE)]
        for cell, data in zip(measured, outputs, strict=False):
            cell.outputs = [nbformat.v4.new_output("display_data", data=data)]
        with reading(language):
            _show_course(code)
        nbformat.write(node, folder / "notebooks" / f"{notebook.name}.ipynb")
    entries = tuple(
        NotebookEntry(notebook.name, notebook.title, "complete")
        for notebook in find_notebooks(["00", "01"], language)
    )
    RunRecord(folder, entries, language=language).closed("complete").write()
    return folder


def _show_course(cells: list[nbformat.NotebookNode]) -> None:
    """Add the outputs of questions and tasks, which need no host."""
    for cell in cells:
        names = re.findall(r'"([\w-]+)"', cell.source)
        shown = ""
        if cell.source.startswith("kvmlab.questions("):
            shown = questions(*names)._repr_html_()
        elif cell.source.startswith("lab.tasks("):
            shown = tasks_html(tasks_of(*names))
        if shown:
            cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": shown})]


def _outputs() -> list[dict[str, Any]]:
    slow, fast = builders.e1000(), builders.virtio()
    speed = compare(slow, fast, "tcp_up_mbps")
    claim = sentences.claim("Throughput rises.", speed, at_least=2.0)
    return [
        {"application/vnd.plotly.v1+json": json.loads(figures.overview(slow, fast).to_json())},
        {"text/html": str(tables.comparisons(speed)._repr_html_())},  # type: ignore[operator]
        claim._repr_mimebundle_(),
    ]
