"""`kvmlab task …`: the tasks of the course, on an embedded host that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.host import RunDir, find_host
from kvmlab.cli.output import print_json, print_line, print_table
from kvmlab.cli.parameters import AsJson
from kvmlab.errors import EXIT_FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmlab.course import Task, TaskSession

commands = CommandGroup(
    "task",
    help="Tasks that check themselves, on the embedded host of a notebook or of `kvmlab host up`.",
)

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Its id, such as 02-3.")]


@commands.command("list")
def list_tasks(
    notebook: Annotated[
        str, typer.Argument(metavar="NOTEBOOK", help="Its number; all of them without.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the tasks with their minutes, and what this seat has made of them."""
    from kvmlab.course import all_tasks, phrases, read_progress, task_states, tasks_of
    from kvmlab.course.progress import TaskState

    tasks = tasks_of(notebook) if notebook else all_tasks()
    states = task_states(read_progress())
    if as_json:
        rows = [
            {
                "id": task.id,
                "title": task.title.en,
                "trains": task.trains.en,
                "minutes": task.minutes,
                "difficulty": int(task.difficulty),
                "practice": task.practice,
                "state": states.get(task.id, TaskState.UNTOUCHED),
            }
            for task in tasks
        ]
        print_json(rows)
        return
    print_table(
        ("task", "title", "minutes", "difficulty", "how", "state"),
        [
            (
                task.id,
                task.title.text(),
                str(task.minutes),
                phrases.DIFFICULTY[task.difficulty].text(),
                phrases.PRACTICE[task.practice].text(),
                phrases.STATE[states.get(task.id, TaskState.UNTOUCHED)].text(),
            )
            for task in tasks
        ],
    )


@commands.command()
def start(task_id: TaskId, run_dir: RunDir = None) -> None:
    """Bring the host to where the task begins, and print what is to be done."""
    from kvmlab.course import phrases

    for session in _session(task_id, run_dir):
        session.start()
        _print_task(session.task)
        print_line(
            (phrases.STARTED_TO_ANSWER if session.task.has_answer else phrases.STARTED).text()
        )


@commands.command()
def check(
    task_id: TaskId,
    answer: Annotated[
        str, typer.Argument(metavar="ANSWER", help="Where one is asked for; a choice's number.")
    ] = "",
    run_dir: RunDir = None,
    as_json: AsJson = False,
) -> None:
    """Look whether the task is done, and say what is missing; exit code 1 where something is."""
    from kvmlab.course import phrases

    for session in _session(task_id, run_dir):
        checked = session.check(answer)
        if as_json:
            reasons = [reason.en for reason in checked.reasons]
            print_json({"task": task_id, "passed": checked.passed, "reasons": reasons})
        else:
            print_line((phrases.PASSED if checked.passed else phrases.NOT_YET).text())
            for reason in checked.reasons:
                print_line(f"- {reason.text()}")
        if not checked.passed:
            raise typer.Exit(EXIT_FAILED)


@commands.command()
def hint(task_id: TaskId, run_dir: RunDir = None) -> None:
    """Print the next hint."""
    from kvmlab.course import phrases

    for session in _session(task_id, run_dir):
        print_line((session.hint() or phrases.NO_MORE_HINTS).text())


@commands.command()
def solve(task_id: TaskId, run_dir: RunDir = None) -> None:
    """Do the task on the host, and print how."""
    from kvmlab.course import phrases

    for session in _session(task_id, run_dir):
        answer = session.solve()
        if session.task.solution:
            print_line(phrases.SOLUTION.text())
        for line in session.task.solution:
            print_line(line)
        if answer:
            words = session.task.in_words(answer)
            print_line(phrases.RIGHT_ANSWER.format(answer=words).text())


@commands.command()
def reset(task_id: TaskId, run_dir: RunDir = None) -> None:
    """Put the host back as it was before the task."""
    from kvmlab.course import phrases

    for session in _session(task_id, run_dir):
        session.reset()
        print_line(phrases.WAS_RESET.text())


def _session(task_id: str, run_dir: Path | None) -> Iterator[TaskSession]:
    """Yield the session of a task on the host that runs, and close its connections after it."""
    from kvmlab.course import find_task
    from kvmlab.lab import visit_lab

    task = find_task(task_id)
    with visit_lab(Path(find_host(run_dir)["run_dir"])) as lab:
        yield lab.task_session(task.id)


def _print_task(task: Task) -> None:
    from kvmlab.course import phrases

    print_line(f"{task.id}  {task.title.text()}")
    print_line(task.text.text())
    print_line(phrases.TRAINS.format(what=task.trains).text())
    for number, choice in enumerate(task.choices, 1):
        print_line(f"  {number}. {choice.text()}")
