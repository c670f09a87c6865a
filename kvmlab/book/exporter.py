"""Pages of the book: a notebook as HTML with the contents of all pages beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nbformat import NotebookNode
from traitlets import default

from kvmlab.report import page
from kvmlab.report.html import ReportExporter

#: Everything stands in the folder; `file:` is for a page that is opened without a server, which has
#: no origin. Plotly and outputs of notebooks write styles of their own.
POLICY: Final = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class BookPage:
    """A page of the book in one language: its file, its title and its sections."""

    file: str
    title: str
    node: NotebookNode
    sections: tuple[page.PageSection, ...] = ()


class BookExporter(ReportExporter):
    """The report's exporter, with the frame of a book around one notebook."""

    export_from_notebook = ""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.book: Mapping[str, Any] = {}

    @default("template_name")
    def _template_name_default(self) -> str:
        return "kvmlab_book"

    @default("extra_template_basedirs")
    def _extra_template_basedirs_default(self) -> list[str]:
        own = Path(__file__).parent / "templates"
        return [str(own), *super()._extra_template_basedirs_default()]

    @default("extra_template_paths")
    def _extra_template_paths_default(self) -> list[str]:
        # The report's templates, by their folder's name and by their own.
        reports = super()._extra_template_basedirs_default()
        return [*reports, *(str(Path(folder, "kvmlab")) for folder in reports)]

    def _frame(self) -> dict[str, Any]:
        """Return what the template of a book's page needs."""
        return {"book": {**self.book, "policy": POLICY}}

    def _with_script(self, html: str) -> str:
        return html  # plotly.js stands beside the pages, once for all
