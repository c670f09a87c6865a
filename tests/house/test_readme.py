"""Pages in two languages: linked both ways, and telling the same things in the same order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
PAGES = ("README", "docs/trainer", "docs/primer")


def outline(path: Path) -> list[str]:
    tokens = MarkdownIt().parse(path.read_text())
    return [token.tag or token.type for token in tokens if token.nesting >= 0]


def commands(path: Path) -> list[str]:
    """Return the lines to type and the layout, without what is said about them."""
    blocks = [t.content for t in MarkdownIt().parse(path.read_text()) if t.type == "code_block"]
    return [re.split(r"\s{2,}", line.strip())[0] for text in blocks for line in text.splitlines()]


def spans(path: Path) -> list[str]:
    children = [c for t in MarkdownIt().parse(path.read_text()) for c in t.children or ()]
    return sorted({child.content for child in children if child.type == "code_inline"})


@pytest.fixture(params=PAGES)
def pair(request: pytest.FixtureRequest, repository: Path) -> tuple[Path, Path]:
    """Return a page in English and in Chinese."""
    return repository / f"{request.param}.md", repository / f"{request.param}.zh-CN.md"


def test_each_leads_to_the_other(pair: tuple[Path, Path]) -> None:
    english, chinese = pair
    assert f"]({chinese.name})" in english.read_text()
    assert f"]({english.name})" in chinese.read_text()


def test_they_have_the_same_parts_commands_and_names(pair: tuple[Path, Path]) -> None:
    english, chinese = pair
    assert outline(chinese) == outline(english)
    assert commands(chinese) == commands(english)
    assert spans(chinese) == spans(english)


def test_links_lead_to_files(pair: tuple[Path, Path]) -> None:
    for page in pair:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), target


def test_every_notebook_is_listed_and_no_other(repository: Path) -> None:
    names = sorted(path.stem for path in (repository / "notebooks").glob("*.ipynb"))
    for page in (ENGLISH, CHINESE):
        rows = (repository / page).read_text().splitlines()
        listed = [match[1] for row in rows if (match := re.match(r"\| `(\d\d-[\w-]+)` \|", row))]
        assert listed == names
