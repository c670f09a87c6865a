"""Controls for the knobs of a scheme: whatever a scheme declares can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import ipywidgets

from kvmlab.schemes import Scheme
from kvmlab.schemes.knobs import Knob, knobs_of, with_knobs

#: What a knob shows that is left as it is.
LEFT_OUT: Final = "as it is"
_FREE: Final = {"description_width": "initial"}


class KnobControls:
    """The knobs of one scheme at a time; ``scheme`` is the one that they say.

    ``moved`` is called when a knob was moved by hand.
    """

    def __init__(self, scheme: Scheme, moved: Callable[[], None]) -> None:
        self._moved = moved
        self.box = ipywidgets.HBox(layout={"flex_flow": "row wrap", "grid_gap": "0 1em"})
        self.show(scheme)

    def show(self, scheme: Scheme) -> None:
        """Show the knobs of that scheme, as it has them."""
        self._base = scheme
        self._knobs = {knob.name: knob for knob in knobs_of(scheme)}
        self.controls = {
            name: _control(knob, getattr(scheme, name)) for name, knob in self._knobs.items()
        }
        for control in self.controls.values():
            control.observe(lambda _change: self._moved(), names="value")
        self.box.children = tuple(self.controls.values())

    @property
    def scheme(self) -> Scheme:
        """The scheme with its knobs as they stand.

        Raises:
            UsageError: a text is no value of its knob, or the scheme refuses what was chosen.
        """
        values = {name: self._value(name, knob) for name, knob in self._knobs.items()}
        return with_knobs(self._base, values)

    def _value(self, name: str, knob: Knob) -> object:
        said = self.controls[name].value
        if knob.may_be_none and said in ("", LEFT_OUT):
            return None
        return knob.read(said.strip()) if isinstance(said, str) else said


def _control(knob: Knob, value: object) -> Any:
    """Words to choose from, a tick, a number or a line of text."""
    name = knob.name.replace("_", " ")
    if knob.kind is bool and not knob.may_be_none:
        # A tick would stand at the far end of its label's empty space.
        return ipywidgets.Checkbox(
            value=value, description=name, indent=False, layout={"width": "max-content"}
        )
    if knob.words:
        words = [*([LEFT_OUT] if knob.may_be_none else []), *knob.words]
        shown = {True: "yes", False: "no", None: LEFT_OUT}.get(value, value)  # type: ignore[call-overload]
        return ipywidgets.Dropdown(
            options=words,
            value=shown,
            description=name,
            style=_FREE,
            layout={"width": "max-content"},
        )
    if knob.kind is int and not knob.may_be_none:
        return ipywidgets.IntText(
            value=value, description=name, style=_FREE, layout={"width": f"{len(name) + 9}ch"}
        )
    return ipywidgets.Text(
        value="" if value is None else str(value),
        placeholder=LEFT_OUT,
        description=name,
        style=_FREE,
        continuous_update=False,
        layout={"width": f"{len(name) + 20}ch"},
    )
