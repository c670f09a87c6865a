"""The two READMEs: linked both ways, and telling the same things in the same order."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"


def outline(path: Path) -> list[str]:
    tokens = MarkdownIt().parse(path.read_text())
    return [token.tag or token.type for token in tokens if token.nesting >= 0]


def commands(path: Path) -> list[str]:
    """The lines to type and the layout, without what is said about them."""
    blocks = [t.content for t in MarkdownIt().parse(path.read_text()) if t.type == "code_block"]
    return [re.split(r"\s{2,}", line.strip())[0] for text in blocks for line in text.splitlines()]


def spans(path: Path) -> list[str]:
    children = [c for t in MarkdownIt().parse(path.read_text()) for c in t.children or ()]
    return sorted({child.content for child in children if child.type == "code_inline"})


def test_each_leads_to_the_other(repository: Path) -> None:
    assert f"]({CHINESE})" in (repository / ENGLISH).read_text()
    assert f"]({ENGLISH})" in (repository / CHINESE).read_text()


def test_they_have_the_same_parts_commands_and_names(repository: Path) -> None:
    english, chinese = repository / ENGLISH, repository / CHINESE
    assert outline(chinese) == outline(english)
    assert commands(chinese) == commands(english)
    assert spans(chinese) == spans(english)


def test_links_lead_to_files(repository: Path) -> None:
    for name in (ENGLISH, CHINESE):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", (repository / name).read_text()):
            assert (repository / target).exists(), target


def test_every_notebook_is_listed_and_no_other(repository: Path) -> None:
    names = sorted(path.stem for path in (repository / "notebooks").glob("*.ipynb"))
    for page in (ENGLISH, CHINESE):
        rows = (repository / page).read_text().splitlines()
        listed = [match[1] for row in rows if (match := re.match(r"\| `(\d\d-[\w-]+)` \|", row))]
        assert listed == names
