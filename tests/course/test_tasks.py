"""The tasks as they are declared: complete, in both languages, enough of each kind."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from kvmlab.course import Bilingual, Practice, Task, all_tasks, find_task, phrases, tasks_of
from kvmlab.errors import UsageError

TASKS = all_tasks()
NOTEBOOKS = sorted({task.notebook for task in TASKS})
HAN = re.compile("[\u3400-\u9fff]")


def texts(task: Task) -> list[Bilingual]:
    return [task.title, task.text, task.trains, *task.hints, *task.choices]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_task_is_complete(task: Task) -> None:
    assert re.fullmatch(r"\d\d-\d", task.id)
    assert 1 <= task.minutes <= 15
    assert task.hints
    assert len(task.mistakes) == 3
    assert task.solution or task.right_answer
    assert bool(task.unit) == (task.practice is Practice.MEASUREMENT)
    for text in texts(task):
        assert text.en
        assert HAN.search(text.zh) or re.fullmatch(r"[\x00-\x7f]+", text.zh), text.zh
        assert set(re.findall(r"`([^`]+)`", text.en)) >= {
            code for code in re.findall(r"`([^`]+)`", text.zh) if not HAN.search(code)
        }


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_has_enough_of_each_kind(notebook: str) -> None:
    kinds = Counter(task.practice for task in tasks_of(notebook))
    assert kinds.total() >= 5
    assert kinds[Practice.SHELL] >= 2
    assert kinds[Practice.MEASUREMENT] >= 1


def test_ids_are_unique_and_in_order() -> None:
    ids = [task.id for task in TASKS]
    assert ids == sorted(set(ids))


def test_an_answer_is_shown_with_its_unit_or_as_the_text_of_its_choice() -> None:
    measured = find_task("02-3")
    assert phrases.RIGHT_ANSWER.format(answer=measured.in_words("1850")) == Bilingual(
        f"The answer: 1850 {measured.unit}", f"答案：1850 {measured.unit}"
    )
    choice = next(task for task in TASKS if task.choices)
    assert phrases.RIGHT_ANSWER.format(answer=choice.in_words("2")).zh.endswith(
        choice.choices[1].zh
    )


def test_an_unknown_task_is_named_and_a_near_one_offered() -> None:
    with pytest.raises(UsageError, match=r"no task '00-22'. Did you mean 00-2"):
        find_task("00-22")
    with pytest.raises(UsageError, match="no tasks of a notebook '99'"):
        tasks_of("99")
