"""The Chinese notebooks: the same code to the byte, all prose translated, and none of it stale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from kvmlab.language import LANGUAGES
from kvmlab.runbook import translation
from kvmlab.runbook.notebooks import Notebook, notebook_folder, read

LANGUAGE = "zh-CN"
PATHS = sorted(notebook_folder().glob("*.ipynb"))
# Around Chinese characters: full-width marks, and a blank between them and Latin words.
HAN = "\u3400-\u9fff"
HALF_WIDTH = re.compile(rf"[{HAN}][,;:?!()]|[,;:?!()][{HAN}]")
GLUED = re.compile(rf"[{HAN}][A-Za-z0-9]|[A-Za-z0-9][{HAN}]")
ENGLISH_SENTENCE = re.compile(r"(?:\b[A-Za-z][a-z']+\b[ ,]+){4,}\b[A-Za-z][a-z']+\b")


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    notebook: Path = request.param
    return notebook


@pytest.fixture(scope="module")
def english(path: Path) -> nbformat.NotebookNode:
    node: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    return node


@pytest.fixture(scope="module")
def book(path: Path) -> Notebook:
    return read(path, LANGUAGE)


def markdown(node: nbformat.NotebookNode) -> dict[str, str]:
    return {cell.id: cell.source for cell in node.cells if cell.cell_type == "markdown"}


def inline(source: str) -> Iterator[Token]:
    """Yield the words of a cell, without code, links and titles of books."""
    for token in MarkdownIt().enable("table").parse(source):
        hidden = ""
        for child in token.children or ():
            if child.type in ("link_open", "em_open"):
                hidden = child.type
            elif child.type in ("link_close", "em_close"):
                hidden = ""
            elif not hidden:
                yield child


def words(source: str) -> list[str]:
    return [token.content for token in inline(source) if token.type == "text"]


def outline(source: str) -> list[str]:
    """Return the headings, paragraphs, lists and tables of a cell, in order."""
    tokens = MarkdownIt().enable("table").parse(source)
    return [token.tag for token in tokens if token.type.endswith("_open")]


def spans(source: str) -> set[str]:
    """Return code and addresses: what must be the same in every language."""
    tokens = [c for t in MarkdownIt().enable("table").parse(source) for c in t.children or ()]
    code = {token.content for token in tokens if token.type == "code_inline"}
    links = {str(token.attrs["href"]) for token in tokens if token.type == "link_open"}
    blocks = {t.content for t in MarkdownIt().parse(source) if t.type == "fence"}
    return code | links | blocks


def test_the_lab_is_kept_in_chinese() -> None:
    assert LANGUAGES == ("en", LANGUAGE)


def test_every_translation_has_its_notebook() -> None:
    texts = {path.stem for path in (notebook_folder() / LANGUAGE).iterdir()}
    assert texts <= {path.stem for path in PATHS}


def test_the_code_is_identical_to_the_byte(book: Notebook, english: nbformat.NotebookNode) -> None:
    for ours, theirs in zip(book.node.cells, english.cells, strict=True):
        assert (ours.id, ours.cell_type, ours.metadata) == (
            theirs.id,
            theirs.cell_type,
            theirs.metadata,
        )
        if ours.cell_type == "code":
            assert ours.source.encode() == theirs.source.encode()


def test_every_cell_is_translated_and_none_is_out_of_date(book: Notebook) -> None:
    assert not book.gaps, "; ".join(str(gap) for gap in book.gaps)


def test_no_translation_is_of_a_cell_that_is_gone(
    path: Path, english: nbformat.NotebookNode
) -> None:
    blocks = translation.read(path.parent / LANGUAGE / f"{path.stem}.md")
    assert list(blocks) == list(markdown(english))


def test_no_english_is_left(book: Notebook) -> None:
    for cell, source in markdown(book.node).items():
        assert re.search(f"[{HAN}]", source), f"{cell} has no Chinese in it"
        for text in words(source):
            assert not ENGLISH_SENTENCE.search(text), f"{cell}: {text}"


def test_code_and_addresses_are_those_of_the_english(
    book: Notebook, english: nbformat.NotebookNode
) -> None:
    theirs = markdown(english)
    for cell, source in markdown(book.node).items():
        assert spans(source) == spans(theirs[cell]), cell


def test_cells_are_built_as_the_english_ones(
    book: Notebook, english: nbformat.NotebookNode
) -> None:
    theirs = markdown(english)
    for cell, source in markdown(book.node).items():
        assert outline(source) == outline(theirs[cell]), cell


def test_the_markup_is_markup(book: Notebook) -> None:
    """Next to Chinese marks ``**`` may not end what it began; then it is shown as it stands."""
    for cell, source in markdown(book.node).items():
        for text in words(source):
            assert not re.search(r"[*`]", text), f"{cell}: {text}"


def test_slanted_letters_are_latin(book: Notebook) -> None:
    """Slant titles of books only; Chinese is stressed by ``**``."""
    for cell, source in markdown(book.node).items():
        assert not re.search(rf"(?<!\*)\*[^*\n]*[{HAN}][^*\n]*\*(?!\*)", bare(source)), cell


def bare(source: str) -> str:
    """Return the source without strong words and code, in which a star is no mark."""
    return re.sub(r"\*\*.+?\*\*|`[^`]*`", "", source)


def test_paragraphs_are_one_line(book: Notebook) -> None:
    """A browser shows the end of a line as a blank, and Chinese has none between words."""
    for cell, source in markdown(book.node).items():
        assert not [t for t in inline(source) if t.type == "softbreak"], cell


def test_marks_and_blanks_are_those_of_chinese_typesetting(book: Notebook) -> None:
    for cell, source in markdown(book.node).items():
        for text in words(source):
            if "《" not in text and "–" not in text:  # the article's own title and line
                assert not GLUED.search(text), f"{cell}: {text}"
            assert not HALF_WIDTH.search(text), f"{cell}: {text}"
