"""Questions: options that say at once whether they are right, and why, wherever HTML is shown.

An option opens by a click, in a notebook as in a report that no kernel runs behind: it needs no
script, no network, and nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree
from lxml.etree import SubElement
from lxml.html.builder import DIV

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.elements import GREEN, ORANGE, frame, html, paragraph, words
from kvmlab.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Choice:
    """An option of a question, and what is said to who chooses it."""

    text: Bilingual
    feedback: Bilingual
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question with its options, of which one is right. ``id`` is "02-backend"."""

    id: str
    text: Bilingual
    choices: tuple[Choice, ...]

    @property
    def notebook(self) -> str:
        """The number of its notebook."""
        return self.id.partition("-")[0]

    @property
    def right(self) -> int:
        """The number of the right option, from 1."""
        return [choice.right for choice in self.choices].index(True) + 1

    def element(self) -> etree._Element:
        """Return the question as HTML."""
        options = [_option(choice) for choice in self.choices]
        element: etree._Element = frame(paragraph(self.text), *options)
        return element


#: English and Chinese.
Pair = tuple[str, str]


def ask(name: str, text: Pair, right: int, *options: tuple[Pair, Pair]) -> Question:
    """Return a question; ``right`` counts from 1, an option is its text and what is said to it."""
    choices = (
        Choice(Bilingual(*option), Bilingual(*feedback), number == right)
        for number, (option, feedback) in enumerate(options, 1)
    )
    return Question(name, Bilingual(*text), tuple(choices))


class QuestionSet:
    """Questions of one section, shown as HTML with options that open."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = tuple(questions)

    def _repr_html_(self) -> str:
        return html(DIV(*(question.element() for question in self.questions)))

    def __repr__(self) -> str:
        lines = []
        for question in self.questions:
            lines.append(question.text.text())
            lines += [f"  {n}. {c.text.text()}" for n, c in enumerate(question.choices, 1)]
        return "\n".join(lines)


def questions(*question_ids: str) -> QuestionSet:
    """Return the questions of these ids, such as "02-backend", to be shown.

    Raises:
        UsageError: there is none of an id.
    """
    return QuestionSet([find_question(question_id) for question_id in question_ids])


def find_question(question_id: str) -> Question:
    """Return the question of that id.

    Raises:
        UsageError: there is none.
    """
    from kvmlab.course.questions import QUESTIONS

    by_id = {question.id: question for question in QUESTIONS}
    if question_id not in by_id:
        hint = did_you_mean(question_id, by_id)
        near = [each for each in by_id if each[:2] == question_id[:2]] or list(by_id)
        raise UsageError(
            f"There is no question {question_id!r}.{hint}",
            todo=f"Use one of {', '.join(near)}.",
        )
    return by_id[question_id]


def _option(choice: Choice) -> etree._Element:
    """Return an option that opens: its text, and below it the verdict with the reason."""
    details = etree.Element("details", style="margin: .2em 0 .2em .6em;")
    summary = SubElement(details, "summary", style="cursor: pointer;")
    _fill(summary, choice.text.text())
    mark, colour = ("✓ ", GREEN) if choice.right else ("✗ ", ORANGE)
    feedback = SubElement(details, "div", style=f"margin: .2em 0 .4em 1.4em; color: {colour};")
    _fill(feedback, mark + choice.feedback.text())
    return details


def _fill(element: etree._Element, text: str) -> None:
    """Append a text with its code spans to an element."""
    last: etree._Element | None = None
    for part in words(text):
        if not isinstance(part, str):
            element.append(part)
            last = part
        elif last is None:
            element.text = (element.text or "") + part
        else:
            last.tail = (last.tail or "") + part
