r"""A host that replays recorded replies, and the recorder of a real one.

The file is JSON: the name of the host and its replies in the order in which they were given;
texts are lists of lines, so that a recording can be read and compared. Of an input only the first
line is kept: scripts that travel over standard input name themselves there::

    {"host": "root@kvm1", "replies": [
        {"argv": ["uname", "-r"], "root": false, "input": null,
         "returncode": 0, "stdout": ["6.12.41\n"], "stderr": []}]}
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvmlab.directories import write_named
from kvmlab.errors import HostError, HostRefused, UsageError
from kvmlab.hosts.remote_process import Conversation, RemoteProcess
from kvmlab.hosts.runner import Runner, checked, refuse_without_root
from kvmlab.process import Completed


@dataclass(frozen=True)
class Reply:
    """One command and the reply of a real host."""

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
        """Return True where this is the reply to that command."""
        return (
            self.argv == tuple(argv)
            and self.root == root
            and self.input_line == _first_line(input_text)
        )


class RecordedRunner:
    """Runner that replays recorded replies.

    A command that was recorded several times gets its replies in that order, then the last one
    again and again.
    """

    def __init__(
        self,
        replies: Iterable[Reply] = (),
        *,
        talks: Iterable[Talk] = (),
        name: str = "recorded host",
    ) -> None:
        self.name = name
        self._replies = tuple(replies)
        self._used: set[int] = set()
        self._talks = list(talks)

    @classmethod
    def load(cls, path: Path) -> RecordedRunner:
        """Load the host recorded in ``path``.

        Raises:
            UsageError: the file cannot be read or is no recording.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                [_reply(entry) for entry in document["replies"]],
                talks=[_talk(entry) for entry in document.get("talks", ())],
                name=document["host"],
            )
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
        """Return the recorded reply to ``argv``; ``timeout_sec`` has no meaning here.

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
        fresh = [pair for pair in fitting if pair[0] not in self._used]
        number, reply = (fresh or fitting[-1:])[0]
        self._used.add(number)
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

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Return the first recorded conversation with ``argv`` that was not yet replayed.

        Raises:
            HostError: no such process was recorded.
        """
        for talk in self._talks:
            if talk.answers(argv, root=root):
                self._talks.remove(talk)
                return RemoteProcess(
                    RecordedPipes(talk, self.name),
                    shown_as or argv,
                    host=self.name,
                    end_check=refuse_without_root,
                )
        words = " ".join(_first_line(word) or "" for word in argv)
        raise HostError(
            f"{self.name} is a recording and holds no conversation with `{words}`"
            f"{' as root' if root else ''}.",
            todo="Record the host again with kvmlab.hosts.Recorder.",
        )

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


class Recorder:
    """Runner that passes commands to a real one and records every reply, for `save`."""

    def __init__(self, inner: Runner) -> None:
        self.name = inner.name
        self._inner = inner
        self._replies: list[Reply] = []
        self._pipes: list[_RecordingPipes] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv`` on the real host and record its reply."""
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

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Start ``argv`` on the real host and record the conversation."""
        process = self._inner.spawn(argv, root=root, shown_as=shown_as)
        words = tuple(_first_line(word) or "" for word in argv)
        pipes = _RecordingPipes(process.conversation, words, root=root)
        self._pipes.append(pipes)
        return RemoteProcess(pipes, process.argv, host=process.host, end_check=process.end_check)

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All replies so far, in their order."""
        return tuple(self._replies)

    @property
    def count(self) -> int:
        """Number of commands so far."""
        return len(self._replies)

    def save(self, path: Path) -> None:
        """Write the replies so far to ``path``, for :meth:`RecordedRunner.load`.

        Raises:
            UsageError: it cannot be written.
        """
        document = {
            "host": self.name,
            "replies": [_entry(reply) for reply in self._replies],
            "talks": [asdict(pipes.talk) for pipes in self._pipes],
        }
        write_named(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the real runner."""
        self._inner.close()


@dataclass(frozen=True)
class Talk:
    """A recorded conversation with one process: its input and output, in order.

    ``events`` are pairs: ("sent", first line of what was sent), where "*" stands for anything,
    ("line", a line of output), and ("ended", "") where it ended before its input did. Of each word
    of ``argv`` the first line counts (scripts name themselves there), and "*" stands for any word.
    """

    argv: tuple[str, ...]
    events: tuple[tuple[str, str], ...] = ()
    stderr: str = ""
    returncode: int = 0
    root: bool = False

    def answers(self, argv: Sequence[str], *, root: bool) -> bool:
        """Return True where this is the conversation with that command."""
        return (
            root == self.root
            and len(argv) == len(self.argv)
            and all(
                mine in ("*", _first_line(word)) for mine, word in zip(self.argv, argv, strict=True)
            )
        )


