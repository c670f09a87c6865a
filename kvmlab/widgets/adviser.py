"""The adviser with controls: the cell's own output is the advice, the controls come below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets
from IPython.display import display

from kvmlab.advice import Advice, GuestOs, Load, advise
from kvmlab.facts import HostFacts
from kvmlab.results import Result

MOST_VMS = 64


class AdvicePanel:
    """Advises for the parameters given, and anew whenever a control is moved.

    ``advice`` is always the last one: nothing lives only in the widget. Without a browser the
    controls do nothing and the advice is the same. Takes what :func:`kvmlab.advise` takes.

    Raises:
        UsageError: as :func:`kvmlab.advise`.
    """

    def __init__(
        self,
        facts: HostFacts,
        *,
        guest_os: str = GuestOs.LINUX,
        load: str = Load.BULK,
        density: int = 1,
        migration: bool = False,
        results: Sequence[Result] | None = None,
    ) -> None:
        self._facts = facts
        self._results = tuple(results or ())
        #: The advice for what the controls say now.
        self.advice: Advice = advise(
            facts,
            guest_os=guest_os,
            load=load,
            density=density,
            migration=migration,
            results=self._results,
        )
        self.guest_os = ipywidgets.Dropdown(
            options=[str(one) for one in GuestOs], value=str(guest_os), description="guest"
        )
        self.load = ipywidgets.Dropdown(
            options=[str(one) for one in Load], value=str(load), description="load"
        )
        self.density = ipywidgets.IntSlider(
            value=density, min=1, max=max(MOST_VMS, density), description="VMs"
        )
        self.migration = ipywidgets.Checkbox(value=migration, description="must migrate")
        self._shown = ipywidgets.HTML()
        knobs = (self.guest_os, self.load, self.density, self.migration)
        for knob in knobs:
            knob.observe(self._moved, names="value")
        self.controls = ipywidgets.VBox([ipywidgets.HBox(list(knobs)), self._shown])

    def _ipython_display_(self) -> None:
        display(self.advice)
        shown = self.controls._repr_mimebundle_()
        # What is left of the controls where no kernel runs: a sentence in place of their Python.
        display({**shown, "text/plain": "The panel works where a kernel runs."}, raw=True)

    def _moved(self, _change: Any) -> None:
        self.advice = advise(
            self._facts,
            guest_os=self.guest_os.value,
            load=self.load.value,
            density=self.density.value,
            migration=self.migration.value,
            results=self._results,
        )
        self._shown.value = self.advice._repr_html_()
