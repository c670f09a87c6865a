"""The knobs of a scheme, read from its declaration: for the command line and for panels."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from kvmlab.errors import UsageError
from kvmlab.schemes.base import Scheme

_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")
_DIGITS: Final = 9


@dataclass(frozen=True)
class Knob:
    """One parameter of a scheme.

    ``words`` are what may be chosen, where that is a list (and not a number or a text);
    ``may_be_none`` says that leaving it out is a choice of its own.
    """

    name: str
    kind: type
    words: tuple[str, ...] = ()
    may_be_none: bool = False

    def read(self, text: str) -> object:
        """``text`` as a value of this knob.

        >>> Knob("trust", bool, ("yes", "no")).read("on")
        True

        Raises:
            UsageError: it is none.
        """
        if self.kind is bool and text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
        if self.kind is int and text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
            return int(text)
        if self.kind is str and (not self.words or text in self.words):
            return text
        raise UsageError(
            f"{text!r} is no value of the knob {self.name}.",
            todo=f"Use {' or '.join(self.words) or 'a whole number'}.",
        )


def knobs_of(scheme: type[Scheme] | Scheme) -> tuple[Knob, ...]:
    """All knobs of a scheme, in the order of its declaration."""
    kind: Any = scheme if isinstance(scheme, type) else type(scheme)
    hints = get_type_hints(kind)
    return tuple(_knob(field.name, hints[field.name]) for field in fields(kind))


def with_knobs(scheme: Scheme, values: Mapping[str, object]) -> Scheme:
    """The scheme with other values of some of its knobs.

    Raises:
        UsageError: the scheme refuses them.
    """
    # Every scheme is a dataclass, which its base cannot say.
    declared: Any = scheme
    made: Scheme = replace(declared, **values)
    return made


def _knob(name: str, hint: Any) -> Knob:
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    (kind,) = (one for one in kinds if one is not type(None))
    may_be_none = len(kinds) > 1
    if get_origin(kind) is Literal:
        return Knob(name, str, tuple(map(str, get_args(kind))), may_be_none)
    return Knob(name, kind, ("yes", "no") if kind is bool else (), may_be_none)
