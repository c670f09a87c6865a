"""Minutes of the notebooks: by the rule, in the head of each notebook and on the course's page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvmlab.cli import answer
from kvmlab.course.minutes import RUN_SEC, NotebookMinutes, notebook_minutes
from kvmlab.course.registry import all_tasks
from kvmlab.runbook.notebooks import all_notebooks

BOOKS = {language: all_notebooks(language) for language in ("en", "zh-CN")}
NUMBERS = [book.name[:2] for book in BOOKS["en"]]


def minutes_of(number: str) -> NotebookMinutes:
    (book,) = (book for book in BOOKS["en"] if book.name.startswith(number))
    return notebook_minutes(number, book.node.cells)


@pytest.mark.parametrize("language", BOOKS)
@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_cell_says_how_long_it_takes(number: str, language: str) -> None:
    (book,) = (book for book in BOOKS[language] if book.name.startswith(number))
    sentence = minutes_of(number).sentence.text(language)
    assert sentence in " ".join(book.node.cells[0].source.split()), f"It should say: {sentence}"


@pytest.mark.parametrize("number", NUMBERS)
def test_the_page_of_the_course_has_the_same(number: str, repository: Path) -> None:
    minutes = minutes_of(number)
    count = sum(task.notebook == number for task in all_tasks())
    tasks = f"{count} in {minutes.tasks}" if count else ""
    row = re.search(rf"^\| {number} \|.*$", (repository / "docs/course.md").read_text(), re.M)
    assert row is not None
    cells = [cell.strip() for cell in row[0].split("|")[3:6]]
    assert cells == [str(minutes.reading), str(minutes.running), tasks]


def test_prose_questions_and_tasks_are_counted_and_code_is_not() -> None:
    cells = [
        {"cell_type": "markdown", "source": "word " * 600 + "```\n" + "code " * 900 + "\n```"},
        {"cell_type": "code", "source": 'kvmlab.questions("02-a", "02-b")\nfirst second third'},
        {"cell_type": "code", "source": 'guess = kvmlab.predict("02-c")'},
    ]
    # Four minutes of prose and three asked: seven, rounded up to ten.
    assert notebook_minutes("99", cells) == NotebookMinutes(reading=10, running=0, tasks=0)
    assert notebook_minutes("02", cells[:1]).tasks == 35


def test_every_notebook_was_measured() -> None:
    assert sorted(RUN_SEC) == NUMBERS


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["notebooks"]) == 0
    assert f"    {minutes_of('02').sentence.en}\n" in capsys.readouterr().out
    assert answer(["notebooks", "--language", "zh"]) == 0
    assert f"    {minutes_of('02').sentence.zh}\n" in capsys.readouterr().out
