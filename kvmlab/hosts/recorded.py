r"""A host made of recorded replies, and the recorder that makes them from a real one.

The file is JSON: the name of the host and its replies in the order in which they were given;
texts are lists of lines, so that a recording can be read and compared. Of an input only the first
line is kept: scripts that travel over standard input name themselves there::

    {"host": "root@kvm1", "replies": [
        {"argv": ["uname", "-r"], "root": false, "input": null,
         "returncode": 0, "stdout": ["6.12.41\n"], "stderr": []}]}
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmlab.errors import HostError, HostRefused, UsageError
from kvmlab.hosts.runner import Runner, checked
from kvmlab.process import Completed


@dataclass(frozen=True)
class Reply:
    """One command and what a real host answered to it."""

    argv: tuple[str, ...]
    stdout: str = ""
    stderr: str = ""
    returncode: int = 0
    root: bool = False
    #: The first line of the input, None where there was no input.
    input_line: str | None = None
    #: Why root was refused; then nothing ran.
    refused: str | None = None

    def answers(self, argv: Sequence[str], *, root: bool, input_text: str | None) -> bool:
        """Whether this is the reply to that command."""
        return (
            self.argv == tuple(argv)
            and self.root == root
            and self.input_line == _first_line(input_text)
        )


class RecordedRunner:
    """Replays recorded replies.

    A command that was recorded several times gets its replies in that order, then the last one
    again and again.
    """

    def __init__(self, replies: Iterable[Reply], *, name: str = "recorded host") -> None:
        self.name = name
        self._replies = tuple(replies)
        self._given: set[int] = set()

    @classmethod
    def load(cls, path: Path) -> RecordedRunner:
        """The host recorded in ``path``.

        Raises:
            UsageError: the file cannot be read or is no recording.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return cls((_reply(entry) for entry in document["replies"]), name=document["host"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} cannot be read as a recorded host: {error!r}.",
                todo="Record it anew with kvmlab.hosts.Recorder.",
            ) from error

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """The recorded reply to ``argv``; ``timeout_sec`` has no meaning here.

        Raises:
            HostError: no such command was recorded.
            HostRefused: root was refused when this was recorded.
            CommandFailed: the recorded exit code is not zero and ``check`` is set.
        """
        fitting = [
            (number, reply)
            for number, reply in enumerate(self._replies)
            if reply.answers(argv, root=root, input_text=input_text)
        ]
        if not fitting:
            raise HostError(
                f"{self.name} is a recording and holds no reply to `{' '.join(argv)}`"
                f"{' as root' if root else ''}.",
                todo="Record the host again with kvmlab.hosts.Recorder.",
            )
        fresh = [pair for pair in fitting if pair[0] not in self._given]
        number, reply = (fresh or fitting[-1:])[0]
        self._given.add(number)
        if reply.refused is not None:
            raise HostRefused(reply.refused)
        completed = Completed(
            argv=tuple(argv),
            returncode=reply.returncode,
            stdout=reply.stdout,
            stderr=reply.stderr,
            host=self.name,
            elapsed_sec=0.0,
        )
        return checked(completed, check=check)

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        """A recording cannot be talked to.

        Raises:
            HostError: always.
        """
        raise HostError(
            f"{self.name} is a recording; `{' '.join(argv)}` cannot be started there.",
            todo="Open a real host.",
        )

    def close(self) -> None:
        """Nothing is held."""


class Recorder:
    """A runner around a real one that remembers every reply; ``save`` writes them down."""

    def __init__(self, inner: Runner) -> None:
        self.name = inner.name
        self._inner = inner
        self._replies: list[Reply] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv`` on the real host and remember what it said."""
        try:
            completed = self._inner.run(
                argv, timeout_sec=timeout_sec, input_text=input_text, check=False, root=root
            )
        except HostRefused as error:
            self._replies.append(
                Reply(
                    tuple(argv),
                    root=root,
                    input_line=_first_line(input_text),
                    refused=error.message,
                )
            )
            raise
        self._replies.append(
            Reply(
                argv=tuple(argv),
                stdout=completed.stdout,
                stderr=completed.stderr,
                returncode=completed.returncode,
                root=root,
                input_line=_first_line(input_text),
            )
        )
        return checked(completed, check=check)

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        """Start ``argv`` on the real host; what is said to it is not recorded."""
        return self._inner.start(argv, root=root)

    @property
    def count(self) -> int:
        """How many commands ran so far."""
        return len(self._replies)

    def save(self, path: Path) -> None:
        """Write the replies so far to ``path``, for :meth:`RecordedRunner.load`."""
        document = {"host": self.name, "replies": [_entry(reply) for reply in self._replies]}
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Close the real runner."""
        self._inner.close()


def _entry(reply: Reply) -> dict[str, object]:
    return {
        "argv": list(reply.argv),
        "root": reply.root,
        "input": reply.input_line,
        "returncode": reply.returncode,
        "stdout": _lines(reply.stdout),
        "stderr": _lines(reply.stderr),
        "refused": reply.refused,
    }


def _reply(entry: dict[str, Any]) -> Reply:
    return Reply(
        argv=tuple(entry["argv"]),
        stdout="".join(entry["stdout"]),
        stderr="".join(entry["stderr"]),
        returncode=int(entry["returncode"]),
        root=bool(entry["root"]),
        input_line=str(entry["input"]) if entry["input"] is not None else None,
        refused=entry.get("refused"),
    )


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _first_line(text: str | None) -> str | None:
    return text.partition("\n")[0] if text is not None else None
