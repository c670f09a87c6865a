"""Processes on this machine: argv in, a frozen result out, always with a deadline."""

from __future__ import annotations

import os
import select
import selectors
import shlex
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvmlab.errors import CommandFailed, CommandTimeout, HostError, OutputError, reason_of

_KILL_SEC = 5.0
#: No program that kvmlab runs prints more into a pipe.
OUTPUT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Completed:
    """A finished process, wherever it ran."""

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
    may_run_elsewhere: bool = False,
) -> Completed:
    """Run ``argv`` on this machine and wait for it, at most ``timeout_sec`` seconds.

    The locale is C, so that parsers see one language. ``env`` adds to the environment. Standard
    input is ``input_text``, or the file ``input_path``, or nothing; standard output is captured, or
    written to ``output_path``. ``on_stderr_line`` hears each line of standard error as it comes
    (in another thread). ``shown_as`` replaces the argv in results and messages (a command that
    travels through ssh is shown as the command that was meant); with ``may_run_elsewhere`` that one
    may outlive the process here.

    Raises:
        CommandFailed: the exit code is not zero and ``check`` is set.
        CommandTimeout: the deadline passed; the process group was killed.
        HostError: the program cannot be started.
        OutputError: it printed more than `OUTPUT_BYTES` and was killed.
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
        ended = _kill_group(process, listened=on_stderr_line is not None)
        if isinstance(error, _TooMuchOutput):
            raise error.translated(f"`{shlex.join(shown)}` on {host}") from error
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise CommandTimeout(
            f"`{shlex.join(shown)}` on {host} did not end within {timeout_sec:g} s and was killed.",
            evidence=_text(error.stderr or error.stdout or b"")[-4000:],
            may_still_run=may_run_elsewhere or not ended,
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


#: Returns the next bytes, b"" at their end, None after so many seconds.
Read = Callable[[float], bytes | None]


def read_from(stream: IO[bytes]) -> Read:
    """Return a function that reads what ``stream`` has, and waits for it at most so long."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)

    def read(timeout_sec: float) -> bytes | None:
        if not poll.poll(max(0.0, timeout_sec) * 1000):
            return None
        return os.read(stream.fileno(), 65536)

    return read


class LineReader:
    """Output of a running program, a line at a time, each waited for with a deadline.

    Of a line that does not end, ``limit_bytes`` are stored, and of the rest as many.
    """

    def __init__(self, read: Read, *, limit_bytes: int = 1 << 20) -> None:
        self._read = read
        self._limit_bytes = limit_bytes
        self._chunks: list[bytes] = []
        self._stored = 0
        self._lines: deque[bytes] = deque()
        #: Nothing more will come.
        self.ended = False

    def next(self, *, timeout_sec: float) -> str | None:
        """Return the next line without its end; None after the deadline or at the stream's end.

        Raises:
            OutputError: the line is longer than ``limit_bytes``.
        """
        deadline = time.monotonic() + timeout_sec
        while not self._lines and not self.ended:
            chunk = self._read(deadline - time.monotonic())
            if chunk is None:
                return None
            self._take(chunk)
            if not self._lines and time.monotonic() >= deadline:
                return None
        return _text(self._lines.popleft()) if self._lines else None

    @property
    def buffered(self) -> bytes:
        """Bytes that were received and not yet returned."""
        return b"".join([*(line + b"\n" for line in self._lines), *self._chunks])

    def rest(self, *, timeout_sec: float) -> bytes | None:
        """Return all that is not yet read, to the stream's end; None after the deadline.

        Raises:
            OutputError: it is more than ``limit_bytes``.
        """
        deadline = time.monotonic() + timeout_sec
        output = [self.buffered]
        stored = len(output[0])
        while not self.ended:
            chunk = self._read(deadline - time.monotonic())
            if chunk is None or (chunk and time.monotonic() >= deadline):
                return None
            self.ended = not chunk
            output.append(chunk)
            stored += len(chunk)
            if stored > self._limit_bytes:
                raise _too_much(output[0])
        self._lines.clear()
        self._chunks = []
        return b"".join(output)

    def _take(self, chunk: bytes) -> None:
        self.ended = not chunk
        first, newline, more = chunk.partition(b"\n")
        self._chunks.append(first)
        self._stored += len(first)
        if self._stored > self._limit_bytes:
            raise _too_much(self._chunks[0])
        if newline:
            self._lines.append(b"".join(self._chunks))
            *lines, last = more.split(b"\n")
            self._lines.extend(lines)
            self._chunks = [last]
            self._stored = len(last)


