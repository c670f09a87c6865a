"""The panel of an incident in a notebook: a report, buttons, the time, and what was found."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import ipywidgets
from lxml import etree
from lxml.html.builder import BLOCKQUOTE, DIV, LI, OL, PRE, SPAN

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.elements import (
    GREEN,
    GREY,
    LINES,
    ORANGE,
    bullets,
    html,
    outcome,
    paragraph,
    words,
)
from kvmlab.course.phrases import HINTS
from kvmlab.incidents import phrases
from kvmlab.incidents.registry import LEVELS, draw, find_fault
from kvmlab.incidents.session import Debriefing, IncidentSession, IncidentState
from kvmlab.language import translate
from kvmlab.widgets.elements import display_controls

if TYPE_CHECKING:
    from kvmlab.widgets import HostTerminal

_TICK_SEC: Final = 5.0
#: On a narrow page controls go on in the next line, and no button is cut.
_WRAPPED: Final = {"flex_flow": "row wrap"}
_QUOTE: Final = (
    "margin: .4em 0; padding: .3em 1em; border-left: 4px solid #ba5f10; max-width: 60em; "
    "font-size: 1.05em; line-height: 1.5;"
)
_CODE: Final = (
    "margin: .3em 0; padding: .4em .8em; background: rgba(127, 127, 127, .12); max-height: 14em; "
    "overflow: auto; max-width: 70em;"
)

Elements = list[etree._Element]


class IncidentPanel:
    """An incident with its controls. Where no kernel runs, a sentence stands in its place.

    A click keeps the kernel busy for some seconds, as a cell does. The button of ``terminal`` stands
    above the panel.
    """

    def __init__(self, session: IncidentSession, terminal: HostTerminal | None = None) -> None:
        self.session = session
        self._terminal = terminal
        self._hints: list[Bilingual] = []
        self._ticks = False
        self.level = ipywidgets.Dropdown(
            options=list(LEVELS), description=phrases.LEVEL.text(), layout={"width": "12em"}
        )
        self.seed = ipywidgets.BoundedIntText(
            value=random.SystemRandom().randrange(10_000),
            min=0,
            max=999_999,
            description=phrases.SEED.text(),
            layout={"width": "14em"},
        )
        self.report = ipywidgets.HTML()
        self.time = ipywidgets.HTML()
        self.message = ipywidgets.HTML()
        actions: dict[str, Callable[[], Elements]] = {
            "Start": self._start,
            "Check": self._check,
            "Hint": self._hint,
            "Give up": self._give_up,
            "Debrief": self._debrief,
            "End": self._end,
        }
        self.buttons = {
            name: ipywidgets.Button(
                description=phrases.BUTTONS[name].text(),
                button_style={"Start": "primary", "Check": "success"}.get(name, ""),
                layout={"width": "max-content"},
            )
            for name in actions
        }
        for name, button in self.buttons.items():
            button.on_click(self._handler(actions[name]))
        heading = DIV(phrases.PANEL.text(), style="font-weight: 600; margin: .3em 0;")
        self.controls = ipywidgets.VBox(
            [
                ipywidgets.HTML(html(heading)),
                ipywidgets.HBox([self.level, self.seed, self.buttons["Start"]], layout=_WRAPPED),
                self.report,
                self.time,
                ipywidgets.HBox(
                    [self.buttons[name] for name in actions if name != "Start"], layout=_WRAPPED
                ),
                self.message,
            ]
        )
        self._show_state()

    def press(self, name: str) -> None:
        """Press the button of that English name, as a person in the browser would."""
        self.buttons[name].click()

    def _ipython_display_(self) -> None:
        display_controls(self.controls, self._terminal)

    def _handler(self, action: Callable[[], Elements]) -> Callable[[object], None]:
        def pressed(_button: object) -> None:
            for button in self.buttons.values():
                button.disabled = True
            self.message.value = html(paragraph(phrases.WORKING))
            try:
                self.message.value = outcome(action, phrases.INTERRUPTED)
            finally:
                self._show_state()

        return pressed

    def _start(self) -> Elements:
        self._hints = []
        seed, level = int(self.seed.value), int(self.level.value)
        state = self.session.start(draw(seed, level), f"seed {seed}, level {level}")
        return [
            paragraph(phrases.healthy_before(state.healthy)),
            paragraph(phrases.WORK.format(**state.scene)),
        ]

    def _check(self) -> Elements:
        checked = self.session.check()
        if checked.passed:
            return [paragraph(f"✓ {phrases.PASSED.text()}", colour=GREEN)]
        missing = bullets(checked.reasons)
        return [paragraph(phrases.NOT_YET, colour=ORANGE), missing, *self._shown_hints()]

    def _hint(self) -> Elements:
        hint = self.session.hint()
        if hint is None:
            return [*self._shown_hints(), paragraph(phrases.NO_MORE_HINTS)]
        self._hints.append(hint)
        return self._shown_hints()

    def _give_up(self) -> Elements:
        return _debriefed(self.session.solve())

    def _debrief(self) -> Elements:
        return _debriefed(self.session.debrief())

    def _end(self) -> Elements:
        self._hints = []
        self.session.end()
        return [paragraph(phrases.ENDED)]

    def _shown_hints(self) -> Elements:
        if not self._hints:
            return []
        hints = OL(
            *(LI(*words(hint.text())) for hint in self._hints), style=f"margin: .2em 0; {LINES}"
        )
        return [paragraph(HINTS), hints]

    def _show_state(self) -> None:
        state = self.session.state
        is_open = state is not None and not state.ended_at
        self.report.value = html(*_report(state)) if state is not None else ""
        self._show_time(state)
        self.buttons["Start"].disabled = False
        for name in ("Check", "Hint", "Give up"):
            self.buttons[name].disabled = not is_open
        self.buttons["Debrief"].disabled = state is None or is_open
        self.buttons["End"].disabled = state is None
        if is_open and not self._ticks:
            self._tick()

    def _show_time(self, state: IncidentState | None) -> None:
        text = phrases.NO_INCIDENT.text()
        if state is not None:
            text = phrases.TIME.format(minutes=state.cost_minutes, hints=state.hints).text()
        self.time.value = html(SPAN(text, style=f"color: {GREY}; font-size: .9em;"))

    def _tick(self) -> None:
        """Go on showing the time while the incident is open, where the kernel has a loop."""
        state = self.session.state
        self._show_time(state)
        self._ticks = state is not None and not state.ended_at
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._ticks = False
            return
        if self._ticks:
            loop.call_later(_TICK_SEC, self._tick)


def _report(state: IncidentState) -> Elements:
    label = DIV(translate(state.label), style=f"color: {GREY}; font-size: .9em;")
    symptoms = [find_fault(name).symptom.text() for name in state.faults]
    return [label, *(BLOCKQUOTE(*words(text), style=_QUOTE) for text in symptoms)]


def _debriefed(debriefings: Sequence[Debriefing]) -> Elements:
    elements: Elements = []
    for one in debriefings:
        shown = "\n".join(f"$ {line}\n{output}" for line, output in one.evidence)
        elements += [
            DIV(one.name, style="font-weight: 600; margin-top: .6em;"),
            paragraph(one.cause),
            paragraph(phrases.SHOWN_BY),
            PRE(shown, style=_CODE),
            paragraph(phrases.MENDED_BY),
            PRE("\n".join(one.mend), style=_CODE),
            paragraph(phrases.DOCTOR.format(reads=one.doctor.text())),
        ]
    return elements
