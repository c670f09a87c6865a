"""Pieces of HTML for the course, built as elements; readable in light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lxml import etree
from lxml.html.builder import CODE, DIV, LI, OL, PRE, SPAN, UL

from kvmlab.course import phrases
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.task import Task

#: Colours of text on a white page as on a dark one: a contrast of four to one with either.
GREY: Final = "color-mix(in srgb, currentColor 72%, transparent)"
GREEN: Final = "#268a4f"
ORANGE: Final = "#ba5f10"
_CODE: Final = re.compile(r"`([^`]+)`")
#: A widget of HTML has lines as high as a button.
LINES: Final = "line-height: 1.5;"
_FRAME: Final = (
    "border: 1px solid rgba(127, 127, 127, .4); border-left: 4px solid #3b82c4; "
    "border-radius: 4px; padding: .6em 1em; margin: .3em 0; max-width: 60em; line-height: 1.5;"
)


def words(text: str) -> list[etree._Element | str]:
    """Return a text as parts of an element: what stands between grave accents is code."""
    parts: list[etree._Element | str] = []
    for number, part in enumerate(_CODE.split(text)):
        if number % 2:
            parts.append(CODE(part))
        elif part:
            parts.append(part)
    return parts


def html(*elements: etree._Element) -> str:
    """Return elements as HTML."""
    return "".join(
        etree.tostring(element, encoding="unicode", method="html") for element in elements
    )


def frame(*elements: etree._Element) -> etree._Element:
    """Return the frame of a card."""
    element: etree._Element = DIV(*elements, style=_FRAME)
    return element


def heading(task: Task) -> etree._Element:
    """Return the line above a task: id, title, minutes, difficulty and kind."""
    about = (
        phrases.MINUTES.format(minutes=task.minutes),
        phrases.DIFFICULTY[task.difficulty],
        phrases.PRACTICE[task.practice],
    )
    element: etree._Element = DIV(
        SPAN(f"{task.id}  {task.title.text()}", style="font-weight: 600;"),
        SPAN(
            " · ".join(part.text() for part in about),
            style=f"color: {GREY}; margin-left: 1em; font-size: .9em;",
        ),
    )
    return element


def paragraph(text: Bilingual | str, *, colour: str = "") -> etree._Element:
    """Return a paragraph, in the language of the run."""
    shown = text.text() if isinstance(text, Bilingual) else text
    style = f"margin: .3em 0; {LINES}" + (f" color: {colour};" if colour else "")
    element: etree._Element = DIV(*words(shown), style=style)
    return element


def bullets(texts: Iterable[Bilingual]) -> etree._Element:
    """Return a list of texts."""
    items = (LI(*words(text.text())) for text in texts)
    element: etree._Element = UL(*items, style=f"margin: .2em 0; {LINES}")
    return element


def lines(text: Iterable[str]) -> etree._Element:
    """Return lines of a shell."""
    style = "margin: .3em 0; padding: .4em .8em; background: rgba(127, 127, 127, .12); overflow-x: auto;"
    element: etree._Element = PRE("\n".join(text), style=style)
    return element


def hints_so_far(hints: Iterable[Bilingual]) -> tuple[etree._Element, ...]:
    """Return the hints that were taken, numbered, below their heading; nothing without one."""
    items = [LI(*words(hint.text())) for hint in hints]
    if not items:
        return ()
    return (paragraph(phrases.HINTS), OL(*items, style=f"margin: .2em 0; {LINES}"))
