"""The program on the host that watches one trial: it stands by before the client starts.

While packets flow nobody asks it anything, and kvmlab starts no command on the host: where there is
one CPU, each would be time that the traffic has not.
"""

from __future__ import annotations

import subprocess
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from kvmlab.errors import CommandFailed, CommandTimeout, HostUnreachable
from kvmlab.process import Completed, Lines

if TYPE_CHECKING:
    from kvmlab.hosts import Runner

_SSH_FAILED: Final = 255


class Watching:
    """A script on the host, such as ``meters.sh watch``, from its standing by to what it tells."""

    def __init__(
        self,
        runner: Runner,
        args: tuple[str, ...],
        *,
        ready_sec: float,
        script: str = "meters.sh",
    ) -> None:
        """Start it and wait until it stands by, at most ``ready_sec`` seconds of our own.

        Raises:
            CommandFailed: it does not stand by; its output says why.
            HostRefused, HostUnreachable, HostError: it cannot be started.
        """
        self._argv = ("sh", "-s", "--", *args)
        self._script = script
        self._where = runner.name
        self._began_sec = time.monotonic()
        self._process = runner.start(self._argv, root=True)
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout)
        said: list[str] = []
        try:
            if not self._stands_by(said, ready_sec):
                raise self._failed(said)
        except BaseException:
            self.end()
            raise

    def _stands_by(self, said: list[str], ready_sec: float) -> bool:
        assert self._process.stdin is not None
        script = files("kvmlab.measure").joinpath("scripts", self._script)
        try:
            self._process.stdin.write(script.read_bytes())
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        while (line := self._lines.next(timeout_sec=ready_sec)) is not None:
            said.append(line)
            if line.startswith("=== "):
                return line == "=== ready"
        return False

    def _failed(self, said: list[str]) -> CommandFailed:
        try:
            out, err = self._process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
        return CommandFailed(self._completed("\n".join((*said, _text(out))), _text(err)))

    def _completed(self, out: str, err: str) -> Completed:
        elapsed_sec = time.monotonic() - self._began_sec
        return Completed(self._argv, self._process.returncode, out, err, self._where, elapsed_sec)

    def told(self, *, timeout_sec: float) -> str:
        """What it printed at its end, waited for.

        Raises:
            CommandTimeout: it did not end in time.
            HostUnreachable: the connection to it has ended.
            CommandFailed: it broke off.
        """
        try:
            out, err = map(_text, self._process.communicate(timeout=timeout_sec))
        except subprocess.TimeoutExpired as error:
            self.end()
            raise CommandTimeout(
                f"What watches the traffic on {self._where} did not end within {timeout_sec:g} s."
            ) from error
        if self._process.returncode == _SSH_FAILED:
            raise HostUnreachable(f"{self._where} went away during a trial.", evidence=err)
        if self._process.returncode != 0:
            raise CommandFailed(self._completed(out, err))
        return _text(self._lines.unread) + out

    def end(self) -> None:
        """End the connection to it, if it is there; a second call does nothing."""
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.kill()
            self._process.communicate()


def _text(printed: bytes) -> str:
    return printed.decode(errors="replace")
