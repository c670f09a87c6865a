"""The site: pages in both languages, an index to search, scripts and style beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Final

from nbformat import NotebookNode
from plotly.offline import get_plotlyjs

from kvmlab import report
from kvmlab.book.exporter import BookExporter, BookPage
from kvmlab.book.translated_outputs import translate_outputs
from kvmlab.directories import write_atomically
from kvmlab.errors import UsageError, reason_of
from kvmlab.language import ENGLISH, LANGUAGES, _, known_language, reading
from kvmlab.rendering import template
from kvmlab.report import page
from kvmlab.runbook import reference_pages
from kvmlab.runbook.notebooks import all_notebooks
from kvmlab.runbook.run_record import NOTEBOOKS, RECORD
from kvmlab.stored_files import parse_sealed, read_file, read_notebook

_WORDS: Final = {ENGLISH: "English", "zh-CN": "中文"}
_LINK: Final = re.compile(r"\]\(([\w.-]+)\.(md|ipynb)(#[^)]*)?\)")
_MARKUP: Final = re.compile(r"[*`#>|]|!?\[([^\]]*)\]\([^)]*\)|<[^>]+>")
_REPORT: Final = Path(report.__file__).parent / "templates" / "kvmlab"
_OWN: Final = Path(__file__).parent / "templates"


def write_book(runs: Sequence[Path], out: Path) -> Path:
    """Write the site of a run to ``out`` and return its first page.

    Of several runs each language takes the one in that language. Where there is none, prose, tables
    and figures of an English run are translated; what a Chinese run drew stays Chinese.

    Raises:
        UsageError: a folder is no run with executed notebooks, or ``out`` cannot be written.
    """
    executed = {run: _executed(run) for run in runs}
    try:
        for language in LANGUAGES:
            run = next((run for run in runs if _language(run) == language), runs[0])
            with reading(language):
                _write_language(executed[run], _language(run), language, out / language)
        _write_assets(out / "assets")
        first = template("kvmlab.book", "first_page.html.j2")
        languages = [(name, _WORDS[name]) for name in LANGUAGES]
        write_atomically(out / "index.html", first.render(languages=languages))
    except OSError as error:
        raise UsageError(
            f"The book cannot be written to {out}: {reason_of(error)}.",
            todo="Give a folder that you may write to by --out.",
        ) from error
    return out / "index.html"


def _executed(run: Path) -> dict[str, NotebookNode]:
    """Return the executed notebooks of a run, which may be a stranger's, by name.

    Raises:
        UsageError: there is none, or one cannot be read.
    """
    nodes = {}
    for path in sorted((run / NOTEBOOKS).glob("*.ipynb")):
        try:
            nodes[path.stem] = read_notebook(run, NOTEBOOKS, path.name)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} cannot be read: {reason_of(error)}.",
                todo="Name another run of `kvmlab run`.",
            ) from error
    if not nodes:
        raise UsageError(
            f"The folder {run} has no executed notebooks.",
            todo="Name a run of `kvmlab run`: `kvmlab runs` lists those there are.",
        )
    return nodes


def _language(run: Path) -> str:
    try:
        record = parse_sealed(read_file(run, RECORD))
        return known_language(str(record.get("language", ""))) or ENGLISH
    except (OSError, ValueError):
        return ENGLISH


def _write_language(
    executed: Mapping[str, NotebookNode], written_in: str, language: str, folder: Path
) -> None:
    """Write all pages of one language and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    prose = {notebook.name: notebook.node for notebook in all_notebooks(language)}
    pages = [BookPage("index.html", _("Contents"), _contents(executed, prose))]
    for name, stored in executed.items():
        node = deepcopy(stored)
        if language != written_in:
            _take_prose(node, prose.get(name))
            if written_in == ENGLISH:
                translate_outputs(node)
        reference_pages.linked(node, language)
        pages.append(BookPage(f"{name}.html", _title(node) or name, node))
    for file, text in (
        ("primer.html", reference_pages.primer_page(language)),
        ("glossary.html", reference_pages.glossary_page(language)),
    ):
        node = reference_pages.page_node(text)
        pages.append(BookPage(file, _title(node), node))
    pages = [_finished(one) for one in pages]
    note = ""
    if written_in not in (language, ENGLISH):
        note = _("Figures and tables of this run are in Chinese.")
    for number, one in enumerate(pages):
        exporter = BookExporter()
        exporter.head = page.Head(title=one.title, language=language)
        exporter.book = {
            "title": one.title,
            "file": one.file,
            "pages": pages,
            "languages": [(name, _WORDS[name]) for name in LANGUAGES],
            "before": pages[number - 1] if number else None,
            "after": pages[number + 1] if number + 1 < len(pages) else None,
            "note": note if one.file[:2].isdigit() else "",
        }
        html, _resources = exporter.from_notebook_node(one.node)
        write_atomically(folder / one.file, html)
    index = json.dumps([*_index(pages)], ensure_ascii=False)
    write_atomically(folder / "search.js", f"window.KVMLAB_INDEX = {index};\n")
    write_atomically(folder / "primer.svg", reference_pages.primer_drawing(language))


