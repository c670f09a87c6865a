"""The one runner of processes on this machine: argv in, a frozen result out, a deadline always."""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvmlab.errors import CommandFailed, CommandTimeout, HostError


@dataclass(frozen=True)
class Completed:
    """A process that has ended, wherever it ran."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    host: str
    elapsed_sec: float

    @property
    def command(self) -> str:
        """The argv as a person would type it, for messages only."""
        return shlex.join(self.argv)


def run(
    argv: Sequence[str | Path],
    *,
    timeout_sec: float,
    input_text: str | None = None,
    input_path: Path | None = None,
    output_path: Path | None = None,
    on_stderr_line: Callable[[str], None] | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    host: str = "this machine",
    shown_as: Sequence[str] | None = None,
) -> Completed:
    """Run ``argv`` on this machine and wait for it, at most ``timeout_sec`` seconds.

    The locale is C, so that parsers see one language. ``env`` adds to the environment. Standard
    input is ``input_text``, or the file ``input_path``, or nothing; standard output is captured, or
    written to ``output_path``. ``on_stderr_line`` hears each line of standard error as it comes
    (in another thread). ``shown_as`` replaces the argv in results and messages (a command that
    travels through ssh is shown as the command that was meant).

    Raises:
        CommandFailed: the exit code is not zero and ``check`` is set.
        CommandTimeout: the deadline passed; the process group was killed.
        HostError: the program cannot be started.
    """
    words = tuple(str(word) for word in argv)
    shown = tuple(shown_as) if shown_as is not None else words
    started = time.monotonic()
    with ExitStack() as files:
        stdin: IO[bytes] | int = subprocess.PIPE if input_text is not None else subprocess.DEVNULL
        if input_path is not None:
            stdin = files.enter_context(input_path.open("rb"))
        stdout: IO[bytes] | int = subprocess.PIPE
        if output_path is not None:
            stdout = files.enter_context(output_path.open("wb"))
        process = _start(words, stdin, stdout, env, cwd, host)
    try:
        out, err = _talk(process, input_text, on_stderr_line, timeout_sec)
    except BaseException as error:
        _kill_group(process, listened=on_stderr_line is not None)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise CommandTimeout(
            f"`{shlex.join(shown)}` on {host} did not end within {timeout_sec:g} s and was killed.",
            evidence=_text(error.stderr or error.stdout or b"")[-4000:],
        ) from error
    completed = Completed(
        argv=shown,
        returncode=process.returncode,
        stdout=_text(out),
        stderr=_text(err),
        host=host,
        elapsed_sec=time.monotonic() - started,
    )
    if check and completed.returncode != 0:
        raise CommandFailed(completed)
    return completed


def start(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, host: str = "this machine"
) -> subprocess.Popen[bytes]:
    """Start ``argv`` on this machine with pipes to it, for a program that is talked to.

    Raises:
        HostError: the program cannot be started.
    """
    words = tuple(str(word) for word in argv)
    return _start(words, subprocess.PIPE, subprocess.PIPE, env, None, host)


class Lines:
    """What a started program says, a line at a time, each waited for with a deadline."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._heard = b""
        #: Nothing more will be said.
        self.ended = False

    @property
    def unread(self) -> bytes:
        """What has come already of the lines after the last one."""
        return self._heard

    def next(self, *, timeout_sec: float) -> str | None:
        """The next line without its end; None where the deadline or the stream's end came first."""
        deadline = time.monotonic() + timeout_sec
        with selectors.DefaultSelector() as selector:
            selector.register(self._stream, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(self._stream.fileno(), 4096)
                if not chunk:
                    self.ended = True
                    return None
                self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        return _text(line)


def _start(
    words: tuple[str, ...],
    stdin: IO[bytes] | int,
    stdout: IO[bytes] | int,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    host: str,
) -> subprocess.Popen[bytes]:
    try:
        # A group of its own: on a timeout the helpers that the program started die with it, and
        # Ctrl-C reaches the caller first, who decides.
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            cwd=cwd,
            process_group=0,
        )
    except OSError as error:
        raise HostError(
            f"`{shlex.join(words)}` could not be started on {host}: {error.strerror or error}.",
            todo=f"Install `{words[0]}` or check the path.",
        ) from error


def _talk(
    process: subprocess.Popen[bytes],
    input_text: str | None,
    on_stderr_line: Callable[[str], None] | None,
    timeout_sec: float,
) -> tuple[bytes, bytes]:
    if on_stderr_line is None:
        given = input_text.encode() if input_text is not None else None
        return process.communicate(given, timeout=timeout_sec)
    heard: list[bytes] = []

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            heard.append(line)
            on_stderr_line(_text(line).rstrip())

    # communicate() would read standard error itself, so the listener takes the pipe alone; what
    # has a listener writes its output to a file or prints little.
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        process.wait(timeout_sec)
    except subprocess.TimeoutExpired as error:
        error.stderr = b"".join(heard)
        raise
    listener.join(5)
    return process.stdout.read() if process.stdout else b"", b"".join(heard)


def _kill_group(process: subprocess.Popen[bytes], *, listened: bool) -> None:
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        # A listener has its pipe to itself and reads it to the end.
        if pipe is not None and not (listened and pipe is process.stderr):
            pipe.close()


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode(errors="replace")
