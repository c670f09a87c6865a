"""A panel that runs single trials: the cell's own output is a figure, the controls are below."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
from IPython.display import display

from kvmlab.errors import KvmlabError, UsageError
from kvmlab.measure import OnProgress, Progress
from kvmlab.report import figures
from kvmlab.results import Result
from kvmlab.schemes import Scheme
from kvmlab.widgets.cards import line
from kvmlab.widgets.knobs import KnobControls
from kvmlab.widgets.ticker import Ticker, in_jupyter

LONGEST_SEC = 10
# Clicks made while a trial runs reach the kernel right after it.
_DEAF_SEC = 0.5

Run = Callable[[Scheme, int, OnProgress | None], Result]
Draw = Callable[..., object]
Later = Callable[[float, Callable[[], None]], object]


class TrialPanel:
    """Runs one trial when it is made, and more at the push of a button.

    With ``measured`` it begins with these results, and runs nothing before the button is pushed.

    ``results`` holds every trial that was run, the first ones included: nothing lives only in the
    widget. Without a browser the controls do nothing and the figure is the same. A trial keeps
    the kernel busy, as a cell does; what is clicked meanwhile is not kept for later.

    ``cards`` are schemes by name. The one that is chosen shows its knobs, and a line below them
    says what would be run.

    ``draw`` makes the figure from all results. Without ``seconds`` a run has no length to choose.
    ``later`` calls something after so many seconds; left out, it is the kernel's loop if there is
    one.

    Raises:
        UsageError: ``model`` is none of ``cards``.
    """

    def __init__(
        self,
        run: Run,
        cards: Mapping[str, Scheme],
        *,
        model: str,
        seconds: int | None,
        measured: Sequence[Result] = (),
        draw: Draw = figures.overview,
        later: Later | None = None,
    ) -> None:
        if model not in cards:
            raise UsageError(f"There is no card {model!r}.", todo=f"Use one of {', '.join(cards)}.")
        self._run = run
        self._draw = draw
        self._later = later or (_by_the_kernel if in_jupyter() else None)
        self._busy = False
        self._cards = cards
        self._model = ipywidgets.Dropdown(options=list(cards), value=model, description="card")
        self._model.observe(self._chosen, names="value")
        length = seconds or 1
        self._seconds = ipywidgets.IntSlider(
            value=length, min=1, max=max(LONGEST_SEC, length), description="seconds"
        )
        self.button = ipywidgets.Button(description="Run it", button_style="primary")
        self.button.on_click(self._pressed)
        self.knobs = KnobControls(cards[model], self._tell)
        self._line = ipywidgets.HTML()
        self._figure = ipywidgets.Output()
        first = [self._model, *([self._seconds] if seconds else []), self.button]
        self.controls = ipywidgets.VBox(
            [ipywidgets.HBox(first), self.knobs.box, self._line, self._figure]
        )
        self.results: tuple[Result, ...] = tuple(measured)
        if not self.results:
            with Ticker() as ticker:
                self.results = (run(cards[model], length, ticker.show),)

    @property
    def said(self) -> str:
        """What the panel tells about its next or last trial, as HTML; at rest nothing."""
        return str(self._line.value)

    def choose(self, *, model: str, seconds: int) -> None:
        """Set the controls, as a hand in the browser would."""
        self._model.value = model
        self._seconds.value = seconds

    def _ipython_display_(self) -> None:
        display(self._draw(*self.results))
        shown = self.controls._repr_mimebundle_()
        # What is left of the controls where no kernel runs: a sentence in place of their Python.
        display({**shown, "text/plain": "The panel works where a kernel runs."}, raw=True)

    def _pressed(self, _button: Any) -> None:
        if self._busy:
            return
        self._busy = self.button.disabled = True
        try:
            scheme = self.knobs.scheme
            self._line.value = line(f"{scheme.label}: plugging it in", 0.0)
            result = self._run(scheme, self._seconds.value, self._show)
        except KvmlabError as error:
            # Raised into a callback it would be lost in the server's log.
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
            self._listen_again()

    def _chosen(self, _change: Any) -> None:
        self.knobs.show(self._cards[self._model.value])
        self._tell()

    def _tell(self) -> None:
        """What the button would run now, or why it would not."""
        try:
            self._line.value = line(f"To be run: {self.knobs.scheme.label}.")
        except UsageError as error:
            self._line.value = line(str(error))

    def _listen_again(self) -> None:
        """Take clicks again, but not those that were made in the meantime and wait in line."""
        if self._later is None:
            self._free()
        else:
            self._later(_DEAF_SEC, self._free)

    def _free(self) -> None:
        self._busy = self.button.disabled = False

    def _show(self, step: Progress) -> None:
        self._line.value = line(f"{step.done}/{step.total}  {step.what}", step.done / step.total)


def _by_the_kernel(seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)
