"""The assessment at the end: twenty tasks and questions, drawn by a seed, and what came of them.

A seed always draws the same twenty, so that a group can have the same or each seat its own. The
answers are kept in a file of this seat as they are given, and scored when it is finished.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kvmlab.course import progress
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.progress import ProgressEvent, TaskState, read_progress, task_states
from kvmlab.course.question import find_question
from kvmlab.course.questions import QUESTIONS
from kvmlab.course.registry import all_tasks, find_task
from kvmlab.course.task import Practice
from kvmlab.directories import private_dir, state_dir, write_atomically
from kvmlab.errors import UsageError
from kvmlab.serialization import from_json, to_json

#: Of the twenty: tasks in a shell, measurements and readings, questions.
_TASKS: Final = 12
_QUESTIONS: Final = 8
ITEMS: Final = _TASKS + _QUESTIONS
PASS_SHARE: Final = 0.7


@dataclass(frozen=True)
class Assessment:
    """An assessment of one seat. ``items`` are ids of tasks and questions, ``answers`` options.

    ``begun`` and ``finished`` are times in UTC, the latter empty until it is finished. A hint costs
    a quarter of a task's point, a solution that was shown the whole point.
    """

    name: str
    seed: int
    begun: str
    items: tuple[str, ...]
    answers: dict[str, int] = field(default_factory=dict)
    finished: str = ""
    points: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Points of all items, at most `ITEMS`."""
        return sum(self.points.values())

    @property
    def passed(self) -> bool:
        """True where at least seven tenths of the points were reached."""
        return bool(self.finished) and self.score >= PASS_SHARE * len(self.items)


def draw(seed: int) -> tuple[str, ...]:
    """Return the ids of the twenty items of a seed, in the order of the notebooks.

    Every notebook has its share, and at least three tasks are measurements.
    """
    generator = random.Random(seed)
    measured = [task.id for task in all_tasks() if task.practice is Practice.MEASUREMENT]
    others = [task.id for task in all_tasks() if task.practice is not Practice.MEASUREMENT]
    asked = [question.id for question in QUESTIONS]
    items = [
        *_spread(measured, 3, generator),
        *_spread(others, _TASKS - 3, generator),
        *_spread(asked, _QUESTIONS, generator),
    ]
    return tuple(sorted(items))


def _spread(ids: Sequence[str], count: int, generator: random.Random) -> list[str]:
    """Draw ``count`` ids, one of each notebook in turn."""
    by_notebook: dict[str, list[str]] = {}
    for item in ids:
        by_notebook.setdefault(item[:2], []).append(item)
    notebooks = sorted(by_notebook)
    generator.shuffle(notebooks)
    for pool in by_notebook.values():
        generator.shuffle(pool)
    drawn: list[str] = []
    while len(drawn) < count:
        for notebook in notebooks:
            if by_notebook[notebook] and len(drawn) < count:
                drawn.append(by_notebook[notebook].pop())
    return drawn


def begin(name: str, seed: int) -> Assessment:
    """Begin an assessment at this seat; one that was not finished is given up.

    Raises:
        UsageError: the name is empty, or the file cannot be written.
    """
    if not name.strip() or not name.isprintable():
        raise UsageError("The certificate needs a name.", todo="Give it: --name 'Li Lei'.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    assessment = Assessment(name.strip(), seed, now, draw(seed))
    _write(assessment)
    progress.record("assessment", ProgressEvent.START, detail=f"seed {seed}")
    return assessment


def current() -> Assessment:
    """Return the assessment that this seat has begun.

    Raises:
        UsageError: there is none.
    """
    try:
        return from_json(json.loads(result_path().read_text(encoding="utf-8")), Assessment)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(
            "No assessment was begun here.",
            todo="Begin one: `kvmlab assess begin --name NAME --seed NUMBER`.",
        ) from error


def answer(question_id: str, option: int) -> Assessment:
    """Answer a question of the assessment by the number of an option; nobody says if it is right.

    Raises:
        UsageError: it is finished, the question is not in it, or has no such option.
    """
    assessment = _open()
    if question_id not in assessment.items or not is_question(question_id):
        raise UsageError(
            f"{question_id} is no question of this assessment.",
            todo="`kvmlab assess show` lists its items.",
        )
    count = len(find_question(question_id).choices)
    if not 1 <= option <= count:
        raise UsageError(
            f"{question_id} has no option {option}.",
            todo=f"Answer with the number of an option, 1 to {count}.",
        )
    assessment = replace(assessment, answers={**assessment.answers, question_id: option})
    _write(assessment)
    return assessment


def finish() -> Assessment:
    """Score the assessment and close it.

    Raises:
        UsageError: there is none, or it is finished already.
    """
    assessment = _open()
    points = score_items(assessment)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    assessment = replace(assessment, points=points, finished=now)
    _write(assessment)
    outcome = progress.PASSED if assessment.passed else progress.FAILED
    seconds = time.time() - datetime.fromisoformat(assessment.begun).timestamp()
    progress.record(
        "assessment",
        ProgressEvent.CHECK,
        result=outcome,
        seconds=seconds,
        detail=f"{assessment.score:g} of {len(assessment.items)}",
    )
    return assessment


def score_items(assessment: Assessment) -> dict[str, float]:
    """Return the points of each item so far: of tasks only what was done since it was begun."""
    entries = [entry for entry in read_progress() if entry.time >= assessment.begun]
    states = task_states(entries)
    points: dict[str, float] = {}
    for item in assessment.items:
        if is_question(item):
            points[item] = float(assessment.answers.get(item) == find_question(item).right)
            continue
        hints = [entry.hints for entry in entries if entry.task == item]
        full = float(states.get(item) is TaskState.PASSED)
        points[item] = max(0.0, full - 0.25 * max(hints, default=0)) if full else 0.0
    return points


def is_question(item: str) -> bool:
    """Return whether an item is a question, and no task."""
    return not item[3:].isdecimal()


def title_of(item: str) -> Bilingual:
    """Return what is asked for, in a line."""
    return find_question(item).text if is_question(item) else find_task(item).title


def notebook_points(assessment: Assessment) -> Mapping[str, tuple[float, int]]:
    """Return points reached and items, by the number of the notebook."""
    table: dict[str, tuple[float, int]] = {}
    for item in assessment.items:
        points, count = table.get(item[:2], (0.0, 0))
        table[item[:2]] = (points + assessment.points.get(item, 0.0), count + 1)
    return table


def result_path() -> Path:
    """Return the file of this seat's assessment; it need not exist."""
    return state_dir() / "course" / "assessment.json"


def _open() -> Assessment:
    assessment = current()
    if assessment.finished:
        raise UsageError(
            f"The assessment was finished at {assessment.finished}.",
            todo="Begin another one with another seed.",
        )
    return assessment


def _write(assessment: Assessment) -> None:
    private_dir(result_path().parent)
    text = json.dumps(to_json(assessment), ensure_ascii=False, indent=1)
    write_atomically(result_path(), text + "\n", mode=0o600)
