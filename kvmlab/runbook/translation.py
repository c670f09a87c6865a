"""Translations of the notebooks' prose; the code is kept once, in the English notebook.

``notebooks/zh-CN/00-packet-path.md`` holds the Chinese of ``notebooks/00-packet-path.ipynb``: a
block for each of its markdown cells, under a comment that names the cell and the English it was
made from:

    <!-- cell: title, from: 3f9a2c1d -->
    # 数据包走过的路

The word after ``from`` is the :func:`fingerprint` of the English cell. When the English changes,
the block is outdated until it is reviewed; meanwhile the English is shown.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from kvmlab.errors import UsageError, reason_of

_MARK = re.compile(r"<!-- cell: (?P<cell>[\w-]+), from: (?P<made_from>[0-9a-f]{8}) -->")
_LIKE_A_MARK = re.compile(r"<!--\s*cell\b")


@dataclass(frozen=True)
class Block:
    """The translation of one cell, with the fingerprint of the English cell it was made from."""

    cell: str
    made_from: str
    text: str


@dataclass(frozen=True)
class Gap:
    """A cell that is shown in English; ``outdated`` where its translation is of an older text."""

    cell: str
    outdated: bool
    fingerprint: str

    def __str__(self) -> str:
        reason = "changed since it was translated" if self.outdated else "has no translation"
        return f"{self.cell} {reason} (English now: {self.fingerprint})"


def fingerprint(english: str) -> str:
    """Return eight hexadecimal digits for an English cell, whatever its line breaks."""
    return hashlib.sha256(" ".join(english.split()).encode()).hexdigest()[:8]


def read(path: Path) -> dict[str, Block]:
    """Read the blocks of a translation by cell id; none where there is no such file.

    Raises:
        UsageError: the file cannot be read, or is malformed.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The translation {path} cannot be read: {reason_of(error)}.",
            todo="Run with --language en, or correct the file.",
        ) from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str = "the translation") -> dict[str, Block]:
    """Return the blocks of a translation's text by cell id.

    Raises:
        UsageError: a comment is malformed, a cell has two blocks, or text precedes the first
            block.
    """
    blocks: dict[str, Block] = {}
    mark: re.Match[str] | None = None
    lines: list[str] = []

    def finish_block() -> None:
        if mark is not None:
            prose = "\n".join(lines).strip()
            blocks[mark["cell"]] = Block(mark["cell"], mark["made_from"], prose)

    for number, line in enumerate(text.splitlines(), 1):
        if not _LIKE_A_MARK.match(line):
            if mark is None and line.strip():
                raise _malformed(name, number, "stands before the first block")
            lines.append(line)
            continue
        finish_block()
        mark, lines = _MARK.fullmatch(line.strip()), []
        if mark is None:
            raise _malformed(name, number, "names no cell and fingerprint")
        if mark["cell"] in blocks:
            raise _malformed(name, number, f"is the second block of the cell {mark['cell']}")
    finish_block()
    return blocks


def _malformed(name: str, number: int, what: str) -> UsageError:
    return UsageError(
        f"Line {number} of {name} {what}.",
        todo="A block begins with a line such as <!-- cell: title, from: 3f9a2c1d -->; the digits "
        "are those that `kvmlab notebooks --language` shows.",
    )


def merge(
    english: NotebookNode, blocks: Mapping[str, Block], language: str
) -> tuple[NotebookNode, tuple[Gap, ...]]:
    """Return the notebook with its prose translated, and the cells that stay English.

    Everything but the text of markdown cells is the English notebook's own. The language is noted
    in the notebook's metadata, for the report.
    """
    node = copy.deepcopy(english)
    gaps = []
    for cell in node.cells:
        if cell.cell_type != "markdown":
            continue
        block, now = blocks.get(cell.get("id", "")), fingerprint(cell.source)
        if block is None or block.made_from != now or not block.text:
            gaps.append(Gap(str(cell.get("id", "")), block is not None, now))
        else:
            cell.source = block.text
    node.metadata["kvmlab"] = NotebookNode(language=language)
    return node, tuple(gaps)
