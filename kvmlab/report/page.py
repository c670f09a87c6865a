"""Frame of a report around its notebooks: findings, head, contents, parameters."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nbformat import NotebookNode

from kvmlab.language import translate
from kvmlab.report.sentences import CLAIM_MIME

_HEADING = re.compile(r"^(#{1,2}) (.+)$")
# An underscore inside a word is no markup: vhost_net.
_MARKUP = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|\[(?P<text>[^\]]*)\]\([^)]*\)")
_PARAMETER = re.compile(r"^(\w+)\s*(?::[^=]*)?=\s*(.*?)(?:\s+#\s*(.*))?$")


@dataclass(frozen=True)
class ParameterRow:
    """One parameter of one notebook as it ran; ``injected`` where the run set it."""

    notebook: str
    name: str
    value: str
    help: str
    injected: bool


@dataclass(frozen=True)
class PageSection:
    """Entry of the contents list; chapters are the notebooks, sections their parts."""

    text: str
    anchor: str
    sections: tuple[PageSection, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A line at the head of a report."""

    name: str
    value: str


@dataclass(frozen=True)
class NotebookRow:
    """One notebook of a run; ``anchor`` is its place in the page, where it was executed."""

    name: str
    title: str
    status: str
    elapsed_sec: float
    anchor: str = ""

    @property
    def duration(self) -> str:
        """Elapsed time in words; empty for a notebook that did not run."""
        whole = round(self.elapsed_sec)
        if not whole:
            return ""
        if whole < 100:
            return translate("{seconds} s").format(seconds=whole)
        return translate("{minutes} min {seconds} s").format(
            minutes=whole // 60, seconds=f"{whole % 60:02d}"
        )


@dataclass(frozen=True)
class ClaimRow:
    """One claim judged by a notebook; ``anchor`` is the cell, ``chapter`` the notebook's title."""

    claim: str
    outcome: str
    ratio: str
    interval: str
    needed: str
    metric: str
    schemes: str
    anchor: str
    chapter: str


@dataclass(frozen=True)
class Medians:
    """Medians of one notebook, as an HTML table."""

    title: str
    html: str


@dataclass(frozen=True)
class Head:
    """Head of a report. ``warning`` is the sentence about an emulated host.

    ``overview`` is the figure of all schemes as JSON for plotly, ``csv`` the whole tidy table;
    ``failure`` says why a run ended early. Without a ``language`` the notebook's metadata say it.
    """

    title: str = "kvmlab report"
    created: str = ""
    warning: str = ""
    failure: str = ""
    facts: tuple[Fact, ...] = ()
    notebooks: tuple[NotebookRow, ...] = ()
    overview: str = ""
    claims: tuple[ClaimRow, ...] = ()
    medians: tuple[Medians, ...] = ()
    csv: str = ""
    parameters: tuple[ParameterRow, ...] = ()
    contents: tuple[PageSection, ...] = ()
    language: str = ""

    @property
    def csv_base64(self) -> str:
        """The tidy table for a link that saves it without a network."""
        return base64.b64encode(self.csv.encode()).decode()


def join(notebooks: Mapping[str, NotebookNode]) -> NotebookNode:
    """Join notebooks into one, each cell with an id that is unique in the page."""
    first = next(iter(notebooks.values()))
    joined = NotebookNode(
        nbformat=4,
        nbformat_minor=5,
        metadata=NotebookNode(
            language_info=first.metadata.get("language_info") or {"name": "python"},
            kvmlab=first.metadata.get("kvmlab", {}),
        ),
        cells=[],
    )
    for number, node in enumerate(notebooks.values()):
        for position, cell in enumerate(node.cells):
            copy = NotebookNode({**cell, "id": f"n{number}-{cell.get('id', position)}"})
            joined.cells.append(copy)
    return joined


def anchored(
    rows: Sequence[NotebookRow], nodes: Mapping[str, NotebookNode]
) -> tuple[NotebookRow, ...]:
    """Return the rows with the anchors that `join` gives to their notebooks."""
    anchors = {
        name: f"n{number}-{node.cells[0].get('id', 0)}"
        for number, (name, node) in enumerate(nodes.items())
        if node.cells
    }
    return tuple(replace(row, anchor=anchors.get(row.name, "")) for row in rows)


def contents(cells: Sequence[NotebookNode]) -> tuple[PageSection, ...]:
    """Return chapters and sections, from the first heading of every markdown cell."""
    chapters: list[tuple[str, str, list[PageSection]]] = []
    for cell in cells:
        match = _HEADING.match(cell.source.partition("\n")[0])
        if cell.cell_type != "markdown" or not match:
            continue
        text = _MARKUP.sub(lambda m: m["text"] or "", match[2]).strip()
        if len(match[1]) == 1 or not chapters:
            chapters.append((text, cell.id, []))
        else:
            chapters[-1][2].append(PageSection(text, cell.id))
    return tuple(PageSection(text, anchor, tuple(parts)) for text, anchor, parts in chapters)


def claims(cells: Sequence[NotebookNode], chapters: Sequence[PageSection]) -> tuple[ClaimRow, ...]:
    """Return the claims in the outputs of executed cells, in their order."""
    titles = {chapter.anchor: chapter.text for chapter in chapters}
    rows = []
    chapter = ""
    for cell in cells:
        chapter = titles.get(cell.id, chapter)
        for output in cell.get("outputs", ()):
            claim = output.get("data", {}).get(CLAIM_MIME)
            if claim is not None:
                rows.append(
                    ClaimRow(
                        claim=claim["claim"],
                        outcome=claim["outcome"],
                        ratio=claim["ratio"],
                        interval=claim["interval"],
                        needed=claim["needed"],
                        metric=claim["metric"],
                        schemes=" : ".join(claim["schemes"]),
                        anchor=cell.id,
                        chapter=chapter,
                    )
                )
    return tuple(rows)


def parameters(name: str, node: NotebookNode) -> tuple[ParameterRow, ...]:
    """Return the parameters of an executed notebook, with the values that it ran with."""
    injected = _assigned(node, "injected-parameters")
    return tuple(
        ParameterRow(name, key, injected.get(key, (value, ""))[0], comment, key in injected)
        for key, (value, comment) in _assigned(node, "parameters").items()
    )


def _assigned(node: NotebookNode, tag: str) -> dict[str, tuple[str, str]]:
    """Return the assignments in cells with a tag: name -> value and comment."""
    assigned: dict[str, tuple[str, str]] = {}
    for cell in node.cells:
        if tag in cell.metadata.get("tags", []):
            for line in cell.source.splitlines():
                match = _PARAMETER.match(line.strip())
                if match:
                    assigned[match[1]] = (match[2], match[3] or "")
    return assigned
