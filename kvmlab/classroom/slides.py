"""Slides from a run: its own figures, one HTML file that needs no network.

Before each figure stands a slide that asks for a prediction: who predicts first learns more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs

from kvmlab.classroom import words
from kvmlab.errors import UsageError, reason_of
from kvmlab.language import ENGLISH, known_language
from kvmlab.rendering import script_hash, script_source, template
from kvmlab.stored_files import is_present, parse_sealed, read_file, read_notebook

_RECORD: Final = "run.json"
_PLOTLY: Final = "application/vnd.plotly.v1+json"
_HEADING: Final = re.compile(r"^(#{1,3})\s+(.+?)\s*$", re.MULTILINE)
_LINK: Final = re.compile(r"!?\[([^]]*)\]\([^)]*\)")
_MARKS: Final = re.compile(r"[*_`]")


@dataclass(frozen=True)
class Slide:
    """One slide: a title, what stands below it, and a figure as JSON for plotly, "" without one.

    ``kind`` is "title", "chapter", "question" or "figure".
    """

    kind: str
    title: str
    chapter: str = ""
    lines: tuple[str, ...] = ()
    figure: str = ""


def slides_of(run: Path) -> str:
    """Return a run's slides as one HTML page, in the run's language.

    Raises:
        UsageError: the folder is no run, or none of its notebooks has a figure.
    """
    record = _record(run)
    language = known_language(str(record.get("language", ""))) or ENGLISH
    slides = [*_slides(run, record, language)]
    if not any(slide.figure for slide in slides):
        raise UsageError(
            f"No notebook of the run {run} has a figure yet.",
            todo="Run one first: `kvmlab run 01`.",
        )
    own = files("kvmlab.classroom").joinpath("templates", "slides.js").read_text(encoding="utf-8")
    plotly, script = script_source(get_plotlyjs()), script_source(own)
    return template("kvmlab.classroom", "slides.html.j2").render(
        slides=slides,
        language=language,
        title=slides[0].title,
        plotly=plotly,
        script=script,
        script_hashes=Markup(f"{script_hash(plotly)} {script_hash(script)}"),
        say=lambda name: words.SLIDES[name].text(language),
    )


def _record(run: Path) -> dict[str, Any]:
    """Return the record of a run, which may be a stranger's.

    Raises:
        UsageError: there is none that can be read.
    """
    if not is_present(run, _RECORD):
        raise UsageError(
            f"{run} is no folder of a run.",
            todo="`kvmlab runs` lists them; slides are made of one that has executed notebooks.",
        )
    try:
        return parse_sealed(read_file(run, _RECORD))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{run / _RECORD} is no record of a run: {reason_of(error)}.", todo="Name another run."
        ) from error


def _slides(run: Path, record: dict[str, Any], language: str) -> Iterator[Slide]:
    host = record.get("host")
    values = host.values() if isinstance(host, dict) else ()
    about = [value for value in values if isinstance(value, str) and value]
    about.append(f"{words.SLIDES['run'].text(language)}: {run.resolve().name}")
    yield Slide("title", "kvmlab", lines=tuple(about))
    entries = record.get("entries")
    for entry in entries if isinstance(entries, list) else ():
        notebook = _notebook(run, entry.get("name")) if isinstance(entry, dict) else None
        if notebook is None:
            continue
        chapter = str(entry.get("title") or entry.get("name"))
        yield Slide("chapter", chapter, lines=_lead(notebook))
        asked: tuple[str, ...] | None = None
        for section, lead, figure in _figures(notebook):
            title = section or chapter
            # Several figures of one cell answer one question.
            if (title, *lead) != asked:
                asked = (title, *lead)
                question = words.SLIDES["compare" if '"bar"' in figure else "draw"].text(language)
                yield Slide("question", title, chapter, (*lead, question))
            yield Slide("figure", title, chapter, figure=figure)


def _notebook(run: Path, name: object) -> NotebookNode | None:
    """Return an executed notebook of a run; None where it is not there yet.

    Raises:
        UsageError: what is there is no notebook of this run.
    """
    try:
        return read_notebook(run, "notebooks", f"{name}.ipynb")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The notebook {str(name)[:80]!r} of the run {run} cannot be read: {reason_of(error)}.",
            todo="Name another run.",
        ) from error


def _lead(notebook: NotebookNode) -> tuple[str, ...]:
    """Return the first sentences of a notebook: those of its first cell with text."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            return _sentences(cell.source)
    return ()


def _figures(notebook: NotebookNode) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield section, text before it, and JSON of each figure."""
    section = ""
    lead: tuple[str, ...] = ()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = _HEADING.findall(cell.source)
            if headings:
                section = _plain(headings[-1][1])
            lead = _sentences(cell.source)
            continue
        for output in cell.get("outputs", ()):
            figure = output.get("data", {}).get(_PLOTLY)
            if figure:
                # In a script element nothing may look like its end.
                yield section, lead, json.dumps(figure).replace("<", "\\u003c")


def _sentences(markdown: str) -> tuple[str, ...]:
    """Return the first paragraph below the headings, as plain text; at most 300 characters."""
    for paragraph in re.split(r"\n\s*\n", markdown):
        text = paragraph.strip()
        if text and not text.startswith(("#", "|", "<", "```", "![", ">")):
            plain = _plain(re.sub(r"^\s*[-*\d.]+\s+", "", text, flags=re.MULTILINE))
            return (_shortened(plain),)
    return ()


def _shortened(text: str, length: int = 300) -> str:
    """Return whole sentences of ``text``, ``length`` characters at most."""
    if len(text) <= length:
        return text
    end = max(text.rfind(mark, 0, length) for mark in (". ", "? ", "。", "？"))
    return text[: end + 1] if end > 0 else f"{text[: length - 1].rstrip()}…"


def _plain(markdown: str) -> str:
    return " ".join(_MARKS.sub("", _LINK.sub(r"\1", markdown)).split())
