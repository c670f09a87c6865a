"""Prose from one file, code from another: missing or outdated translations stay English."""

from __future__ import annotations

import io
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from kvmlab.errors import UsageError
from kvmlab.language import LANGUAGES, parse_language
from kvmlab.runbook import file_to_open, find_notebooks, run
from kvmlab.runbook.notebooks import read
from kvmlab.runbook.translation import Block, fingerprint, parse
from kvmlab.runbook.workspace import assemble
from tests.runbook.builders import notebook

ZH = "zh-CN"
TITLE = "# a\n\nWhat it is about."
BLOCK = "<!-- cell: {}, from: {} -->\n{}\n"


def translated(tmp_path: Path, blocks: str = "") -> Path:
    """Write a notebook, and beside it a translation of its first cell."""
    path = notebook(tmp_path / "a.ipynb", ["1 + 1"])
    node = nbformat.read(path, as_version=4)
    node.cells[0].id = "title"
    nbformat.write(node, path)
    beside = tmp_path / ZH / "a.md"
    beside.parent.mkdir(exist_ok=True)
    beside.write_text(blocks or BLOCK.format("title", fingerprint(TITLE), "# 甲\n\n说的是什么。"))
    return path


def test_a_cell_is_translated_and_the_others_are_listed(tmp_path: Path) -> None:
    book = read(translated(tmp_path), ZH)
    assert (book.title, book.summary, book.language) == ("甲", "说的是什么。", ZH)
    (gap,) = book.gaps
    assert "has no translation" in str(gap)
    assert fingerprint("## Part 1") in str(gap)
    assert book.node.cells[2].source == "## Part 1"
    assert book.to_dict()["language"] == ZH


def test_a_changed_cell_is_shown_in_english(tmp_path: Path) -> None:
    path = translated(tmp_path)
    node = nbformat.read(path, as_version=4)
    node.cells[0].source = "# a\n\nIt is about something else."
    nbformat.write(node, path)
    book = read(path, ZH)
    assert book.title == "a"
    assert book.gaps[0].outdated
    assert "title changed since it was translated" in str(book.gaps[0])
    assert fingerprint(node.cells[0].source) in str(book.gaps[0])


def test_lines_may_be_broken_anew(tmp_path: Path) -> None:
    path = translated(tmp_path)
    node = nbformat.read(path, as_version=4)
    node.cells[0].source = "# a\n\nWhat it is\nabout."
    nbformat.write(node, path)
    assert read(path, ZH).title == "甲"


def test_a_notebook_without_a_translation_is_english(tmp_path: Path) -> None:
    book = read(notebook(tmp_path / "own.ipynb"), ZH)
    assert [gap.outdated for gap in book.gaps] == [False]
    assert book.title == "own"


def test_blocks_keep_blank_lines_and_comments_of_their_own() -> None:
    text = "\n<!-- cell: one, from: 0123abcd -->\n甲\n\n<!-- no mark -->\n乙\n\n"
    assert parse(text) == {"one": Block("one", "0123abcd", "甲\n\n<!-- no mark -->\n乙")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("甲\n<!-- cell: one, from: 0123abcd -->", "Line 1 of x stands before the first block"),
        ("<!-- cell: one -->\n甲", "Line 1 of x names no cell and fingerprint"),
        (BLOCK.format("a", "0" * 8, "甲") * 2, "Line 3 of x is the second block of the cell a"),
    ],
)
def test_a_translation_that_cannot_be_read_says_where(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(text, name="x")


def test_a_translation_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = translated(tmp_path)
    (tmp_path / ZH / "a.md").write_bytes("<!-- 甲 -->".encode("gb18030"))
    with pytest.raises(UsageError, match="cannot be read"):
        read(path, ZH)


@pytest.mark.parametrize("name", ["zh-CN", "zh", "zh_cn", "ZH-cn"])
def test_a_language_has_names(name: str) -> None:
    assert parse_language(name) == ZH


@pytest.mark.parametrize("name", ["fr", "", "z", "zh-TW"])
def test_an_unknown_language_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=f"language '{name}'") as caught:
        find_notebooks([], name)
    assert caught.value.todo == f"Its languages are: {', '.join(LANGUAGES)}."


