"""HTML page of two compared runs; it loads nothing from a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kvmlab.directories import write_named
from kvmlab.report import figures, html, page, tables
from kvmlab.report.markdown import escaped
from kvmlab.report.run_comparison_table import heading
from kvmlab.results import Run, RunComparison


def write(comparison: RunComparison, out: Path) -> Path:
    """Write a page with figures and verdicts for each scheme to ``out``, atomically.

    Raises:
        UsageError: the file cannot be written.
    """
    exporter = html.ReportExporter()
    exporter.head = page.Head(
        title=f"{comparison.current.name} against {comparison.baseline.name}",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        warning=" ".join(_emulated(comparison)),
        facts=(*_facts("Baseline", comparison.baseline), *_facts("Current", comparison.current)),
        language="en",
    )
    text, _ = exporter.from_notebook_node(_as_notebook(comparison))
    write_named(out, text)
    return out


def _as_notebook(comparison: RunComparison) -> NotebookNode:
    notes = "\n".join(f"- {escaped(note)}" for note in comparison.notes)
    names = " against ".join(escaped(run.name) for run in (comparison.current, comparison.baseline))
    cells = [new_markdown_cell(f"# {names}\n\n{notes}")]
    for scheme in comparison.schemes:
        results = (scheme.baseline, scheme.current)
        forest = figures.ratios(*results, comparisons=scheme.verdicts)
        outputs = [
            {html.PLOTLY: json.loads(forest.to_json())},
            {html.PLOTLY: json.loads(figures.overview(*results).to_json())},
            {"text/html": tables.comparisons(*scheme.verdicts).to_html()},
        ]
        cell = new_code_cell(
            "", outputs=[new_output("display_data", data=data) for data in outputs]
        )
        cells += [new_markdown_cell(f"## {escaped(heading(scheme))}"), cell]
    notebook: NotebookNode = new_notebook(cells=cells)
    return notebook


def _emulated(comparison: RunComparison) -> dict[str, None]:
    results = (
        result for scheme in comparison.schemes for result in (scheme.baseline, scheme.current)
    )
    return dict.fromkeys(result.emulated for result in results if result.emulated)


def _facts(which: str, run: Run) -> Iterator[page.Fact]:
    details = (run.name, run.status, f"{run.trials} trials", *run.hosts, run.started)
    yield page.Fact(which, ", ".join(filter(None, details)))
    yield page.Fact(f"{which} in", str(run.folder))
