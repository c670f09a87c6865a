r"""Long-running processes on a host: lines in, lines out, always with a deadline.

Runners start it (:meth:`kvmlab.hosts.Runner.spawn`, :func:`kvmlab.hosts.spawn_script`)::

    with spawn_script(host.runner, "kvmlab.measure", "serve.sh", "tcp", port, root=True) as process:
        greeting = process.next_line(timeout_sec=60)   # None: the deadline, or the end of output
        process.send("beat\n")                         # raises what its end stands for
        before, rest = process.expect("=== maps ", timeout_sec=60)
        done = process.finish(timeout_sec=30)          # end of input; the rest of its output

A block that is left stops the process: its input is closed, and what does not end by that is
killed. The process sees the end of its input in whichever way this one ends.

Standard error is collected all the time and kept as evidence; the last 64 KiB of it are stored.

Without a host, `RecordedRunner(talks=[Talk(…)])` gives the same class over a recorded conversation.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Final, Protocol, Self

from kvmlab.errors import CommandFailed, CommandTimeout, HostError, OutputError
from kvmlab.process import Completed, LineReader, read_from

#: More output than this is no answer of any script of ours.
OUTPUT_BYTES: Final = 64 * 1024 * 1024
STDERR_BYTES: Final = 64 * 1024
_SEND_SEC: Final = 60.0
_STOP_SEC: Final = 5.0
_KILL_SEC: Final = 5.0
_END_SEC: Final = 1.0

#: Raises the error that a finished process stands for (a lost connection, sudo's refusal).
EndCheck = Callable[[Completed], None]


class Conversation(Protocol):
    """The pipes of one process: of a real one, or recorded."""

    def read(self, timeout_sec: float) -> bytes | None:
        """Return the next bytes of output, b"" at its end, None after the deadline."""

    def write(self, data: bytes, *, timeout_sec: float) -> None:
        """Write all of ``data``.

        Raises:
            BrokenPipeError: the process reads no more.
            TimeoutError: it did not take all of it in time.
        """

    def close_input(self) -> None:
        """Let the process see the end of its input; may be called twice."""

    def wait(self, timeout_sec: float) -> int | None:
        """Return the exit code, or None where the process still runs after ``timeout_sec``."""

    def kill(self) -> None:
        """Kill the process and what it started; may be called twice."""

    def stderr(self) -> bytes:
        """Return the end of what was printed to standard error so far."""

    def close(self) -> None:
        """Close the pipes; may be called twice."""


class RemoteProcess:
    """One process that runs on a host until it is stopped; a context manager.

    ``argv`` is the command for messages, ``host`` the machine's name in them. ``end_check`` raises
    the error that a finished process stands for, where the way to the host knows one.
    """

    def __init__(
        self,
        conversation: Conversation,
        argv: Sequence[str],
        *,
        host: str,
        end_check: EndCheck | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.host = host
        self.conversation = conversation
        self.end_check = end_check
        self._began_sec = time.monotonic()
        self._reader = LineReader(conversation.read, limit_bytes=OUTPUT_BYTES)
        self._completed: Completed | None = None

    @property
    def is_alive(self) -> bool:
        """True while the process runs, as far as is known here."""
        return self._completed is None and self.conversation.wait(0) is None

    @property
    def output_ended(self) -> bool:
        """True once all output has been read."""
        return self._reader.ended

    @property
    def stderr(self) -> str:
        """The end of what it has printed to standard error so far."""
        if self._completed is not None:
            return self._completed.stderr
        return self.conversation.stderr().decode(errors="replace")

    def send(self, data: str | bytes, *, timeout_sec: float = _SEND_SEC) -> None:
        """Write ``data`` to its standard input.

        Raises:
            CommandTimeout: it does not read; half of ``data`` may have arrived.
            CommandFailed, HostRefused, HostUnreachable: it has ended; see :meth:`failure`.
        """
        raw = data.encode() if isinstance(data, str) else data
        if self._completed is not None:
            raise self.failure()
        try:
            self.conversation.write(raw, timeout_sec=timeout_sec)
        except TimeoutError as error:
            raise self._timeout("did not read its input", timeout_sec) from error
        except (OSError, ValueError) as error:
            raise self.failure() from error

    def close_input(self) -> None:
        """Let it see the end of its input; may be called twice."""
        self.conversation.close_input()

    def next_line(self, *, timeout_sec: float) -> str | None:
        """Return the next line without its end; None after the deadline or at the end of output.

        Raises:
            OutputError: a line is longer than any that a script of ours prints.
        """
        return self._reader.next(timeout_sec=timeout_sec)

    def expect(self, prefix: str, *, timeout_sec: float) -> tuple[list[str], str]:
        """Read lines until one begins with ``prefix``.

        Returns the lines before it, and what stands behind ``prefix`` in it.

        Raises:
            CommandTimeout: no such line came in time; the evidence is what came.
            CommandFailed, HostRefused, HostUnreachable: the output ended before; see
                :meth:`failure`.
            OutputError: more came than is stored.
        """
        deadline = time.monotonic() + timeout_sec
        lines: list[str] = []
        stored = 0
        while (line := self.next_line(timeout_sec=deadline - time.monotonic())) is not None:
            if line.startswith(prefix):
                return lines, line.removeprefix(prefix)
            lines.append(line)
            stored += len(line) + 1
            if stored > OUTPUT_BYTES:
                raise OutputError(
                    f"`{self.command}` on {self.host} prints without an end.",
                    evidence="\n".join(lines[:20]),
                )
        if self.output_ended:
            raise self.failure(lines)
        raise self._timeout(f'did not print "{prefix.strip()}"', timeout_sec, lines)

    def finish(self, *, timeout_sec: float, check: bool = True) -> Completed:
        """Close its input and wait for its end; the output is what was not yet read.

        Raises:
            CommandTimeout: it did not end in time and was killed.
            CommandFailed: its exit code is not zero and ``check`` is set.
            HostRefused, HostUnreachable: it could not run, or the connection to it has ended.
            OutputError: it printed more than is stored.
        """
        if self._completed is None:
            self.close_input()
            deadline = time.monotonic() + timeout_sec
            try:
                output = self._reader.rest(timeout_sec=timeout_sec)
                code = self.conversation.wait(max(0.0, deadline - time.monotonic()))
            except BaseException:
                self.kill()
                raise
            if output is None or code is None:
                error = self._timeout("did not end", timeout_sec)
                self.kill()
                raise error
            self._end(output.decode(errors="replace"), code)
        assert self._completed is not None
        if self.end_check is not None:
            self.end_check(self._completed)
        if check and self._completed.returncode != 0:
            raise CommandFailed(self._completed)
        return self._completed

    def stop(self, *, grace_sec: float = _STOP_SEC) -> Completed:
        """End it: close its input, and kill it where it has not ended after ``grace_sec``.

        Returns how it ended, with the output that was not yet read; it may be called twice.
        """
        if self._completed is None:
            self.close_input()
            deadline = time.monotonic() + grace_sec
            output = None
            with suppress(OutputError):
                output = self._reader.rest(timeout_sec=grace_sec)
            code = self.conversation.wait(max(0.0, deadline - time.monotonic()))
            if code is None:
                return self.kill()
            self._end((output or b"").decode(errors="replace"), code)
        assert self._completed is not None
        return self._completed

    def kill(self) -> Completed:
        """Kill it now; may be called twice."""
        if self._completed is None:
            self.conversation.kill()
            code = self.conversation.wait(_KILL_SEC)
            # A process of root's that a user cannot kill ends by its closed pipes, or never.
            self._end(self._buffered, -9 if code is None else code)
        assert self._completed is not None
        return self._completed

    def failure(self, lines: Sequence[str] = ()) -> HostError:
        """Return the error that its end, or its silence, stands for; it runs no more then.

        HostRefused or HostUnreachable where the way to the host says so, else CommandFailed, with
        ``lines`` as its output and standard error as its evidence.
        """
        if self._completed is None:
            # What closed its output may need a moment to end.
            code = self.conversation.wait(_END_SEC)
            if code is None:
                self.kill()
            else:
                self._end(self._buffered, code)
        ended = self._completed
        assert ended is not None
        output = "\n".join((*lines, ended.stdout)).rstrip("\n")
        ended = Completed(
            ended.argv, ended.returncode, output, ended.stderr, self.host, ended.elapsed_sec
        )
        if self.end_check is not None:
            try:
                self.end_check(ended)
            except HostError as error:
                return error
        return CommandFailed(ended)

    @property
    def command(self) -> str:
        """The argv as a person would type it, for messages only."""
        return shlex.join(self.argv)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _buffered(self) -> str:
        return self._reader.buffered.decode(errors="replace")

    def _end(self, output: str, code: int) -> None:
        # Read after the end, so that nothing is missing.
        self._completed = Completed(
            self.argv,
            code,
            output,
            self.conversation.stderr().decode(errors="replace"),
            self.host,
            time.monotonic() - self._began_sec,
        )
        self.conversation.close()

    def _timeout(self, what: str, timeout_sec: float, lines: Sequence[str] = ()) -> CommandTimeout:
        return CommandTimeout(
            f"`{self.command}` on {self.host} {what} within {timeout_sec:g} s.",
            evidence="\n".join((*lines, self.stderr))[-4000:],
        )


class ProcessPipes:
    """The pipes of a process that was started on this machine; a thread collects its stderr."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin: IO[bytes] = process.stdin
        self._stdout: IO[bytes] = process.stdout
        self._read = read_from(process.stdout)
        os.set_blocking(process.stdin.fileno(), False)
        self._stderr = b""
        self._collected = False
        self._collector = threading.Thread(
            target=self._collect, args=(process.stderr,), name="kvmlab-stderr", daemon=True
        )
        self._collector.start()

    def read(self, timeout_sec: float) -> bytes | None:
        """Return the next bytes of output; see :class:`Conversation`."""
        try:
            return self._read(timeout_sec)
        except ValueError:  # another thread has closed it
            return b""

    def write(self, data: bytes, *, timeout_sec: float) -> None:
        """Write all of ``data``; see :class:`Conversation`."""
        deadline = time.monotonic() + timeout_sec
        poll = select.poll()
        poll.register(self._stdin.fileno(), select.POLLOUT)
        left = memoryview(data)
        while left:
            wait_ms = max(0.0, deadline - time.monotonic()) * 1000
            if not poll.poll(wait_ms):
                raise TimeoutError
            with suppress(BlockingIOError):
                left = left[os.write(self._stdin.fileno(), left) :]

    def close_input(self) -> None:
        """Let the process see the end of its input."""
        # What could not be written any more is not needed any more.
        with suppress(OSError):
            self._stdin.close()

    def wait(self, timeout_sec: float) -> int | None:
        """Return the exit code, or None after the deadline."""
        try:
            code = self._process.wait(timeout_sec) if timeout_sec > 0 else self._process.poll()
        except subprocess.TimeoutExpired:
            return None
        if code is not None and not self._collected:
            # Children that hold the pipe open are not waited for.
            self._collector.join(_END_SEC)
            self._collected = True
        return code

    def kill(self) -> None:
        """Kill the process and what it started."""
        # A process that sudo started is root's: it ends by its closed pipes.
        with suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, 9)
        self.close()

    def stderr(self) -> bytes:
        """Return the end of what was printed to standard error so far."""
        return self._stderr

    def close(self) -> None:
        """Close the pipes; the collector closes its own when the last writer has gone."""
        self.close_input()
        self._stdout.close()

    def _collect(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), 4096):
                self._stderr = (self._stderr + chunk)[-STDERR_BYTES:]
