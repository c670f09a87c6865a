"""The words of the notebooks and the README: one term for each thing, in each language."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import nbformat
import pytest

from kvmlab.runbook import translation
from kvmlab.runbook.notebooks import notebook_folder

HAN = re.compile("[\u3400-\u9fff]")
ENGLISH = sorted(notebook_folder().glob("*.ipynb"))
CHINESE = sorted((notebook_folder() / "zh-CN").glob("*.md"))
# Beside the last column of the glossary: words that this project's English does without.
REFUSED_ENGLISH = ("told", "found", "dear", "moaned", "witness", "thorough")
# Beside the last column of the glossary: patterns, each a term that lacks a part of itself.
REFUSED_CHINESE = (
    r"(?<!宿)主机(?!带)",
    r"吞吐(?!量)",
    r"(?<!虚拟机网卡)独占",
)


def glossary(repository: Path) -> list[list[str]]:
    """Return rows of the glossary: English, Chinese, meaning in both, and the variants refused."""
    lines = (repository / "docs" / "glossary.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in rows if row[0] != "English" and not set(row[0]) <= {"-"}]


def refused(repository: Path, *, chinese: bool) -> re.Pattern[str]:
    """Every word and pattern of one language that may not occur."""
    words = [word.strip() for row in glossary(repository) for word in row[4].split(",") if word]
    if chinese:
        listed = [re.escape(word) for word in words if HAN.search(word)]
        return re.compile("|".join([*listed, *REFUSED_CHINESE]))
    listed = [rf"{re.escape(word)}s?" for word in words if not HAN.search(word)]
    return re.compile(rf"\b(?:{'|'.join([*listed, *REFUSED_ENGLISH])})\b", re.IGNORECASE)


def prose(path: Path) -> list[str]:
    """Return what a reader of a notebook reads: its markdown, and the sentences in its code."""
    cells = nbformat.read(path, as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    for cell in cells:
        if cell.cell_type == "code":
            texts += sentences(cell.source)
    return texts


def sentences(code: str) -> list[str]:
    """Comments of a cell, and its strings of more than one word."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    constants = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    return comments + [text for text in constants if isinstance(text, str) and " " in text]


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)
def test_english_says_it_in_the_terms_of_the_field(path: Path, repository: Path) -> None:
    pattern = refused(repository, chinese=False)
    for text in prose(path):
        assert not (match := pattern.search(text)), f"{match[0]!r} in: {text}"


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.stem)
def test_chinese_has_one_term_for_one_thing(path: Path, repository: Path) -> None:
    pattern = refused(repository, chinese=True)
    for cell, block in translation.read(path).items():
        match = pattern.search(block.text)
        assert not match, f"{cell}: {block.text[max(0, match.start() - 20) : match.end() + 20]}"


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.stem)
def test_only_bridges_switches_and_root_complexes_have_duankou(path: Path) -> None:
    """A port that takes a cable is 网口."""
    for sentence in re.split(r"[。；？！|\n]", path.read_text()):
        if "端口" in sentence:
            assert re.search("网桥|交换机|根端口", sentence), sentence


@pytest.mark.parametrize(
    ("name", "chinese"), [("README.md", False), ("README.zh-CN.md", True)], ids=["en", "zh-CN"]
)
def test_the_readme_uses_the_same_terms(name: str, chinese: bool, repository: Path) -> None:
    for line in (repository / name).read_text().splitlines():
        match = refused(repository, chinese=chinese).search(line)
        assert not match, line


def test_each_term_is_in_both_languages(repository: Path) -> None:
    rows = glossary(repository)
    assert len(rows) > 40
    for english, chinese, meaning, meaning_here, _ in rows:
        assert english
        assert not HAN.search(english), english
        assert chinese
        # A word that Chinese takes over as it is: then the meaning is explained.
        assert meaning, english
        assert HAN.search(meaning_here) or meaning_here.startswith("见 "), english


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.stem)
def test_the_chinese_terms_are_those_of_the_glossary(path: Path, repository: Path) -> None:
    """Of a term in English letters the glossary knows the spelling: `Virtqueue` is not one."""
    text = path.read_text()
    for word in ("virtqueue", "vCPU", "ioeventfd", "irqfd", "vhost"):
        wrong = [one for one in re.findall(word, text, re.IGNORECASE) if one != word]
        assert not wrong, wrong
