"""What stands around the notebooks of a report: its head, its contents, its parameters."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nbformat import NotebookNode

_HEADING = re.compile(r"^(#{1,2}) (.+)$")
# An underscore inside a word is no markup: vhost_net.
_MARKUP = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|\[(?P<text>[^\]]*)\]\([^)]*\)")
_PARAMETER = re.compile(r"^(\w+)\s*(?::[^=]*)?=\s*(.*?)(?:\s+#\s*(.*))?$")


@dataclass(frozen=True)
class ParameterRow:
    """One parameter of one notebook as it ran; ``given`` where the run set it."""

    notebook: str
    name: str
    value: str
    help: str
    given: bool


@dataclass(frozen=True)
class Section:
    """An entry of the contents list; chapters are the notebooks, sections their parts."""

    text: str
    anchor: str
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A line at the head of a report."""

    name: str
    value: str


@dataclass(frozen=True)
class Stop:
    """One notebook of a run: how it went, and where the page has it if it was executed."""

    name: str
    title: str
    status: str
    elapsed_sec: float
    anchor: str = ""

    @property
    def took(self) -> str:
        """Its time as people say it; nothing where it did not run."""
        whole = round(self.elapsed_sec)
        if not whole:
            return ""
        return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02d} s"


@dataclass(frozen=True)
class Medians:
    """What one notebook measured, as a table in HTML."""

    title: str
    html: str


@dataclass(frozen=True)
class Head:
    """The head of a report. ``warning`` is the line about an emulated host and its clock.

    ``table`` is HTML of the medians, ``csv`` the whole tidy table; ``failure`` says why a run
    did not come to its end. Of a run, ``stops`` are its notebooks and ``medians`` what each of
    them measured. Without a ``language`` the notebook's metadata say it.
    """

    title: str = "kvmlab report"
    made: str = ""
    warning: str = ""
    failure: str = ""
    facts: tuple[Fact, ...] = ()
    stops: tuple[Stop, ...] = ()
    medians: tuple[Medians, ...] = ()
    table: str = ""
    csv: str = ""
    parameters: tuple[ParameterRow, ...] = ()
    contents: tuple[Section, ...] = field(default=())
    language: str = ""

    @property
    def csv_base64(self) -> str:
        """The table for a link that saves it without a network."""
        return base64.b64encode(self.csv.encode()).decode()


def join(notebooks: Mapping[str, NotebookNode]) -> NotebookNode:
    """All notebooks as one, each cell with an id of its own and its notebook's name."""
    first = next(iter(notebooks.values()))
    together = NotebookNode(
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
            together.cells.append(copy)
    return together


def anchored(stops: Sequence[Stop], nodes: Mapping[str, NotebookNode]) -> tuple[Stop, ...]:
    """The stops of a run with the places where `join` puts their notebooks."""
    places = {
        name: f"n{number}-{node.cells[0].get('id', 0)}"
        for number, (name, node) in enumerate(nodes.items())
        if node.cells
    }
    return tuple(replace(stop, anchor=places.get(stop.name, "")) for stop in stops)


def contents(cells: Sequence[NotebookNode]) -> tuple[Section, ...]:
    """Chapters and sections from the first heading of every markdown cell."""
    chapters: list[tuple[str, str, list[Section]]] = []
    for cell in cells:
        found = _HEADING.match(cell.source.partition("\n")[0])
        if cell.cell_type != "markdown" or not found:
            continue
        text = _MARKUP.sub(lambda m: m["text"] or "", found[2]).strip()
        if len(found[1]) == 1 or not chapters:
            chapters.append((text, cell.id, []))
        else:
            chapters[-1][2].append(Section(text, cell.id))
    return tuple(Section(text, anchor, tuple(parts)) for text, anchor, parts in chapters)


def parameters(name: str, node: NotebookNode) -> tuple[ParameterRow, ...]:
    """The parameters of an executed notebook, with the values that it ran with."""
    given = _assigned(node, "injected-parameters")
    return tuple(
        ParameterRow(name, key, given.get(key, (value, ""))[0], told, key in given)
        for key, (value, told) in _assigned(node, "parameters").items()
    )


def _assigned(node: NotebookNode, tag: str) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for cell in node.cells:
        if tag in cell.metadata.get("tags", []):
            for line in cell.source.splitlines():
                match = _PARAMETER.match(line.strip())
                if match:
                    found[match[1]] = (match[2], match[3] or "")
    return found
