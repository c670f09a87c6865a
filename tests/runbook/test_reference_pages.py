"""The glossary and the primer beside the notebooks, and the links of terms to the glossary."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
import pytest
from lxml import etree
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from kvmlab.language import LANGUAGES
from kvmlab.runbook import reference_pages
from kvmlab.runbook.notebooks import Notebook, all_notebooks
from kvmlab.runbook.workspace import assemble

LINK = re.compile(r"\[([^\]]+)\]\(glossary\.md#([^)]+)\)")


def linked(text: str, language: str = "en") -> str:
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    reference_pages.linked(node, language)
    return str(node.cells[0].source)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_notebook_links_its_terms_once_to_an_anchor_that_is_there(language: str) -> None:
    anchors = {
        line.removeprefix("### ").replace(" ", "-")
        for line in reference_pages.glossary_page(language).splitlines()
        if line.startswith("### ")
    }
    assert len(anchors) > 50
    for notebook in all_notebooks(language):
        node = copy.deepcopy(notebook.node)
        reference_pages.linked(node, language)
        prose = "\n".join(cell.source for cell in node.cells if cell.cell_type == "markdown")
        targets = [target for _, target in LINK.findall(prose)]
        assert len(targets) > 8, notebook.name
        assert len(targets) == len(set(targets)), notebook.name
        assert set(targets) <= anchors


def test_code_headings_and_links_stay_as_they_are() -> None:
    text = "# The virtqueue\n\n`virtqueue`, [a virtqueue](x.md) and <b title='virtqueue'>x</b>"
    assert linked(text) == text
    assert linked("A **virtqueue** and a virtqueue") == (
        "A [**virtqueue**](glossary.md#virtqueue) and a virtqueue"
    )


def test_a_term_is_known_in_the_plural_and_not_inside_another_word() -> None:
    assert "[VM exits](glossary.md#VM-exit)" in linked("Counts VM exits.")
    assert linked("a pre-softirq-thing") == "a pre-softirq-thing"


def test_chinese_terms_are_linked_and_stay_bold() -> None:
    """Between Chinese letters `**[` opens nothing bold, and the marks would be seen."""
    text = linked("每次**软中断**都要时间。", "zh-CN")
    assert text == "每次[**软中断**](glossary.md#softirq)都要时间。"
    assert "**" not in markdown2html_mistune(text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_working_copy_has_glossary_and_primer(tmp_path: Path, language: str) -> None:
    book: Notebook = all_notebooks(language)[1]
    (path,) = assemble([book], tmp_path, list[str]().append)
    assert LINK.search(path.read_text())
    primer = (tmp_path / "primer.md").read_text()
    assert "](primer.svg)" in primer
    assert "](glossary.md)" in primer
    for word in ("virtqueue", "TSO", "IOMMU"):
        assert word in primer
    assert etree.fromstring((tmp_path / "primer.svg").read_bytes()).tag.endswith("svg")
    assert (tmp_path / "glossary.md").read_text().count("### ") > 50


def test_the_drawing_of_the_primer_has_colours_for_a_dark_page(repository: Path) -> None:
    for path in (repository / "docs" / "images").glob("primer*.svg"):
        assert "prefers-color-scheme: dark" in path.read_text()
