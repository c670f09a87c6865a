"""The course: tasks that check themselves, questions, predictions, an assessment, the progress.

A task is declared once, in ``tasks/nNN.py`` of its notebook; `TaskSession` runs it on a host, and
`progress` keeps what happened.
"""

from kvmlab.course import phrases
from kvmlab.course.bilingual import Bilingual, run_language
from kvmlab.course.progress import (
    ProgressEntry,
    ProgressEvent,
    TaskState,
    progress_path,
    read_progress,
    record,
    task_states,
)
from kvmlab.course.registry import all_tasks, find_task, tasks_of
from kvmlab.course.session import Checked, TaskSession, read_started
from kvmlab.course.site import CourseHost, Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Task

__all__ = [
    "Bilingual",
    "Checked",
    "CourseHost",
    "Difficulty",
    "Mistake",
    "Practice",
    "ProgressEntry",
    "ProgressEvent",
    "Site",
    "Task",
    "TaskSession",
    "TaskState",
    "all_tasks",
    "find_task",
    "phrases",
    "progress_path",
    "read_progress",
    "read_started",
    "record",
    "run_language",
    "task_states",
    "tasks_of",
]
