"""The one runner of processes on this machine: argv in, a frozen result out, a deadline always."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    host: str = "this machine",
    shown_as: Sequence[str] | None = None,
) -> Completed:
    """Run ``argv`` on this machine and wait for it, at most ``timeout_sec`` seconds.

    The locale is C, so that parsers see one language. ``env`` adds to the environment.
    ``shown_as`` replaces the argv in results and messages (a command that travels through ssh
    is shown as the command that was meant).

    Raises:
        CommandFailed: the exit code is not zero and ``check`` is set.
        CommandTimeout: the deadline passed; the process group was killed.
        HostError: the program cannot be started.
    """
    words = tuple(str(word) for word in argv)
    shown = tuple(shown_as) if shown_as is not None else words
    started = time.monotonic()
    try:
        # A group of its own: on a timeout the helpers that the program started die with it, and
        # Ctrl-C reaches the caller first, who decides.
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if input_text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
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
    try:
        out, err = process.communicate(
            input_text.encode() if input_text is not None else None, timeout=timeout_sec
        )
    except BaseException as error:
        _kill_group(process)
        out, err = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise CommandTimeout(
            f"`{shlex.join(shown)}` on {host} did not end within {timeout_sec:g} s and was killed.",
            evidence=_text(err or out)[-4000:],
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


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        process.kill()


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
