"""Options of a scheme, read from its declaration: checked here, offered by commands and panels."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from kvmlab.schemes.base import Scheme

_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")
_DIGITS: Final = 9


@dataclass(frozen=True)
class Option:
    """One parameter of a scheme.

    ``choices`` are its values where there is a list of them (and not a number or a text);
    ``may_be_none`` marks an option that may be left out.
    """

    name: str
    kind: type
    choices: tuple[str, ...] = ()
    may_be_none: bool = False

    def read(self, text: str) -> object:
        """Return ``text`` as a value of this option.

        >>> Option("trust", bool, ("yes", "no")).read("on")
        True

        Raises:
            UsageError: it is not one.
        """
        if self.kind is bool and text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
        if self.kind is int and text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
            return int(text)
        if self.kind is str and (not self.choices or text in self.choices):
            return text
        raise UsageError(
            f"{text!r} is no value of the option {self.name}.",
            todo=f"Use {' or '.join(self.choices) or 'a whole number'}.",
        )

    def check(self, value: object) -> None:
        """Refuse a value in Python that is of another type, or none of the choices.

        Raises:
            UsageError: it is.
        """
        if value is None and self.may_be_none:
            return
        if type(value) is self.kind:  # for Python, True is a whole number too
            if self.kind is bool or value in self.choices:
                return
            if not self.choices and (not isinstance(value, int) or value >= 0):
                return
        allowed = {
            bool: "True or False",
            int: "a whole number, 0 or more",
            str: " or ".join(map(repr, self.choices)) or "a text",
        }
        raise UsageError(
            f"{value!r} is no value of the option {self.name}.", todo=f"Use {allowed[self.kind]}."
        )


def options_of(kind: type[Any]) -> tuple[Option, ...]:
    """Return all options of a kind of scheme, in the order of its declaration."""
    hints = get_type_hints(kind)
    return tuple(_option(field.name, hints[field.name]) for field in fields(kind))


def check_options(scheme: object) -> None:
    """Refuse a scheme, or a part of one, with a value that its declaration does not allow.

    Raises:
        UsageError: an option has one; the message says which, and what it may be.
    """
    for option in options_of(type(scheme)):
        option.check(getattr(scheme, option.name))


def with_options(scheme: Scheme, values: Mapping[str, object]) -> Scheme:
    """Return the scheme with other values of some of its options.

    Raises:
        UsageError: the scheme refuses them.
    """
    # Every scheme is a dataclass, which the type of its base class does not show.
    dataclass_instance: Any = scheme
    changed: Scheme = replace(dataclass_instance, **values)
    return changed


def _option(name: str, hint: Any) -> Option:
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    (kind,) = (each for each in kinds if each is not type(None))
    may_be_none = len(kinds) > 1
    if get_origin(kind) is Literal:
        return Option(name, str, tuple(map(str, get_args(kind))), may_be_none)
    return Option(name, kind, ("yes", "no") if kind is bool else (), may_be_none)
