"""Pages beside the notebooks: the glossary, with an anchor for each term, and the primer.

Both are written from `docs`, in the language of the notebooks. Notebooks link to the glossary at
the first use of a term; the links are added to the copies that people open, so that the prose
itself needs none.
"""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import nbformat
from nbformat import NotebookNode

from kvmlab.errors import UsageError
from kvmlab.language import ENGLISH

GLOSSARY: Final = "glossary.md"
PRIMER: Final = "primer.md"
#: Words that everybody knows, or that every paragraph has: a link would only disturb.
_PLAIN: Final = frozenset(
    (
        "host",
        "guest",
        "VM",
        "path",
        "NIC",
        "port",
        "interface",
        "packet",
        "plan",
        "option",
        "trial",
        "task",
        "incident",
        "assessment",
        "trainer",
        "seat",
        "board",
    )
)
#: What is no prose of its own: code, links, tags, headings, formulas, addresses.
_CLOSED: Final = re.compile(
    r"(```.*?```|`[^`]*`|!?\[[^\]]*\]\([^)]*\)|<[^>]+>|^#.*?$|\$[^$\n]+\$|https?://\S+)",
    re.MULTILINE | re.DOTALL,
)
#: A link that is all there is of something bold.
_BOLD_LINK: Final = re.compile(r"\*\*\[([^\]*]+)\]\(([^)]*)\)\*\*")
#: How the prose names these pages, which stand in `docs` of the repository.
_PAGE: Final = re.compile(r"`(docs/)(glossary\.md|primer\.md)`")
_TITLES: Final = {
    ENGLISH: "# Glossary\n\nThe terms of the notebooks, in both languages.",
    "zh-CN": "# 术语表\n\n各笔记本的术语，附两种语言。",
}
_SECTIONS: Final = {
    "The lab": "实验",
    "The path of a packet": "数据包的路径",
    "Virtualisation": "虚拟化",
    "PCI": "PCI",
    "The course": "课程",
}


@dataclass(frozen=True)
class Term:
    """A row of the glossary: the term and its meaning in both languages, and its section."""

    english: str
    chinese: str
    meaning: str
    meaning_chinese: str
    section: str

    @property
    def anchor(self) -> str:
        """The anchor that JupyterLab gives to the term's heading."""
        return self.heading.replace(" ", "-")

    @property
    def heading(self) -> str:
        """The first of its English words: an anchor holds letters, digits and dashes."""
        return self.words(ENGLISH)[0]

    def words(self, language: str) -> tuple[str, ...]:
        """Return the words by which prose in ``language`` calls it."""
        text = self.english if language == ENGLISH else self.chinese
        bare = re.sub(r"（[^）]*）|\([^)]*\)", "", text)
        return tuple(word.strip() for word in re.split(r"[,，]", bare) if word.strip())


def docs_folder() -> Path:
    """Return the folder of the documentation: in the repository, or as installed.

    Raises:
        UsageError: there is none in either.
    """
    places = (
        Path(__file__).resolve().parents[2] / "docs",
        Path(sysconfig.get_path("data")) / "share" / "kvmlab" / "docs",
    )
    for place in places:
        if (place / GLOSSARY).is_file():
            return place
    raise UsageError("The glossary of kvmlab was not found.", todo="Install kvmlab again.")


@cache
def terms() -> tuple[Term, ...]:
    """Return the terms of the glossary, in its order."""
    rows: list[Term] = []
    section = ""
    for line in (docs_folder() / GLOSSARY).read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[0] != "English" and not set(cells[0]) <= {"-"}:
            rows.append(Term(cells[0], cells[1], cells[2], cells[3], section))
    return tuple(rows)


