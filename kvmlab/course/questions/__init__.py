"""The questions of the course, for sections of the notebooks, with an answer to each option."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question
from kvmlab.course.questions import n00, n01, n02, n03, n04, n05, n06, n07, n08

_MODULES: Final = (n00, n01, n02, n03, n04, n05, n06, n07, n08)
#: Every question, in the order of the notebooks.
QUESTIONS: Final[tuple[Question, ...]] = tuple(
    question for module in _MODULES for question in module.QUESTIONS
)