def _too_much(begin: bytes) -> OutputError:
    return OutputError("A program printed more than any answer has.", evidence=_text(begin[:400]))


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
            f"`{shlex.join(words)}` could not be started on {host}: {reason_of(error)}.",
            todo=f"Install `{words[0]}` or check the path.",
        ) from error


def _talk(
    process: subprocess.Popen[bytes],
    input_text: str | None,
    on_stderr_line: Callable[[str], None] | None,
    timeout_sec: float,
) -> tuple[bytes, bytes]:
    if on_stderr_line is None:
        data = input_text.encode() if input_text is not None else None
        return _communicate(process, data, timeout_sec)
    lines: list[bytes] = []

    def collect() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            on_stderr_line(_text(line).rstrip())

    # communicate() would read standard error itself, so the listener takes the pipe alone; what
    # has a listener writes its output to a file or prints little.
    listener = threading.Thread(target=collect, daemon=True)
    listener.start()
    try:
        process.wait(timeout_sec)
    except subprocess.TimeoutExpired as error:
        error.stderr = b"".join(lines)
        raise
    listener.join(5)
    if not listener.is_alive() and process.stderr is not None:
        process.stderr.close()
    if process.stdout is None:
        return b"", b"".join(lines)
    with process.stdout as stdout:
        return stdout.read(), b"".join(lines)


class _TooMuchOutput(Exception):
    """The process has printed more than is stored."""

    def __init__(self, output: bytes) -> None:
        super().__init__()
        self._output = output

    def translated(self, command: str) -> OutputError:
        return OutputError(
            f"{command} printed more than {OUTPUT_BYTES >> 20} MiB and was killed.",
            evidence=_text(self._output)[:2000],
        )


def _communicate(
    process: subprocess.Popen[bytes], data: bytes | None, timeout_sec: float
) -> tuple[bytes, bytes]:
    """Feed and read a process as ``Popen.communicate`` does, but store `OUTPUT_BYTES` at most."""
    deadline = time.monotonic() + timeout_sec
    output: list[bytes] = []
    errors: list[bytes] = []
    stored = 0
    left = memoryview(data or b"")
    with selectors.DefaultSelector() as selector:
        for stream, chunks in ((process.stdout, output), (process.stderr, errors)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, (stream, chunks))
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, (process.stdin, None))
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            # Also where more keeps coming.
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(
                    process.args, timeout_sec, b"".join(output), b"".join(errors)
                )
            for key, _ in ready:
                stream, chunks = key.data
                if chunks is None:
                    left = _feed(key.fd, left)
                    is_done = not left
                else:
                    chunk = os.read(key.fd, 1 << 16)
                    chunks.append(chunk)
                    stored += len(chunk)
                    if stored > OUTPUT_BYTES:
                        raise _TooMuchOutput(chunks[0])
                    is_done = not chunk
                if is_done:
                    selector.unregister(stream)
                    with suppress(BrokenPipeError):
                        stream.close()
    process.wait(max(0.0, deadline - time.monotonic()))
    return b"".join(output), b"".join(errors)


def _feed(descriptor: int, data: memoryview) -> memoryview:
    """Write what the pipe takes; return what is left, nothing where nobody reads."""
    try:
        return data[os.write(descriptor, data[: 1 << 16]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return data[:0]


def _kill_group(process: subprocess.Popen[bytes], *, listened: bool) -> bool:
    """Kill the process and what it started; return whether its end is certain."""
    try:
        # Once it has been waited for, its number may be another process's.
        if process.returncode is None:
            os.killpg(process.pid, 9)
        process.wait(_KILL_SEC)
        ended = True
    except ProcessLookupError:
        process.kill()
        process.wait()
        ended = True
    except (PermissionError, subprocess.TimeoutExpired):
        # It is root's (sudo), or the kernel does not let it go: a write to /sys may wait.
        ended = False
    for pipe in (process.stdin, process.stdout, process.stderr):
        # A listener has its pipe to itself and reads it to the end.
        if pipe is not None and not (listened and pipe is process.stderr):
            pipe.close()
    return ended


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode(errors="replace")
