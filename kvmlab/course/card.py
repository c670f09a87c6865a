"""The card of a task in a notebook: its text, its buttons, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import ipywidgets
from IPython.display import HTML, display
from lxml import etree
from lxml.html.builder import DIV, LI, OL

from kvmlab.course import phrases
from kvmlab.course.elements import (
    GREEN,
    GREY,
    ORANGE,
    bullets,
    frame,
    heading,
    html,
    lines,
    outcome,
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
from kvmlab.rendering import is_headless

if TYPE_CHECKING:
    from kvmlab.widgets import HostTerminal

_FULL_LABEL: Final = {"description_width": "initial"}
_WIDE: Final = {"width": "max-content", "max_width": "60em"}


class TaskCard:
    """A task with buttons to start, check, take a hint, solve and reset it.

    Where nobody clicks it is its text alone. A click keeps the kernel busy, as a cell does.
    ``on_change`` is called after every click. The button of ``terminal`` stands above a card that
    is displayed by itself.
    """

    def __init__(
        self,
        session: TaskSession,
        on_change: Callable[[], None] | None = None,
        terminal: HostTerminal | None = None,
    ) -> None:
        self.session = session
        self._terminal = terminal
        self._on_change = on_change
        self._hints: list[etree._Element] = []
        self.message = ipywidgets.HTML()
        self.answer = _answer_control(session.task)
        self.buttons = {
            phrase.en: ipywidgets.Button(
                description=phrase.text(), button_style=style, layout={"width": "max-content"}
            )
            for phrase, style in (
                (phrases.START, "primary"),
                (phrases.CHECK, "success"),
                (phrases.HINT, ""),
                (phrases.SOLVE, ""),
                (phrases.RESET, ""),
            )
        }
        actions: dict[str, Callable[[], tuple[etree._Element, ...]]] = {
            "Start": self._start,
            "Check": self._check,
            "Hint": self._hint,
            "Solve": self._solve,
            "Reset": self._reset,
        }
        for name, button in self.buttons.items():
            button.on_click(self._handler(actions[name]))
        rows = [
            ipywidgets.HTML(_text_of(session.task)),
            *([self.answer] if self.answer is not None else []),
            ipywidgets.HBox(list(self.buttons.values()), layout={"flex_flow": "row wrap"}),
            self.message,
        ]
        self.controls = ipywidgets.VBox(rows)

    @property
    def task(self) -> Task:
        """The task of the card."""
        return self.session.task

    def press(self, name: str) -> None:
        """Press the button of that English name, as a person in the browser would."""
        self.buttons[name].click()

    def _ipython_display_(self) -> None:
        show(self.controls, _static(self.task), self._terminal)

    def _handler(
        self, action: Callable[[], tuple[etree._Element, ...]]
    ) -> Callable[[object], None]:
        def pressed(_button: object) -> None:
            self._set_disabled(True)
            self.message.value = html(paragraph(phrases.WORKING))
            try:
                self.message.value = outcome(action)
            finally:
                self._set_disabled(False)
                if self._on_change is not None:
                    self._on_change()

        return pressed

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
            *self._shown_hints(),
        )

    def _hint(self) -> tuple[etree._Element, ...]:
        hint = self.session.hint()
        if hint is None:
            return (*self._shown_hints(), paragraph(phrases.NO_MORE_HINTS))
        self._hints.append(LI(paragraph(hint)))
        return self._shown_hints()

    def _shown_hints(self) -> tuple[etree._Element, ...]:
        if not self._hints:
            return ()
        return (paragraph(phrases.HINTS), OL(*self._hints, style="margin: .2em 0;"))

    def _solve(self) -> tuple[etree._Element, ...]:
        answer = self.session.solve()
        shown: list[etree._Element] = []
        if self.task.solution:
            shown += [paragraph(phrases.SOLUTION), lines(self.task.solution)]
        if answer:
            number = int(answer) if self.task.choices else 0
            full = self.task.choices[number - 1].text() if number else answer
            unit = f" {self.task.unit}" if self.task.unit else ""
            shown.append(paragraph(phrases.RIGHT_ANSWER.format(answer=full + unit)))
        return tuple(shown)

    def _reset(self) -> tuple[etree._Element, ...]:
        self._hints = []
        self.session.reset()
        return (paragraph(phrases.WAS_RESET),)

    def _set_disabled(self, disabled: bool) -> None:
        for button in self.buttons.values():
            button.disabled = disabled


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
        show(self.controls, tasks_html(tasks), self._terminal)

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


def show(controls: Any, static: str, terminal: HostTerminal | None = None) -> None:
    """Display a widget below the button of a terminal, or the static HTML where nobody clicks."""
    if is_headless():
        display(HTML(static))
        return
    if terminal is not None:
        display(terminal)
    display({**controls._repr_mimebundle_(), "text/html": static}, raw=True)


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
    return paragraph(phrases.TRAINS.format(what=task.trains.text()), colour=GREY)


def _frame_of(task: Task) -> etree._Element:
    options = [OL(*(LI(text.text()) for text in task.choices))] if task.choices else []
    return frame(
        heading(task),
        paragraph(task.text),
        *options,
        _objective(task),
        paragraph(phrases.IN_TERMINAL.format(task=task.id), colour=GREY),
    )


def _static(task: Task) -> str:
    return html(DIV(_frame_of(task)))


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