class RecordedPipes:
    """The pipes of a recorded conversation: :class:`kvmlab.hosts.remote_process.Conversation`.

    It prints its lines up to the next thing that has to be sent to it, and then meets every
    deadline at once. It lives until its input is closed, or to the event "ended".
    """

    def __init__(self, talk: Talk, host: str) -> None:
        self._talk = talk
        self._host = host
        self._events = deque(talk.events)
        self._input_closed = False
        self._killed = False

    def read(self, timeout_sec: float) -> bytes | None:
        """Return the next line, b"" at the end, None where the process would print nothing now."""
        while self._input_closed and self._events and self._events[0][0] == "sent":
            self._events.popleft()
        if self._killed or self.wait(0) is not None:
            return b""
        if not self._events or self._events[0][0] == "sent":
            return None
        return f"{self._events.popleft()[1]}\n".encode()

    def write(self, data: bytes, *, timeout_sec: float) -> None:
        """Check ``data`` against the recording.

        Raises:
            HostError: something else was sent when this was recorded.
            BrokenPipeError: the process had ended.
        """
        if self._input_closed or self.wait(0) is not None:
            raise BrokenPipeError
        text = _first_line(data.decode(errors="replace"))
        kind, recorded = self._events.popleft() if self._events else ("nothing", "")
        if kind != "sent" or recorded not in ("*", text):
            raise HostError(
                f'{self._host} is a recording: `{self._talk.argv[0]}` was sent "{text}" where the '
                f'recording has {kind} "{recorded}".',
                todo="Record the host again with kvmlab.hosts.Recorder.",
            )

    def close_input(self) -> None:
        """Let the recording go on to its end."""
        self._input_closed = True

    def wait(self, timeout_sec: float) -> int | None:
        """Return the recorded exit code, None while it lives."""
        if self._killed:
            return -9
        if self._events:
            return self._talk.returncode if self._events[0][0] == "ended" else None
        return self._talk.returncode if self._input_closed else None

    def kill(self) -> None:
        """End it."""
        self._killed = True

    def stderr(self) -> bytes:
        """Return what was printed to standard error."""
        return self._talk.stderr.encode()

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


class _RecordingPipes:
    """Pipes of a real process that record what goes through them."""

    def __init__(self, inner: Conversation, argv: tuple[str, ...], *, root: bool) -> None:
        self._inner = inner
        self._argv = argv
        self._root = root
        self._events: list[tuple[str, str]] = []
        self._partial = b""
        self._input_closed = False

    def read(self, timeout_sec: float) -> bytes | None:
        """Read from the real process."""
        chunk = self._inner.read(timeout_sec)
        *lines, self._partial = (self._partial + (chunk or b"")).split(b"\n")
        self._events += [("line", line.decode(errors="replace")) for line in lines]
        if chunk == b"" and not self._input_closed:
            self._events.append(("ended", ""))
        return chunk

    def write(self, data: bytes, *, timeout_sec: float) -> None:
        """Write to the real process."""
        self._events.append(("sent", _first_line(data.decode(errors="replace")) or ""))
        self._inner.write(data, timeout_sec=timeout_sec)

    def close_input(self) -> None:
        """Close the real process's input."""
        self._input_closed = True
        self._inner.close_input()

    def wait(self, timeout_sec: float) -> int | None:
        """Wait for the real process."""
        return self._inner.wait(timeout_sec)

    def kill(self) -> None:
        """Kill the real process."""
        self._inner.kill()

    def stderr(self) -> bytes:
        """Return the real process's standard error."""
        return self._inner.stderr()

    def close(self) -> None:
        """Close the real pipes."""
        self._inner.close()

    @property
    def talk(self) -> Talk:
        """The conversation so far."""
        return Talk(
            self._argv,
            tuple(self._events),
            self._inner.stderr().decode(errors="replace"),
            self._inner.wait(0) or 0,
            self._root,
        )


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


def _talk(entry: dict[str, Any]) -> Talk:
    return Talk(
        argv=tuple(entry["argv"]),
        events=tuple((str(kind), str(text)) for kind, text in entry["events"]),
        stderr=str(entry["stderr"]),
        returncode=int(entry["returncode"]),
        root=bool(entry["root"]),
    )


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _first_line(text: str | None) -> str | None:
    return text.partition("\n")[0] if text is not None else None
