"""Conversion between dataclasses and plain JSON values, by msgspec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(value: object) -> Any:
    """Return dataclasses, enums, paths and containers of them as values that ``json.dump`` takes.

    Fields become keys under their own names, paths strings; a tuple stays one.

    Raises:
        TypeError: something in ``value`` has no form in JSON.
    """
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_to_plain)


def from_json(document: object, kind: type[T]) -> T:
    """Build ``kind`` from plain JSON values, checked against its annotations.

    A field that ``document`` lacks takes its default, so that what an older version wrote stays
    readable; keys that ``kind`` does not have are ignored.

    Raises:
        ValueError: a value is missing or of another type; the message says where (``$.trials[2]``).
    """
    return msgspec.convert(document, kind, dec_hook=_path_from_text)


def _to_plain(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):  # a read-only view of a dictionary
        return dict(value)
    raise TypeError(f"A {type(value).__name__} has no form in JSON: {value!r}.")


def _path_from_text(kind: type[T], value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"{value!r} is no {kind.__name__}.")
