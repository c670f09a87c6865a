"""The guest agent's guest-exec and guest-exec-status, as JSON in and a frozen result out."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kvmlab.errors import OutputError

#: Given instead of inherited: an agent started by an init may have no PATH, and tools must speak
#: one language.
_ENVIRONMENT: Final = (
    "LC_ALL=C",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)


@dataclass(frozen=True)
class ExecStatus:
    """A command of the agent that has ended. A command killed by signal N has the code 128 + N."""

    returncode: int
    stdout: str
    stderr: str


def exec_request(argv: tuple[str, ...], input_text: str | None = None) -> dict[str, Any]:
    """Return the guest-exec command for ``argv``, with its output captured."""
    arguments: dict[str, Any] = {
        "path": argv[0],
        "arg": list(argv[1:]),
        "env": list(_ENVIRONMENT),
        "capture-output": True,
    }
    if input_text is not None:
        arguments["input-data"] = base64.b64encode(input_text.encode()).decode()
    return {"execute": "guest-exec", "arguments": arguments}


def status_request(handle: int) -> dict[str, Any]:
    """Return the guest-exec-status command."""
    return {"execute": "guest-exec-status", "arguments": {"pid": handle}}


def read_status(answer: Mapping[str, Any]) -> ExecStatus | None:
    """Parse the answer to guest-exec-status; return None while the command runs.

    The agent's own words::

        {"exited": true, "exitcode": 0, "out-data": "NC4xOS4wCg=="}

    Raises:
        OutputError: the answer has another shape.
    """
    try:
        if not answer["exited"]:
            return None
        if answer.get("out-truncated") or answer.get("err-truncated"):
            raise ValueError("the agent kept only a part of the output")
        code = answer["exitcode"] if "exitcode" in answer else 128 + answer["signal"]
        return ExecStatus(int(code), _text(answer.get("out-data")), _text(answer.get("err-data")))
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise OutputError(
            "The guest agent's answer could not be understood.", evidence=str(answer)[:2000]
        ) from error


def _text(encoded: str | None) -> str:
    return base64.b64decode(encoded or "", validate=True).decode(errors="replace")
