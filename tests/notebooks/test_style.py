"""The notebooks teach and run: the rules of their style, held for every one of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

from kvmlab.runbook.notebooks import notebook_folder, read

PATHS = sorted(notebook_folder().glob("*.ipynb"))
LONGEST_CELL = 10
OPENING = ("## What you will do", "## What you will learn", "## What you need")
CLOSING = ("Exercises", "In practice", "Further reading")
FORBIDDEN = (ast.FunctionDef, ast.ClassDef, ast.Try, ast.Lambda, ast.AsyncFunctionDef)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def node(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(request.param, as_version=4)
    return notebook


def code(node: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in node.cells if cell.cell_type == "code"]


def tagged(node: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in node.cells if tag in cell.metadata.get("tags", [])]


def test_it_opens_with_what_you_will_do_learn_and_need(node: nbformat.NotebookNode) -> None:
    first = node.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    places = [first.source.find(heading) for heading in OPENING]
    assert places == sorted(places)
    assert places[0] > 0


def test_it_closes_with_exercises_practice_and_reading(node: nbformat.NotebookNode) -> None:
    headings = [
        cell.source.partition("\n")[0].lstrip("# ")
        for cell in node.cells
        if cell.cell_type == "markdown" and cell.source.startswith("## ")
    ]
    assert tuple(headings[-3:]) == CLOSING


def test_imports_are_in_one_cell(node: nbformat.NotebookNode) -> None:
    importing = [cell for cell in code(node) if re.search(r"^\s*(import|from) ", cell.source, re.M)]
    assert [cell.id for cell in importing] == ["imports"]
    assert code(node)[0].id == "imports"


def test_parameters_are_in_one_tagged_cell(node: nbformat.NotebookNode) -> None:
    (cell,) = tagged(node, "parameters")
    for line in cell.source.splitlines():
        assert re.fullmatch(r"[A-Z_]+: (str|int|float|bool) = [^=#]+  # \S[^=]*", line), line
    assert cell.source.startswith("HOST: str")


def test_cells_are_short_and_plain(node: nbformat.NotebookNode) -> None:
    for cell in code(node):
        assert len(cell.source.splitlines()) < LONGEST_CELL, cell.id
        assert not re.search(r"^\s*[!%]", cell.source, re.M), f"{cell.id}: a magic"
        tree = ast.parse(cell.source)
        assert not [part for part in ast.walk(tree) if isinstance(part, FORBIDDEN)], cell.id


def test_prose_comes_before_code(node: nbformat.NotebookNode) -> None:
    """No more than two cells of code in a row: prose says what they are for."""
    kinds = "".join("c" if cell.cell_type == "code" else "m" for cell in node.cells)
    assert "cccc" not in kinds
    assert kinds.startswith("m")


def test_outputs_are_stripped_and_the_kernel_is_kept(node: nbformat.NotebookNode) -> None:
    for cell in code(node):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert node.metadata.kernelspec.name == "python3"
    assert set(node.metadata) == {"kernelspec", "language_info"}


def test_cells_have_names_of_their_own(node: nbformat.NotebookNode) -> None:
    """A translation of the prose finds its place by them."""
    ids = [cell.id for cell in node.cells]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z-]+", cell_id) for cell_id in ids)


def test_lines_of_prose_and_code_fit(node: nbformat.NotebookNode) -> None:
    for cell in node.cells:
        for line in cell.source.splitlines():
            assert len(line) <= 110 or "http" in line, f"{cell.id}: {line}"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_its_name_says_its_place(path: Path) -> None:
    assert re.fullmatch(r"\d\d-[a-z0-9-]+", path.stem)
    assert read(path).title