def test_a_run_in_chinese_says_so_in_the_report(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    path, out = translated(tmp_path), tmp_path / "out"
    console = Console(file=io.StringIO(), width=200)
    outcome = run([str(path)], parameters={"TRIALS": "7"}, out=out, console=console, language="zh")
    executed = nbformat.read(out / "notebooks" / "a.ipynb", as_version=4)
    assert executed.cells[0].source == "# 甲\n\n说的是什么。"
    assert executed.cells[-1].outputs[0].data["text/plain"] == "2"
    assert executed.metadata.papermill.parameters["TRIALS"] == 7
    assert '"language": "zh-CN"' in (out / "run.json").read_text()
    page = outcome.report.read_text()
    assert '<html lang="zh-CN">' in page
    assert "<h1>甲</h1>" in page
    assert ">展开全部代码</button>" in page
    assert "Show all code" not in page
    assert isinstance(console.file, io.StringIO)
    assert "shown in English" in console.file.getvalue()


def test_a_run_in_english_stays_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(
        [str(translated(tmp_path))], out=tmp_path / "out", console=Console(file=io.StringIO())
    )
    page = outcome.report.read_text()
    assert '<html lang="en">' in page
    assert "<h1>a</h1>" in page


@pytest.mark.parametrize("language", ["en", ZH])
def test_jupyterlab_opens_a_working_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    lines: list[str] = []
    opened = file_to_open("01", language, say=lines.append)
    assert opened.parent == tmp_path / "kvmlab" / "notebooks" / language
    names = {path.name for path in opened.parent.iterdir()}
    beside = {"glossary.md", "primer.md", "primer.svg"}
    assert names == {book.path.name for book in find_notebooks([])} | beside
    node = nbformat.read(opened, as_version=4)
    nbformat.validate(node)
    written = find_notebooks(["01"], language)[0].node.cells[0].source
    assert node.cells[0].source.splitlines()[0] == written.splitlines()[0]
    assert lines == [f"The notebooks are in {opened.parent}."]
    # The lab's own notebook is copied however it is named; any other one is opened where it is.
    assert file_to_open(str(find_notebooks(["01"])[0].path), language, say=lines.append) == opened


def test_a_notebook_of_ones_own_is_opened_where_it_is(tmp_path: Path) -> None:
    own = notebook(tmp_path / "own.ipynb")
    assert file_to_open(str(own), "en", say=list[str]().append) == own


def test_work_in_that_folder_is_kept_when_the_notebook_is_newer(tmp_path: Path) -> None:
    path, place, lines = translated(tmp_path), tmp_path / "place", list[str]()
    (there,) = assemble([read(path, ZH)], place, lines.append)
    node = nbformat.read(there, as_version=4)
    node.cells[-1].source = "my own = 1"
    nbformat.write(node, there)
    assemble([read(path, ZH)], place, lines.append)
    assert "my own" in there.read_text()
    assert lines == []

    newer = BLOCK.format("title", fingerprint(TITLE), "# 乙\n\n另有说明。")
    (tmp_path / ZH / "a.md").write_text(newer)
    assemble([read(path, ZH)], place, lines.append)
    assert "乙" in there.read_text()
    assert "my own" in (place / "a.kept-1.ipynb").read_text()
    assert lines == ["a.ipynb is newer now; yours is kept as a.kept-1.ipynb."]

    translated(tmp_path)
    assemble([read(path, ZH)], place, lines.append)
    assert "甲" in there.read_text()
    assert sorted(p.name for p in place.glob("*.ipynb")) == ["a.ipynb", "a.kept-1.ipynb"]


def test_a_file_that_is_no_notebook_is_kept_too(tmp_path: Path) -> None:
    place, lines = tmp_path / "place", list[str]()
    place.mkdir()
    (place / "a.ipynb").write_text("notes")
    assemble([read(translated(tmp_path), ZH)], place, lines.append)
    assert (place / "a.kept-1.ipynb").read_text() == "notes"


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        assemble([read(translated(tmp_path), ZH)], tmp_path / "place", list[str]().append)
