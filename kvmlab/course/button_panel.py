"""The base of cards and panels with buttons: each does something and says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import ipywidgets
from lxml import etree

from kvmlab.course import phrases
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.elements import ORANGE, html, paragraph
from kvmlab.errors import KvmlabError
from kvmlab.language import translate

#: On a narrow page controls go on in the next line, and no button is cut.
WRAPPED: Final = {"flex_flow": "row wrap"}
_TO_FIT: Final = {"width": "max-content"}


@dataclass(frozen=True)
class Action:
    """A button: its label, what it does, and its style by ipywidgets' name.

    ``run`` returns what is shown afterwards.
    """

    label: Bilingual
    run: Callable[[], Iterable[etree._Element]]
    style: str = ""


class ButtonPanel:
    """Buttons by their English labels, and the message that a click leaves below them.

    A click keeps the kernel busy, as a cell does, and disables all buttons meanwhile.
    ``interrupted`` is what an interrupt of the kernel shows.
    """

    def __init__(self, *actions: Action, interrupted: Bilingual) -> None:
        self._interrupted = interrupted
        self.message = ipywidgets.HTML()
        self.buttons = {action.label.en: self._button(action) for action in actions}

    def press(self, name: str) -> None:
        """Press the button of that English label, as a person in the browser would."""
        self.buttons[name].click()

    def _row(self, *names: str) -> ipywidgets.HBox:
        """Return some of the buttons side by side."""
        return ipywidgets.HBox([self.buttons[name] for name in names], layout=WRAPPED)

    def _enable(self, *names: str) -> None:
        """Enable these buttons, and disable the others."""
        for name, button in self.buttons.items():
            button.disabled = name not in names

    def _after_click(self) -> None:
        """Bring the controls up to date, the buttons included: a click leaves all disabled."""
        self._enable(*self.buttons)

    def _button(self, action: Action) -> ipywidgets.Button:
        button = ipywidgets.Button(
            description=action.label.text(), button_style=action.style, layout=_TO_FIT
        )

        def pressed(_button: object) -> None:
            self._enable()
            self.message.value = html(paragraph(phrases.WORKING))
            try:
                self.message.value = self._outcome(action)
            finally:
                self._after_click()

        button.on_click(pressed)
        return button

    def _outcome(self, action: Action) -> str:
        """Run an action; return what it shows as HTML, an error of kvmlab included.

        Raised in a callback of a widget, an error would end in the server's log only.
        """
        try:
            return html(*action.run())
        except KvmlabError as error:
            parts = (error.message, error.todo)
            return html(*(paragraph(translate(part), colour=ORANGE) for part in parts if part))
        except KeyboardInterrupt:
            return html(paragraph(self._interrupted, colour=ORANGE))
