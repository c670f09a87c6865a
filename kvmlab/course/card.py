"""The card of a task in a notebook: its text, its buttons, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import ipywidgets
from lxml import etree
from lxml.html.builder import LI, OL

from kvmlab.course import phrases
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.button_panel import Action, ButtonPanel
from kvmlab.course.elements import (
    GREEN,
    GREY,
    ORANGE,
    bullets,
    frame,
    heading,
    hints_so_far,
    html,
    lines,
    paragraph,
)
from kvmlab.course.progress import (
    ProgressEvent,
    TaskState,
    read_progress,
    record,
    task_states,
    wants_help,
)
from kvmlab.course.session import TaskSession
from kvmlab.course.task import Task
from kvmlab.widgets.elements import display_controls

if TYPE_CHECKING:
    from kvmlab.widgets import HostTerminal

_FULL_LABEL: Final = {"description_width": "initial"}
_WIDE: Final = {"width": "max-content", "max_width": "60em"}


class TaskCard(ButtonPanel):
    """A task with buttons to start, check, take a hint, solve and reset it.

    Where nobody clicks it is its text alone. ``on_change`` is called after every click. The button
    of ``terminal`` stands above a card that is displayed by itself.
    """

    def __init__(
        self,
        session: TaskSession,
        on_change: Callable[[], None] | None = None,
        terminal: HostTerminal | None = None,
    ) -> None:
        super().__init__(
            Action(phrases.START, self._start, "primary"),
            Action(phrases.CHECK, self._check, "success"),
            Action(phrases.HINT, self._hint),
            Action(phrases.SOLVE, self._solve),
            Action(phrases.RESET, self._reset),
            interrupted=phrases.INTERRUPTED,
        )
        self.session = session
        self._terminal = terminal
        self._on_change = on_change
        self._hints: list[Bilingual] = []
        self.answer = _answer_control(session.task)
        rows = [
            ipywidgets.HTML(_text_of(session.task)),
            *([self.answer] if self.answer is not None else []),
            self._row(*self.buttons),
            self.message,
        ]
        self.controls = ipywidgets.VBox(rows)

    @property
    def task(self) -> Task:
        """The task of the card."""
        return self.session.task

    def _ipython_display_(self) -> None:
        display_controls(self.controls, html(_frame_of(self.task)), terminal=self._terminal)

    def _after_click(self) -> None:
        super()._after_click()
        if self._on_change is not None:
            self._on_change()

    def _start(self) -> tuple[etree._Element, ...]:
        self._hints = []
        self.session.start()
        started = phrases.STARTED_TO_ANSWER if self.task.has_answer else phrases.STARTED
        return (paragraph(started),)

    def _check(self) -> tuple[etree._Element, ...]:
        value = self.answer.value if self.answer is not None else ""
        checked = self.session.check("" if value is None else str(value))
        if checked.passed:
            return (paragraph(f"✓ {phrases.PASSED.text()}", colour=GREEN),)
        return (
            paragraph(phrases.NOT_YET, colour=ORANGE),
            bullets(checked.reasons),
            *hints_so_far(self._hints),
        )

    def _hint(self) -> tuple[etree._Element, ...]:
        hint = self.session.hint()
        if hint is None:
            return (*hints_so_far(self._hints), paragraph(phrases.NO_MORE_HINTS))
        self._hints.append(hint)
        return hints_so_far(self._hints)

    def _solve(self) -> tuple[etree._Element, ...]:
        answer = self.session.solve()
        shown: list[etree._Element] = []
        if self.task.solution:
            shown += [paragraph(phrases.SOLUTION), lines(self.task.solution)]
        if answer:
            words = self.task.in_words(answer)
            shown.append(paragraph(phrases.RIGHT_ANSWER.format(answer=words)))
        return tuple(shown)

    def _reset(self) -> tuple[etree._Element, ...]:
        self._hints = []
        self.session.reset()
        return (paragraph(phrases.WAS_RESET),)


class TaskList:
    """All tasks of a notebook, one below the other, to be opened by a click.

    The button of ``terminal`` stands above them.
    """

    def __init__(
        self, sessions: Sequence[TaskSession], terminal: HostTerminal | None = None
    ) -> None:
        self._terminal = terminal
        self.cards = tuple(TaskCard(session, self._update) for session in sessions)
        self.accordion = ipywidgets.Accordion(
            children=[card.controls for card in self.cards], selected_index=None
        )
        self._heading = ipywidgets.HTML()
        #: Down while somebody waits for help; the trainer's board shows it.
        self.hand = ipywidgets.ToggleButton(
            value=wants_help(read_progress()), layout={"width": "max-content"}
        )
        self.hand.observe(self._raised, names="value")
        self.controls = ipywidgets.VBox([self._heading, self.accordion, self.hand])
        self._update()

    def _ipython_display_(self) -> None:
        tasks = [card.task for card in self.cards]
        display_controls(self.controls, tasks_html(tasks), terminal=self._terminal)

    def _raised(self, change: Any) -> None:
        opened = self.accordion.selected_index
        task = self.cards[opened].task.id if opened is not None else ""
        record(task, ProgressEvent.HELP if change["new"] else ProgressEvent.HELP_OVER)
        self._update()

    def _update(self) -> None:
        tasks = [card.task for card in self.cards]
        words = phrases.HELP_WANTED if self.hand.value else phrases.WANT_HELP
        self.hand.description = words.text()
        self.hand.button_style = "warning" if self.hand.value else ""
        states = task_states(read_progress())
        self._heading.value = html(paragraph(_about(tasks)))
        for number, task in enumerate(tasks):
            state = states.get(task.id, TaskState.UNTOUCHED)
            self.accordion.set_title(number, _title(task, state))


def tasks_html(tasks: Sequence[Task]) -> str:
    """Return tasks as HTML for a page that no kernel stands behind."""
    return html(paragraph(_about(tasks)), *(_frame_of(task) for task in tasks))


def _answer_control(task: Task) -> Any:
    """Return the control for a task's answer; None where there is none."""
    if not task.has_answer:
        return None
    if task.choices:
        options = [(text.text(), str(number)) for number, text in enumerate(task.choices, 1)]
        return ipywidgets.RadioButtons(options=options, value=None, layout=_WIDE)
    label = phrases.ANSWER.text() + (f" ({task.unit})" if task.unit else "")
    return ipywidgets.Text(description=label, style=_FULL_LABEL, layout={"width": "24em"})


def _text_of(task: Task) -> str:
    return html(heading(task), paragraph(task.text), _objective(task))


def _objective(task: Task) -> etree._Element:
    return paragraph(phrases.TRAINS.format(what=task.trains), colour=GREY)


def _frame_of(task: Task) -> etree._Element:
    options = [OL(*(LI(text.text()) for text in task.choices))] if task.choices else []
    return frame(
        heading(task),
        paragraph(task.text),
        *options,
        _objective(task),
        paragraph(phrases.IN_TERMINAL.format(task=task.id), colour=GREY),
    )


def _about(tasks: Sequence[Task]) -> str:
    minutes = sum(task.minutes for task in tasks)
    return phrases.TASKS_OF.format(
        notebook=tasks[0].notebook, count=len(tasks), minutes=minutes
    ).text()


def _title(task: Task, state: TaskState) -> str:
    mark = {TaskState.PASSED: "✓ ", TaskState.SOLVED: "✓ "}.get(state, "")
    words = phrases.STATE[state].text()
    minutes = phrases.MINUTES.format(minutes=task.minutes).text()
    return f"{mark}{task.id}  {task.title.text()} · {minutes}" + (f" · {words}" if words else "")
