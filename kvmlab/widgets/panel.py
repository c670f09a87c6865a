"""A panel that runs single trials: the cell's own output is a figure, the controls come on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from IPython.display import display

from kvmlab.errors import KvmlabError, UsageError
from kvmlab.measure import OnProgress, Progress
from kvmlab.report import figures
from kvmlab.results import Result
from kvmlab.widgets.cards import line
from kvmlab.widgets.ticker import Ticker

LONGEST_SEC = 10

Run = Callable[[str, int, OnProgress | None], Result]


class TrialPanel:
    """Runs one trial when it is made, and more at the push of a button.

    ``results`` holds every trial that was run, the first one included: nothing lives only in the
    widget. Without a browser the controls do nothing and the figure is the same.

    Raises:
        UsageError: ``model`` is none of ``models``.
    """

    def __init__(self, run: Run, models: Sequence[str], *, model: str, seconds: int) -> None:
        if model not in models:
            raise UsageError(
                f"There is no card {model!r}.", todo=f"Use one of {', '.join(models)}."
            )
        self._run = run
        self._model = ipywidgets.Dropdown(options=list(models), value=model, description="card")
        self._seconds = ipywidgets.IntSlider(
            value=seconds, min=1, max=max(LONGEST_SEC, seconds), description="seconds"
        )
        self.button = ipywidgets.Button(description="Run a trial", button_style="primary")
        self.button.on_click(self._pressed)
        self._line = ipywidgets.HTML()
        self._figure = ipywidgets.Output()
        self.controls = ipywidgets.VBox(
            [
                ipywidgets.HBox([self._model, self._seconds, self.button]),
                self._line,
                self._figure,
            ]
        )
        with Ticker() as ticker:
            self.results: tuple[Result, ...] = (run(model, seconds, ticker.show),)

    @property
    def said(self) -> str:
        """What the panel tells about its last trial, as HTML; nothing when it went well."""
        return str(self._line.value)

    def choose(self, *, model: str, seconds: int) -> None:
        """Set the controls, as a hand in the browser would."""
        self._model.value = model
        self._seconds.value = seconds

    def _ipython_display_(self) -> None:
        display(figures.overview(*self.results))
        shown = self.controls._repr_mimebundle_()
        # What is left of the controls where no kernel runs: a sentence in place of their Python.
        display({**shown, "text/plain": "The panel works where a kernel runs."}, raw=True)

    def _pressed(self, _button: Any) -> None:
        self.button.disabled = True
        try:
            result = self._run(self._model.value, self._seconds.value, self._show)
        except KvmlabError as error:
            # Raised into a callback it would be lost in the server's log.
            self._line.value = line(str(error))
        else:
            self.results = (*self.results, result)
            self._line.value = ""
            with self._figure:
                self._figure.clear_output(wait=True)
                display(figures.overview(*self.results))
        finally:
            self.button.disabled = False

    def _show(self, step: Progress) -> None:
        self._line.value = line(f"{step.done}/{step.total}  {step.what}", step.done / step.total)
