"""Controls for the options of a scheme, one for each that the scheme declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import ipywidgets

from kvmlab.schemes import Scheme
from kvmlab.schemes.options import Option, options_of, with_options

#: The choice that leaves an option as it is.
LEFT_OUT: Final = "as it is"
_FULL_LABEL: Final = {"description_width": "initial"}


class OptionControls:
    """The options of one scheme at a time; ``scheme`` has them as the controls stand.

    ``on_change`` is called whenever a person changes an option.
    """

    def __init__(self, scheme: Scheme, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self.box = ipywidgets.HBox(layout={"flex_flow": "row wrap", "grid_gap": "0 1em"})
        self.show(scheme)

    def show(self, scheme: Scheme) -> None:
        """Show the options of ``scheme`` with its values."""
        self._base = scheme
        self._options = {option.name: option for option in options_of(type(scheme))}
        self.controls = {
            name: _control(option, getattr(scheme, name)) for name, option in self._options.items()
        }
        for control in self.controls.values():
            control.observe(lambda _change: self._on_change(), names="value")
        self.box.children = tuple(self.controls.values())

    @property
    def scheme(self) -> Scheme:
        """The scheme with its options as the controls stand.

        Raises:
            UsageError: a text is no value of its option, or the scheme refuses the combination.
        """
        values = {name: self._value(name, option) for name, option in self._options.items()}
        return with_options(self._base, values)

    def _value(self, name: str, option: Option) -> object:
        value = self.controls[name].value
        if option.may_be_none and value in ("", LEFT_OUT):
            return None
        return option.read(value.strip()) if isinstance(value, str) else value


def _control(option: Option, value: object) -> Any:
    """Return a list of choices, a checkbox, a number or a line of text."""
    name = option.name.replace("_", " ")
    if option.kind is bool and not option.may_be_none:
        # Without a width of its own the checkbox stands far from its label.
        return ipywidgets.Checkbox(
            value=value, description=name, indent=False, layout={"width": "max-content"}
        )
    if option.choices:
        choices = [*([LEFT_OUT] if option.may_be_none else []), *option.choices]
        selected = {True: "yes", False: "no", None: LEFT_OUT}.get(value, value)  # type: ignore[call-overload]
        return ipywidgets.Dropdown(
            options=choices,
            value=selected,
            description=name,
            style=_FULL_LABEL,
            layout={"width": "max-content"},
        )
    if option.kind is int and not option.may_be_none:
        return ipywidgets.IntText(
            value=value,
            description=name,
            style=_FULL_LABEL,
            layout={"width": f"{len(name) + 9}ch"},
        )
    return ipywidgets.Text(
        value="" if value is None else str(value),
        placeholder=LEFT_OUT,
        description=name,
        style=_FULL_LABEL,
        continuous_update=False,
        layout={"width": f"{len(name) + 20}ch"},
    )
