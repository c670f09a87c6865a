"""Messages between client and supervisor: one JSON object a line, over a unix socket.

A request is ``{"do": NAME, …}``. The supervisor answers with any number of ``{"say": TEXT}`` lines
of progress and then one ``{"ok": {…}}`` or ``{"error": {…}}``. A client that has leased the host
and closes its connection without ``release`` leaves the host dirty.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kvmlab import errors

SOCKET = "control.sock"
LINE_LIMIT = 2**20

# The errors that travel; whatever else goes wrong in a supervisor arrives as an EmbeddedError.
_KINDS: dict[str, type[errors.KvmlabError]] = {
    kind.__name__: kind
    for kind in (
        errors.EmbeddedError,
        errors.HostBusy,
        errors.HostError,
        errors.MachineDied,
        errors.MachineTimeout,
        errors.QemuUnfit,
        errors.StateUnfit,
        errors.UsageError,
    )
}


def encode(message: dict[str, Any]) -> bytes:
    """Encode one message as a line."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Decode the message of one line.

    Raises:
        EmbeddedError: the line is no message.
    """
    try:
        message = json.loads(line)
    except ValueError as error:
        raise errors.EmbeddedError(
            "A line between client and supervisor of the embedded host is no message.",
            evidence=line[:500].decode(errors="replace"),
        ) from error
    if not isinstance(message, dict):
        raise errors.EmbeddedError(f"A message is an object, not {type(message).__name__}.")
    return message


def error_message(error: Exception) -> dict[str, Any]:
    """Encode ``error`` as a message."""
    if not isinstance(error, errors.KvmlabError):
        text = f"The supervisor of the embedded host failed: {type(error).__name__}: {error}."
        error = errors.EmbeddedError(text, todo="See supervisor.log in the run directory.")
    kind = next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in (*_KINDS, "object"))
    body = {"message": error.message, "todo": error.todo, "evidence": error.evidence}
    return {"error": {"kind": kind if kind in _KINDS else "EmbeddedError", **body}}


def to_error(body: dict[str, Any]) -> errors.KvmlabError:
    """Return the error that `error_message` has encoded."""
    kind = _KINDS.get(body.get("kind", ""), errors.EmbeddedError)
    return kind(body["message"], todo=body.get("todo", ""), evidence=body.get("evidence", ""))


@contextmanager
def short_path(run_dir: Path) -> Iterator[str]:
    """Give ``run_dir``'s control socket a path that fits the 108 bytes of a unix address."""
    descriptor = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
