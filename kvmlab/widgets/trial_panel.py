"""A panel that runs single trials: the cell's output is a figure, with the controls below it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
from IPython.display import display

from kvmlab.errors import KvmlabError, UsageError
from kvmlab.language import _
from kvmlab.measure import OnProgress, Progress
from kvmlab.report import figures
from kvmlab.results import Result
from kvmlab.schemes import Scheme
from kvmlab.tunings import tuned, values_of
from kvmlab.widgets.elements import display_controls, line
from kvmlab.widgets.option_controls import OptionControls
from kvmlab.widgets.ticker import Ticker, in_jupyter

_MAX_SEC = 10
# Clicks made while a trial runs reach the kernel right after it, and are ignored for so long.
_IGNORE_SEC = 0.5

#: The choice of no tuning.
NO_TUNING = "none"
Run = Callable[[Scheme, int, OnProgress | None], Result]
Draw = Callable[..., object]
Later = Callable[[float, Callable[[], None]], object]


class TrialPanel:
    """A panel that runs one trial when it is created, and more at the push of a button.

    With ``measured`` it begins with these results, and runs nothing before the button is pushed.

    ``results`` holds the result of every trial, so no state is only in the widget. Without a
    browser the controls do nothing and the figure is the same. A trial keeps the kernel busy, as
    a cell does; clicks meanwhile are ignored.

    ``schemes`` are the schemes to choose from, by id. The options of the chosen one are shown,
    and below them a line with the scheme that would be run, or why it cannot be.

    ``draw`` makes the figure from all results. Without ``seconds`` a run has no length to choose.
    ``later`` calls a function after a number of seconds; left out, it is the event loop of the
    kernel if there is one.

    Raises:
        UsageError: ``model`` is the id of none of ``schemes``.
    """

    def __init__(
        self,
        run: Run,
        schemes: Mapping[str, Scheme],
        *,
        model: str,
        seconds: int | None,
        measured: Sequence[Result] = (),
        draw: Draw = figures.overview,
        later: Later | None = None,
    ) -> None:
        if model not in schemes:
            raise UsageError(
                f"There is no scheme {model!r}.", todo=f"Use one of {', '.join(schemes)}."
            )
        self._run = run
        self._draw = draw
        self._later = later or (_in_event_loop if in_jupyter() else None)
        self._busy = False
        self._schemes = schemes
        self._model = ipywidgets.Dropdown(
            options=list(schemes), value=model, description=_("scheme")
        )
        self._model.observe(self._scheme_chosen, names="value")
        length = seconds or 1
        self._seconds = ipywidgets.IntSlider(
            value=length, min=1, max=max(_MAX_SEC, length), description=_("seconds")
        )
        self.button = ipywidgets.Button(description=_("Run it"), button_style="primary")
        self.button.on_click(self._button_pressed)
        self.options = OptionControls(schemes[model], self._show_choice)
        values = [str(tuning) for tuning in values_of()]
        self._tuning = ipywidgets.Dropdown(
            options=[NO_TUNING, *values], value=NO_TUNING, description=_("tuning")
        )
        self._tuning.observe(lambda _change: self._show_choice(), names="value")
        self._line = ipywidgets.HTML()
        self._figure = ipywidgets.Output()
        first = [self._model, *([self._seconds] if seconds else []), self.button]
        self.controls = ipywidgets.VBox(
            [
                ipywidgets.HBox(first, layout={"flex_flow": "row wrap"}),
                self.options.box,
                self._tuning,
                self._line,
                self._figure,
            ]
        )
        self.results: tuple[Result, ...] = tuple(measured)
        if not self.results:
            with Ticker() as ticker:
                self.results = (run(schemes[model], length, ticker.show),)

    @property
    def message(self) -> str:
        """The line about the next or last trial, as HTML; empty at rest."""
        return str(self._line.value)

    @property
    def scheme(self) -> Scheme:
        """The scheme as the controls stand, with its tuning.

        Raises:
            UsageError: a text is no value of its option, or the scheme refuses the combination.
        """
        scheme = self.options.scheme
        chosen = str(self._tuning.value)
        return scheme if chosen == NO_TUNING else tuned(scheme, chosen)

    def choose(self, *, model: str, seconds: int, tuning: str = "") -> None:
        """Set the controls, as a person in the browser would; ``tuning`` as "rx-ring=256"."""
        self._model.value = model
        self._seconds.value = seconds
        self._tuning.value = tuning or NO_TUNING

    def _ipython_display_(self) -> None:
        display(self._draw(*self.results))
        display_controls(self.controls)

    def _button_pressed(self, _button: Any) -> None:
        if self._busy:
            return
        self._busy = self.button.disabled = True
        try:
            scheme = self.scheme
            self._line.value = line(f"{scheme.label}: attaching the interface", 0.0)
            result = self._run(scheme, self._seconds.value, self._show_progress)
        except KvmlabError as error:
            # Raised in a callback, it would end in the server's log only.
            self._line.value = line(str(error))
        except KeyboardInterrupt:
            self._line.value = line("Interrupted; what had been changed is put back.")
        else:
            self.results = (*self.results, result)
            self._line.value = ""
            with self._figure:
                self._figure.clear_output(wait=True)
                display(self._draw(*self.results))
        finally:
            self._accept_clicks()

    def _scheme_chosen(self, _change: Any) -> None:
        self.options.show(self._schemes[self._model.value])
        self._show_choice()

    def _show_choice(self) -> None:
        """Show the scheme that the button would run, or why it would not."""
        try:
            self._line.value = line(f"To be run: {self.scheme.label}.")
        except UsageError as error:
            self._line.value = line(str(error))

    def _accept_clicks(self) -> None:
        """Accept clicks again, except those that were made meanwhile and are still queued."""
        if self._later is None:
            self._enable()
        else:
            self._later(_IGNORE_SEC, self._enable)

    def _enable(self) -> None:
        self._busy = self.button.disabled = False

    def _show_progress(self, step: Progress) -> None:
        self._line.value = line(f"{step.done}/{step.total}  {_(step.what)}", step.done / step.total)


def _in_event_loop(seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)