def _contents(
    executed: Mapping[str, NotebookNode], prose: Mapping[str, NotebookNode]
) -> NotebookNode:
    """Return the first page: every notebook with its first sentences, primer and glossary."""
    lines = [f"# {_('kvmlab: the network of KVM virtual machines')}", ""]
    for name, stored in executed.items():
        node = prose.get(name) or stored
        opening = node.cells[0].source if node.cells else ""
        paragraph = " ".join(opening.partition("\n")[2].strip().split("\n\n")[0].split())
        lines += [f"- **[{_title(node) or name}]({name}.ipynb)**  ", f"  {paragraph}"]
    lines += ["", f"[{_('Primer')}](primer.md) · [{_('Glossary')}](glossary.md)"]
    return reference_pages.page_node("\n".join(lines))


def _take_prose(node: NotebookNode, other: NotebookNode | None) -> None:
    """Replace the prose of executed cells by that of another language, cell by cell."""
    if other is None:
        return
    texts = {cell.id: cell.source for cell in other.cells if cell.cell_type == "markdown"}
    for cell in node.cells:
        if cell.cell_type == "markdown":
            cell.source = texts.get(cell.get("id", ""), cell.source)


def _title(node: NotebookNode) -> str:
    for cell in node.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return str(cell.source.partition("\n")[0].removeprefix("# ").strip())
    return ""


def _finished(one: BookPage) -> BookPage:
    """Return a page whose links lead to pages of the book, with its sections."""
    for cell in one.node.cells:
        if cell.cell_type == "markdown":
            cell.source = _LINK.sub(r"](\1.html\3)", cell.source)
    chapters = page.contents(one.node.cells)
    sections = chapters[0].sections if chapters and one.file[:2].isdigit() else ()
    return replace(one, sections=sections)


def _index(pages: Sequence[BookPage]) -> Iterator[dict[str, str]]:
    """Yield what the search knows: the prose of each cell under its heading."""
    for one in pages[1:]:
        heading, anchor = one.title, ""
        for cell in one.node.cells:
            if cell.cell_type != "markdown":
                continue
            first = cell.source.partition("\n")[0]
            if first.startswith("#"):
                heading, anchor = first.lstrip("# ").strip(), cell.get("id", "")
            text = _MARKUP.sub(lambda match: match[1] or "", cell.source)
            title = heading if heading == one.title else f"{heading} · {one.title}"
            yield {
                "page": one.file,
                "anchor": anchor,
                "title": _MARKUP.sub(lambda match: match[1] or "", title),
                "text": " ".join(text.split()),
            }


def _write_assets(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "plotly.min.js", get_plotlyjs())
    write_atomically(folder / "figures.js", (_REPORT / "figures.js").read_text(encoding="utf-8"))
    write_atomically(folder / "book.js", (_OWN / "book.js").read_text(encoding="utf-8"))
    styles = [_REPORT / "style.css", _REPORT / "code.css", _OWN / "book.css"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in styles if path.is_file())
    write_atomically(folder / "book.css", text)
