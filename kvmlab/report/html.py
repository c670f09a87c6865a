"""Executed notebooks as one page of HTML that needs nothing else: no network, no CDN.

Registered with nbconvert as ``kvmlab``, so that ``jupyter nbconvert --to kvmlab`` and JupyterLab's
"Save and Export Notebook As" write the same page for a single notebook.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs
from traitlets import default

from kvmlab import __version__
from kvmlab.report import page
from kvmlab.report.wording import wording

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_SCRIPT_PLACE = "<!-- kvmlab:plotly.js -->"
_DEFAULT_PX = 450


class ReportExporter(HTMLExporter):
    """nbconvert's HTML exporter with our own page: plotly.js once, widget state never."""

    export_from_notebook = "kvmlab report (one HTML file, works offline)"

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)  # type: ignore[no-untyped-call]
        self.head: page.Head | None = None

    @default("template_name")
    def _template_name_default(self) -> str:
        return "kvmlab"

    @default("extra_template_basedirs")
    def _extra_template_basedirs_default(self) -> list[str]:
        return [str(Path(__file__).parent / "templates")]

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Markdown without anchors of its own: cells carry the ids that the contents link to."""
        renderer = _Headings(escape=False, exclude_anchor_links=True)
        return str(MarkdownWithMath(renderer=renderer).render(source))

    def from_notebook_node(  # type: ignore[override]  # nbconvert's HTMLExporter does so too
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **keywords: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert one notebook (or several, joined by :func:`kvmlab.report.page.join`)."""
        node = copy.deepcopy(nb)
        name = str((resources or {}).get("metadata", {}).get("name", "notebook"))
        head = self.head or page.Head(title=name)
        if not head.parameters:
            head = replace(head, parameters=page.parameters(name, node))
        for position, cell in enumerate(node.cells):
            cell.setdefault("id", f"cell-{position}")
        head = replace(head, contents=page.contents(node.cells))
        node.metadata.pop("widgets", None)
        for cell in node.cells:
            self._prepare(cell)
        said_by_itself = node.metadata.get("kvmlab", {}).get("language", "")
        words = wording(head.language or said_by_itself)
        given = {**(resources or {}), "kvmlab": {**_for_template(head), "words": words}}
        html, said = super().from_notebook_node(node, given, **keywords)
        # After nbconvert's own parsing of the page: five megabytes of script would slow it.
        return html.replace(_SCRIPT_PLACE, _plotly_script()), said

    def _prepare(self, cell: NotebookNode) -> None:
        """Figures as markup, without the widgets that need a live kernel."""
        if cell.cell_type != "code":
            return
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data")
            if data is None:
                kept.append(output)
            elif PLOTLY in data:
                markup = self._figure(data[PLOTLY])
                kept.append(NotebookNode({**output, "data": NotebookNode({"text/html": markup})}))
            elif WIDGET not in data:
                kept.append(output)
        cell.outputs = kept

    def _figure(self, spec: Mapping[str, Any]) -> str:
        layout = spec.get("layout", {})
        label = (layout.get("meta") or {}).get("title", "figure")
        # "<" would end the script element that carries the data.
        text = json.dumps(spec, ensure_ascii=False).replace("<", "\\u003c")
        template = self.environment.get_template("figure.html.j2")
        return str(
            template.render(label=label, spec=text, height=layout.get("height", _DEFAULT_PX))
        )


class _Headings(IPythonRenderer):
    """Headings without ids, which would repeat from one notebook to the next."""

    def heading(self, text: str, level: int, **_attributes: Any) -> str:
        tag = f"h{level}"
        return "".join(("<", tag, ">", text, "</", tag, ">\n"))


def write(notebooks: Mapping[str, Path], out: Path, head: page.Head) -> Path:
    """Write one page with all ``notebooks`` (name → executed copy) to ``out``, in one step."""
    nodes = {name: nbformat.read(path, as_version=4) for name, path in notebooks.items()}
    rows = tuple(row for name, node in nodes.items() for row in page.parameters(name, node))
    exporter = ReportExporter()
    exporter.head = replace(
        head,
        stops=page.anchored(head.stops, nodes),
        parameters=rows,
        made=head.made or datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    html, _ = exporter.from_notebook_node(page.join(nodes))
    part = out.with_name(f"{out.name}.part")
    part.write_text(html)
    part.replace(out)
    return out


def _for_template(head: page.Head) -> dict[str, Any]:
    stops = [{**asdict(stop), "took": stop.took} for stop in head.stops]
    return {**asdict(head), "stops": stops, "csv": head.csv_base64, "version": __version__}


def _plotly_script() -> str:
    return "".join(('<script type="text/javascript">', get_plotlyjs(), "</script>"))
