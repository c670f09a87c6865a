"""The panel of an incident in a notebook: a report, buttons, the time, and what was found."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import ipywidgets
from lxml import etree
from lxml.html.builder import BLOCKQUOTE, DIV, PRE, SPAN

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.button_panel import WRAPPED, Action, ButtonPanel
from kvmlab.course.elements import (
    GREEN,
    GREY,
    ORANGE,
    bullets,
    hints_so_far,
    html,
    paragraph,
    words,
)
from kvmlab.course.phrases import CHECK, HINT, START, WAS_RESET
from kvmlab.incidents import phrases
from kvmlab.incidents.registry import LEVELS, draw, find_fault
from kvmlab.incidents.session import Debriefing, IncidentSession, IncidentState
from kvmlab.language import translate
from kvmlab.widgets.elements import display_controls

if TYPE_CHECKING:
    from kvmlab.widgets import HostTerminal

_TICK_SEC: Final = 5.0
_QUOTE: Final = (
    "margin: .4em 0; padding: .3em 1em; border-left: 4px solid #ba5f10; max-width: 60em; "
    "font-size: 1.05em; line-height: 1.5;"
)
_CODE: Final = (
    "margin: .3em 0; padding: .4em .8em; background: rgba(127, 127, 127, .12); max-height: 14em; "
    "overflow: auto; max-width: 70em;"
)

Elements = list[etree._Element]


class IncidentPanel(ButtonPanel):
    """An incident with its controls. Where no kernel runs, a sentence stands in its place.

    The button of ``terminal`` stands above the panel.
    """

    def __init__(self, session: IncidentSession, terminal: HostTerminal | None = None) -> None:
        super().__init__(
            Action(START, self._start, "primary"),
            Action(CHECK, self._check, "success"),
            Action(HINT, self._hint),
            Action(phrases.GIVE_UP, self._give_up),
            Action(phrases.DEBRIEF, self._debrief),
            Action(phrases.END, self._end),
            interrupted=phrases.INTERRUPTED,
        )
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
        heading = DIV(phrases.PANEL.text(), style="font-weight: 600; margin: .3em 0;")
        self.controls = ipywidgets.VBox(
            [
                ipywidgets.HTML(html(heading)),
                ipywidgets.HBox([self.level, self.seed, self.buttons["Start"]], layout=WRAPPED),
                self.report,
                self.time,
                self._row("Check", "Hint", "Give up", "Debrief", "End"),
                self.message,
            ]
        )
        self._show_state()

    def _ipython_display_(self) -> None:
        display_controls(self.controls, terminal=self._terminal)

    def _after_click(self) -> None:
        self._show_state()

    def _start(self) -> Elements:
        self._hints = []
        seed, level = int(self.seed.value), int(self.level.value)
        self.session.start(draw(seed, level), f"seed {seed}, level {level}")
        return []

    def _check(self) -> Elements:
        checked = self.session.check()
        if checked.passed:
            return [paragraph(f"✓ {phrases.PASSED.text()}", colour=GREEN)]
        missing = bullets(checked.reasons)
        return [paragraph(phrases.NOT_YET, colour=ORANGE), missing, *hints_so_far(self._hints)]

    def _hint(self) -> Elements:
        hint = self.session.hint()
        if hint is None:
            return [*hints_so_far(self._hints), paragraph(phrases.NO_MORE_HINTS)]
        self._hints.append(hint)
        return [*hints_so_far(self._hints)]

    def _give_up(self) -> Elements:
        return _debriefed(self.session.solve())

    def _debrief(self) -> Elements:
        return _debriefed(self.session.debrief())

    def _end(self) -> Elements:
        self._hints = []
        self.session.end()
        return [paragraph(WAS_RESET)]

    def _show_state(self) -> None:
        state = self.session.state
        is_open = state is not None and not state.ended_at
        self.report.value = html(*_report(state)) if state is not None else ""
        self._show_time(state)
        if state is None:
            self._enable("Start")
        elif is_open:
            self._enable("Start", "Check", "Hint", "Give up", "End")
        else:
            self._enable("Start", "Debrief", "End")
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
    return [
        label,
        *(BLOCKQUOTE(*words(text), style=_QUOTE) for text in symptoms),
        paragraph(phrases.healthy_before(state.healthy)),
        *([] if state.ended_at else [paragraph(phrases.WORK.format(**state.site))]),
    ]


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
            paragraph(phrases.DOCTOR.format(reads=one.doctor)),
        ]
    return elements
