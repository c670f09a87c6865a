"""The adviser with controls: the cell's output is the advice, with the controls below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.display import display

from kvmlab.advice import Advice, GuestOs, Load, advise
from kvmlab.facts import HostFacts
from kvmlab.language import _
from kvmlab.results import Result
from kvmlab.widgets.elements import display_controls

if TYPE_CHECKING:
    from kvmlab.doctor import Diagnosis

_MAX_VMS = 64


class AdvicePanel:
    """Advice for the parameters, made anew whenever a control is changed.

    ``advice`` is always the last one, so no state is only in the widget. Without a browser the
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
        diagnosis: Diagnosis | None = None,
    ) -> None:
        self._facts = facts
        self._results = tuple(results or ())
        self._diagnosis = diagnosis
        #: The advice for the present values of the controls.
        self.advice: Advice = advise(
            facts,
            guest_os=guest_os,
            load=load,
            density=density,
            migration=migration,
            results=self._results,
            diagnosis=diagnosis,
        )
        self.guest_os = ipywidgets.Dropdown(
            options=[(_(guest), str(guest)) for guest in GuestOs],
            value=str(guest_os),
            description=_("guest"),
        )
        self.load = ipywidgets.Dropdown(
            options=[(_(kind), str(kind)) for kind in Load], value=str(load), description=_("load")
        )
        self.density = ipywidgets.IntSlider(
            value=density, min=1, max=max(_MAX_VMS, density), description=_("VMs")
        )
        self.migration = ipywidgets.Checkbox(value=migration, description=_("must migrate"))
        self._output = ipywidgets.HTML()
        options = (self.guest_os, self.load, self.density, self.migration)
        for option in options:
            option.observe(self._update, names="value")
        self.controls = ipywidgets.VBox(
            [ipywidgets.HBox(list(options), layout={"flex_flow": "row wrap"}), self._output]
        )

    def _ipython_display_(self) -> None:
        display(self.advice)
        display_controls(self.controls)

    def _update(self, _change: Any) -> None:
        self.advice = advise(
            self._facts,
            guest_os=self.guest_os.value,
            load=self.load.value,
            density=self.density.value,
            migration=self.migration.value,
            results=self._results,
            diagnosis=self._diagnosis,
        )
        self._output.value = self.advice._repr_html_()
