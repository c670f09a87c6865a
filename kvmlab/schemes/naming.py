"""Schemes by name, with their knobs as text: for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from kvmlab.errors import UsageError
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.full_emulation import FullEmulation
from kvmlab.schemes.knobs import knobs_of
from kvmlab.schemes.macvtap import Macvtap
from kvmlab.schemes.passthrough import PciPassthrough
from kvmlab.schemes.sriov import SriovVf
from kvmlab.schemes.virtio import Virtio

_MAKERS: Final[Mapping[str, tuple[type[Scheme], Mapping[str, object]]]] = {
    "e1000": (FullEmulation, {"model": "e1000"}),
    "e1000e": (FullEmulation, {"model": "e1000e"}),
    "virtio-qemu": (Virtio, {"backend": "qemu"}),
    "virtio-vhost": (Virtio, {"backend": "vhost"}),
    "macvtap": (Macvtap, {}),
    "passthrough": (PciPassthrough, {}),
    "sriov-vf": (SriovVf, {}),
}
NAMES: Final = tuple(_MAKERS)


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
    known = {knob.name: knob for knob in knobs_of(maker) if knob.name not in fixed}
    values: dict[str, object] = {}
    for knob, text in (knobs or {}).items():
        if knob not in known:
            near = get_close_matches(knob, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"The scheme {name} has no knob {knob!r}.{hint}",
                todo=f"It has {', '.join(known)}.",
            )
        values[knob] = known[knob].read(text)
    return maker(**fixed, **values)
