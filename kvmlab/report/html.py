"""HTML report: executed notebooks as one page that loads nothing from a network.

Registered with nbconvert as ``kvmlab``, so that ``jupyter nbconvert --to kvmlab`` and JupyterLab's
"Save and Export Notebook As" write the same page for a single notebook.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import escape
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs
from traitlets import default

from kvmlab import __version__
from kvmlab.directories import write_atomically
from kvmlab.language import ENGLISH, current_language, known_language, reading, translate
from kvmlab.rendering import script_hash, script_source
from kvmlab.report import page

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_SCRIPT_PLACE = "<!-- kvmlab:plotly.js -->"
_DEFAULT_PX = 450


class ReportExporter(HTMLExporter):
    """nbconvert's HTML exporter with kvmlab's page: plotly.js once, no widget state."""

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
        """Render Markdown without anchors: cells carry the ids that the contents link to."""
        renderer = _Headings(escape=False, exclude_anchor_links=True)
        return str(MarkdownWithMath(renderer=renderer).render(source))

    @pass_context
    def output_markdown(self, context: Context, source: str) -> str:
        """Render Markdown of an output, in which a host's names may stand: no HTML, no links."""
        renderer = _Names(escape=True, exclude_anchor_links=True)
        return str(MarkdownWithMath(renderer=renderer).render(source))

    def default_filters(self) -> Iterator[tuple[str, Any]]:
        """Yield the filters of the templates."""
        yield from super().default_filters()  # type: ignore[no-untyped-call]
        yield "output_markdown", self.output_markdown

    def from_notebook_node(  # type: ignore[override]  # nbconvert's HTMLExporter does so too
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **keywords: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert one notebook (or several, joined by :func:`kvmlab.report.page.join`)."""
        node = copy.deepcopy(nb)
        written_in = node.metadata.get("kvmlab", {}).get("language", "")
        wanted = (self.head.language if self.head else "") or written_in or current_language()
        # A stranger's notebook may name any language.
        language = known_language(str(wanted)) or ENGLISH
        with reading(language):
            return self._page(node, resources, language, keywords)

    def _page(
        self,
        node: NotebookNode,
        resources: dict[str, Any] | None,
        language: str,
        keywords: Mapping[str, Any],
    ) -> tuple[str, dict[str, Any]]:
        name = str((resources or {}).get("metadata", {}).get("name", "notebook"))
        head = self.head or page.Head(title=name)
        if not head.parameters:
            head = replace(head, parameters=page.parameters(name, node))
        for position, cell in enumerate(node.cells):
            cell.setdefault("id", f"cell-{position}")
        chapters = page.contents(node.cells)
        head = replace(head, contents=chapters, claims=page.claims(node.cells, chapters))
        node.metadata.pop("widgets", None)
        for cell in node.cells:
            self._prepare(cell)
        variables = {**asdict(head), "csv": head.csv_base64, "version": __version__}
        variables["language"] = language
        self.environment.globals["_"] = translate
        variables["notebooks"] = head.notebooks
        variables["policy"], variables["figures_script"] = _policy(), _figures_script()
        variables["overview"] = self._figure(json.loads(head.overview)) if head.overview else ""
        variables |= self._frame()
        html, notebook_resources = super().from_notebook_node(
            node, {**(resources or {}), "kvmlab": variables}, **keywords
        )
        return self._with_script(html), notebook_resources

    def _frame(self) -> dict[str, Any]:
        """Return more variables for the template of a page that has another frame."""
        return {}

    def _with_script(self, html: str) -> str:
        # After nbconvert's own parsing of the page: five megabytes of script would slow it.
        # The last one is the page's own; an output of a notebook may hold the same words.
        above, _, below = html.rpartition(_SCRIPT_PLACE)
        return "".join((above, _plotly_element(), below))

    def _prepare(self, cell: NotebookNode) -> None:
        """Turn figures into markup, and drop the widgets that need a live kernel."""
        if cell.cell_type != "code":
            return
        outputs = []
        for output in cell.get("outputs", []):
            data = output.get("data")
            if data is None:
                outputs.append(output)
            elif PLOTLY in data:
                markup = self._figure(data[PLOTLY])
                outputs.append(
                    NotebookNode({**output, "data": NotebookNode({"text/html": markup})})
                )
            elif WIDGET not in data:
                outputs.append(output)
        cell.outputs = outputs

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


class _Names(_Headings):
    """Text that may hold the names of others: links and pictures are only text."""

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return str(escape(text))


def write(
    notebooks: Mapping[str, Path],
    out: Path,
    head: page.Head,
    *,
    prepare: Callable[[NotebookNode], None] = lambda node: None,
    appendix: Sequence[NotebookNode] = (),
) -> Path:
    """Write a page with all ``notebooks`` (name → executed copy) to ``out``, atomically.

    ``prepare`` may change each as it was read; ``appendix`` are cells of a last chapter.
    """
    nodes = {name: nbformat.read(path, as_version=4) for name, path in notebooks.items()}
    for node in nodes.values():
        prepare(node)
    rows = tuple(row for name, node in nodes.items() for row in page.parameters(name, node))
    exporter = ReportExporter()
    exporter.head = replace(
        head,
        notebooks=page.anchored(head.notebooks, nodes),
        parameters=rows,
        created=head.created or datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    joined = page.join(nodes)
    joined.cells.extend(appendix)
    html, _ = exporter.from_notebook_node(joined)
    # A file's name may hold bytes that the locale cannot read.
    write_atomically(out, html.encode(errors="backslashreplace"))
    return out


def _plotly_element() -> str:
    return "".join(('<script type="text/javascript">', _plotly_script(), "</script>"))


@cache
def _plotly_script() -> str:
    return script_source(get_plotlyjs())


@cache
def _figures_script() -> str:
    folder = Path(__file__).parent / "templates" / "kvmlab"
    return script_source((folder / "figures.js").read_text(encoding="utf-8"))


@cache
def _policy() -> str:
    """Return the page's content policy: only these two scripts run, and nothing is fetched.

    Styles stand in the outputs of notebooks, and plotly writes its own; without a network a style
    can tell nobody anything.
    """
    hashes = " ".join(script_hash(script) for script in (_plotly_script(), _figures_script()))
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
