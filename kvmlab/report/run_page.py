"""Two runs compared, as one page of HTML that fetches nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kvmlab.errors import UsageError
from kvmlab.report import figures, html, page, tables
from kvmlab.report.run_lines import heading
from kvmlab.results import Run, RunComparison


def write(found: RunComparison, out: Path) -> Path:
    """A page with figures and verdicts for each scheme, written to ``out`` in one step.

    Raises:
        UsageError: the file cannot be written.
    """
    exporter = html.ReportExporter()
    exporter.head = page.Head(
        title=f"{found.current.name} against {found.baseline.name}",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        warning=" ".join(_emulated(found)),
        facts=tuple(_facts("Baseline", found.baseline)) + tuple(_facts("Current", found.current)),
        language="en",
    )
    text, _ = exporter.from_notebook_node(_as_notebook(found))
    part = out.with_name(f"{out.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(out)
    except OSError as error:
        raise UsageError(
            f"The page cannot be written to {out}: {error.strerror or error}.",
            todo="Give a file in a folder that you may write to by --html.",
        ) from error
    return out


def _as_notebook(found: RunComparison) -> NotebookNode:
    notes = "\n".join(f"- {note}" for note in found.notes)
    title = f"# {_plain(found.current.name)} against {_plain(found.baseline.name)}\n\n{notes}"
    cells = [new_markdown_cell(title)]
    for scheme in found.schemes:
        results = (scheme.baseline, scheme.current)
        forest = figures.ratios(*results, comparisons=scheme.verdicts)
        shown = [
            {html.PLOTLY: json.loads(forest.to_json())},
            {html.PLOTLY: json.loads(figures.overview(*results).to_json())},
            {"text/html": tables.comparisons(*scheme.verdicts).to_html()},
        ]
        cell = new_code_cell("", outputs=[new_output("display_data", data=one) for one in shown])
        cells += [new_markdown_cell(f"## {_plain(heading(scheme))}"), cell]
    notebook: NotebookNode = new_notebook(cells=cells)
    return notebook


def _emulated(found: RunComparison) -> dict[str, None]:
    results = (one for scheme in found.schemes for one in (scheme.baseline, scheme.current))
    return dict.fromkeys(result.emulated for result in results if result.emulated)


def _facts(which: str, run: Run) -> Iterator[page.Fact]:
    told = (run.name, run.status, f"{run.trials} trials", *run.hosts, run.started)
    yield page.Fact(which, ", ".join(filter(None, told)))
    yield page.Fact(f"{which} in", str(run.folder))


def _plain(words: str) -> str:
    """Text in which Markdown finds no markup of its own."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#" else letter for letter in words)
