"""Schemes by name, with their knobs as text: for the command line."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from kvmlab.errors import UsageError
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.full_emulation import FullEmulation
from kvmlab.schemes.macvtap import Macvtap
from kvmlab.schemes.passthrough import PciPassthrough
from kvmlab.schemes.sriov import SriovVf
from kvmlab.schemes.virtio import Virtio

_MAKERS: Final[Mapping[str, tuple[Callable[..., Scheme], Mapping[str, object]]]] = {
    "e1000": (FullEmulation, {"model": "e1000"}),
    "e1000e": (FullEmulation, {"model": "e1000e"}),
    "virtio-qemu": (Virtio, {"backend": "qemu"}),
    "virtio-vhost": (Virtio, {"backend": "vhost"}),
    "macvtap": (Macvtap, {}),
    "passthrough": (PciPassthrough, {}),
    "sriov-vf": (SriovVf, {}),
}
NAMES: Final = tuple(_MAKERS)
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


def scheme_named(name: str, knobs: Mapping[str, str] | None = None) -> Scheme:
    """The scheme of that name; ``knobs`` are its parameters as text: ``{"vfs": "4"}``.

    >>> scheme_named("macvtap", {"mode": "vepa"}).id
    'macvtap-vepa'

    Raises:
        UsageError: there is no such scheme or knob, or the text is no value of it.
    """
    if name not in _MAKERS:
        near = get_close_matches(name, NAMES, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"There is no scheme {name!r}.{hint}", todo=f"The schemes are {', '.join(NAMES)}."
        )
    maker, fixed = _MAKERS[name]
    assert isinstance(maker, type)
    assert is_dataclass(maker)
    hints = get_type_hints(maker)
    known = [field.name for field in fields(maker) if field.name not in fixed]
    values: dict[str, object] = {}
    for knob, text in (knobs or {}).items():
        if knob not in known:
            near = get_close_matches(knob, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"The scheme {name} has no knob {knob!r}.{hint}",
                todo=f"It has {', '.join(known)}.",
            )
        values[knob] = _value(name, knob, text, hints[knob])
    made = maker(**fixed, **values)
    assert isinstance(made, Scheme)
    return made


def _value(scheme: str, knob: str, text: str, hint: Any) -> object:
    """``text`` as a value of the type ``hint``."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    choices: list[str] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            choices += [str(choice) for choice in get_args(kind)]
            if text in choices:
                return text
        elif kind is bool:
            choices += ["yes", "no"]
            if text.lower() in (*_TRUE, *_FALSE):
                return text.lower() in _TRUE
        elif kind is int:
            choices.append("a whole number")
            if text.isascii() and text.isdecimal() and len(text) < 10:
                return int(text)
        elif kind is str:
            return text
    raise UsageError(
        f"{text!r} is no value of the knob {knob} of {scheme}.",
        todo=f"Use {' or '.join(choices)}.",
    )
