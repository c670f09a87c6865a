"""Minutes of a notebook for somebody who takes it: to read it, to run it, to do its tasks.

The rule: prose at 150 words a minute and a minute for each question and prediction, rounded up to
five; the tasks' minutes as they are declared, rounded up to five; the machine's seconds as
`python -m bench notebooks` measured them (docs/benchmarks.md), rounded up to a minute. Nobody's
time was taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.registry import all_tasks

WORDS_A_MINUTE: Final = 150
#: Seconds of a run with its defaults, from a saved state, on two cores; docs/benchmarks.md has what
#: else these did.
RUN_SEC: Final[Mapping[str, float]] = {
    "00": 16,
    "01": 80,
    "02": 127,
    "03": 87,
    "04": 160,
    "05": 101,
    "06": 113,
    "07": 202,
    "08": 257,
}
_STEP: Final = 5
_ASKED: Final = re.compile(r"^(?:\w+ = )?kvmlab\.(?:questions|predict)\((.*)\)", re.MULTILINE)
_NO_PROSE: Final = re.compile(r"```.*?```|https?://\S+", re.DOTALL)
_WORD: Final = re.compile(r"[\w'’-]+")
_SENTENCE: Final = Bilingual(
    "{reading} minutes to read, {running} to run", "阅读 {reading} 分钟，运行 {running} 分钟"
)
_WITH_TASKS: Final = Bilingual(
    "{reading} minutes to read, {running} to run, {tasks} for the tasks",
    "阅读 {reading} 分钟，运行 {running} 分钟，任务 {tasks} 分钟",
)


@dataclass(frozen=True)
class NotebookMinutes:
    """Minutes to read a notebook, to run it, and for its tasks; no tasks are 0."""

    reading: int
    running: int
    tasks: int

    def __str__(self) -> str:
        return self.sentence.text()

    @property
    def sentence(self) -> Bilingual:
        """The words by which the notebook's first cell says it, without a full stop."""
        words = _WITH_TASKS if self.tasks else _SENTENCE
        return words.format(reading=self.reading, running=self.running, tasks=self.tasks)


def notebook_minutes(number: str, cells: Sequence[Mapping[str, Any]]) -> NotebookMinutes:
    """Return the minutes of the notebook of that number, "02", from its English cells.

    A notebook that was never measured takes no minute to run.
    """
    prose = " ".join(str(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    words = len(_WORD.findall(_NO_PROSE.sub(" ", prose)))
    code = "\n".join(str(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    asked = sum(names.count('"') // 2 for names in _ASKED.findall(code))
    declared = sum(task.minutes for task in all_tasks() if task.notebook == number)
    return NotebookMinutes(
        reading=_rounded(words / WORDS_A_MINUTE + asked, _STEP),
        running=_rounded(RUN_SEC.get(number, 0) / 60, 1),
        tasks=_rounded(declared, _STEP),
    )


def _rounded(minutes: float, step: int) -> int:
    """Return minutes, rounded up to the next step.

    >>> _rounded(20.1, 5), _rounded(0, 5)
    (25, 0)
    """
    return step * math.ceil(minutes / step)
