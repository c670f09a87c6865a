"""A task: something to do on the host, which is checked there and not by a sample solution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from kvmlab.course.bilingual import Bilingual

if TYPE_CHECKING:
    from kvmlab.course.site import Site
    from kvmlab.schemes import Scheme

#: What is missing, one text for each thing; none means that the task is done.
Reasons = list[Bilingual]


class Practice(StrEnum):
    """The kind of work that a task asks for."""

    SHELL = "shell"  # commands in a shell on the host
    MEASUREMENT = "measurement"  # a measured number, within a tolerance
    READING = "reading"  # an answer that is read from the host or from a figure


class Difficulty(IntEnum):
    """Difficulty of a task, from a single command to a chain of reasoning."""

    EASY = 1
    MEDIUM = 2
    HARD = 3


@dataclass(frozen=True)
class Mistake:
    """A wrong attempt that people make, and a part of the English reason that has to answer it.

    ``lines`` are typed in a shell on the host, or ``answer`` is entered, which may depend on the
    host, or ``factor`` times the right answer.
    """

    reason: str
    lines: tuple[str, ...] = ()
    answer: str | Callable[[Site], str] = ""
    factor: float = 0.0


@dataclass(frozen=True)
class Task:
    """One task of the course, declared once for notebook, terminal, board and tests.

    ``id`` is the notebook's number and the task's own: "02-3". ``scheme`` gives the VM its NIC at
    the start; with ``second_host`` there is a host B meanwhile, and the NIC is one that can migrate
    there. Then ``setup`` runs, a shell line each, as root on the host. ``check`` looks at the
    host and at the answer, and returns what is missing. ``solution`` are shell lines in the same
    way; a task with an answer has ``right_answer``, from the host as it stands then, and a ``unit``
    or ``choices``. ``hints`` go from a direction to the command. ``minutes`` are those of somebody
    who has read the notebook.
    """

    id: str
    title: Bilingual
    text: Bilingual
    trains: Bilingual
    minutes: int
    difficulty: Difficulty
    practice: Practice
    check: Callable[[Site], Reasons]
    hints: tuple[Bilingual, ...]
    mistakes: tuple[Mistake, ...]
    scheme: Scheme | None = None
    second_host: bool = False
    setup: tuple[str, ...] = ()
    solution: tuple[str, ...] = ()
    right_answer: Callable[[Site], str] | None = None
    unit: str = ""
    choices: tuple[Bilingual, ...] = ()

    @property
    def notebook(self) -> str:
        """The number of its notebook, such as "02"."""
        return self.id.partition("-")[0]

    @property
    def touches_host(self) -> bool:
        """True where the task changes the host, or asks people to."""
        return self.practice is not Practice.READING or self.has_nic

    @property
    def has_nic(self) -> bool:
        """True where the VM has a NIC at the start."""
        return self.scheme is not None or self.second_host

    @property
    def has_answer(self) -> bool:
        """True where something is to be entered."""
        return self.right_answer is not None

    def in_words(self, answer: str) -> Bilingual:
        """Return an answer as a person reads it: the text of a choice, or a value with its unit."""
        if self.choices:
            return self.choices[int(answer) - 1]
        text = f"{answer} {self.unit}" if self.unit else answer
        return Bilingual(text, text)


def joined(reasons: Sequence[Bilingual], language: str = "") -> str:
    """Return the reasons as one text, a sentence after the other."""
    return " ".join(reason.text(language) for reason in reasons)
