"""All tasks of the course, by their ids."""

from __future__ import annotations

from functools import cache

from kvmlab.course.task import Task
from kvmlab.course.tasks import n00, n01, n02, n03, n04, n05, n06, n07, n08
from kvmlab.errors import UsageError, did_you_mean

_MODULES = (n00, n01, n02, n03, n04, n05, n06, n07, n08)


@cache
def all_tasks() -> tuple[Task, ...]:
    """Return every task, in the order of the notebooks."""
    return tuple(task for module in _MODULES for task in module.TASKS)


def tasks_of(notebook: str) -> tuple[Task, ...]:
    """Return the tasks of a notebook, given by its number or its name.

    Raises:
        UsageError: it has none.
    """
    number = notebook[:2]
    tasks = tuple(task for task in all_tasks() if task.notebook == number)
    if not tasks:
        numbers = sorted({task.notebook for task in all_tasks()})
        raise UsageError(
            f"There are no tasks of a notebook {notebook!r}.",
            todo=f"There are tasks of {', '.join(numbers)}.",
        )
    return tasks


def find_task(task_id: str) -> Task:
    """Return the task with that id.

    Raises:
        UsageError: there is none.
    """
    by_id = {task.id: task for task in all_tasks()}
    if task_id not in by_id:
        hint = did_you_mean(task_id, by_id)
        raise UsageError(
            f"There is no task {task_id!r}.{hint}",
            todo="`kvmlab task list` lists all of them.",
        )
    return by_id[task_id]