def glossary_page(language: str) -> str:
    """Return the glossary as Markdown, a heading for each term."""
    lines = [_TITLES[language]]
    section = ""
    for term in terms():
        if term.section != section:
            section = term.section
            lines.append(f"## {section if language == ENGLISH else _SECTIONS[section]}")
        meaning = term.meaning if language == ENGLISH else term.meaning_chinese
        whole = "" if term.english == term.heading else f"{term.english} · "
        lines.append(f"### {term.heading}\n\n{whole}**{term.chinese}** · {meaning}")
    return "\n\n".join(lines) + "\n"


def page_node(text: str) -> NotebookNode:
    """Return a page of Markdown as a notebook: a cell for each heading, which is its anchor."""
    parts = re.split(r"(?m)^(?=#{1,3} )", text)
    cells = [nbformat.v4.new_markdown_cell(part.strip()) for part in parts if part.strip()]
    for number, cell in enumerate(cells):
        heading = re.match(r"#{3} (.+)", cell.source)
        cell.id = heading[1].replace(" ", "-") if heading else f"part-{number}"
    node: NotebookNode = nbformat.v4.new_notebook(cells=cells)
    return node


def glossary_cells(language: str, prefix: str) -> list[NotebookNode]:
    """Return the glossary as the last chapter of a page; the anchor of each cell has a prefix."""
    cells: list[NotebookNode] = page_node(glossary_page(language)).cells
    for cell in cells:
        cell.id = f"{prefix}{cell.id}"
    return cells


def primer_page(language: str) -> str:
    """Return the primer as Markdown; its drawing stands beside it as ``primer.svg``."""
    name = PRIMER if language == ENGLISH else f"primer.{language}.md"
    text = (docs_folder() / name).read_text(encoding="utf-8")
    title, _line, rest = text.partition("\n\n")
    # The line that leads to the other language is the documentation's.
    body = rest.partition("\n\n")[2]
    return f"{title}\n\n{re.sub(r'images/primer[^)]*', 'primer.svg', body)}"


def primer_drawing(language: str) -> str:
    """Return the drawing of the primer as SVG."""
    name = "primer.svg" if language == ENGLISH else f"primer.{language}.svg"
    return (docs_folder() / "images" / name).read_text(encoding="utf-8")


def linked(node: NotebookNode, language: str, *, anchors: str = f"{GLOSSARY}#") -> None:
    """Link the first use of each term in a notebook's prose to the glossary, in place.

    ``anchors`` stands before the anchor of a term; by default the page stands beside the notebook.
    """
    open_terms = [term for term in terms() if not set(term.words(ENGLISH)) & _PLAIN]
    for cell in node.cells:
        if cell.cell_type != "markdown":
            continue
        if anchors.startswith(GLOSSARY):
            cell.source = _PAGE.sub(r"[\2](\2)", cell.source)
        for term in tuple(open_terms):
            source = _with_link(cell.source, term, language, anchors)
            if source != cell.source:
                cell.source = source
                open_terms.remove(term)


def _with_link(source: str, term: Term, language: str, anchors: str) -> str:
    """Return a cell's text with the first use of ``term`` as a link, if there is one."""
    pattern = _pattern(term, language)
    parts = _CLOSED.split(source)
    for index in range(0, len(parts), 2):
        changed = pattern.sub(rf"[\g<0>]({anchors}{term.anchor})", parts[index], count=1)
        # Between Chinese letters a mark of bold that a bracket follows is none.
        changed = _BOLD_LINK.sub(r"[**\1**](\2)", changed)
        if changed != parts[index]:
            parts[index] = changed
            return "".join(parts)
    return source


def _pattern(term: Term, language: str) -> re.Pattern[str]:
    # The longest first: "userspace exit" before "exit".
    words = sorted(map(re.escape, term.words(language)), key=len, reverse=True)
    either = "|".join(words)
    if language == ENGLISH:
        return re.compile(rf"(?<![\w-])(?:{either})(?:e?s)?(?![\w-])", re.IGNORECASE)
    return re.compile(rf"(?<![A-Za-z])(?:{either})(?![A-Za-z])")
