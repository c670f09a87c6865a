"""A value as a JSON file of its own: written in one step, and checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from kvmlab.directories import write_named
from kvmlab.errors import OutputError, UsageError, reason_of
from kvmlab.serialization import from_json, to_json
from kvmlab.stored_files import parse_json

Document = TypeVar("Document")


def save_document(path: Path, key: str, value: Any, *, version: int) -> None:
    """Write a dataclass under ``key``, with the version of its format.

    Raises:
        UsageError: it cannot be written.
    """
    document = {"format": version, key: to_json(value)}
    write_named(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def load_document(path: Path, key: str, kind: type[Document], *, version: int) -> Document:
    """Read what `save_document` wrote.

    Raises:
        UsageError: the file cannot be read.
        OutputError: it holds something else, or another version of the format.
    """
    try:
        document = parse_json(path.read_text("utf-8"))
        if document["format"] != version:
            raise ValueError(f"its format is {document['format']!r}, and {version} is needed")
        return from_json(document[key], kind)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason_of(error)}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path} holds no `{key}` of kvmlab's: {error}.") from error
