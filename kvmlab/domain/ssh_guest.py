"""Commands inside a VM that has no guest agent, by ssh to an address of its own."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from kvmlab.domain.agent import GuestAgent
from kvmlab.errors import AgentTimeout, GuestCommandFailed, HostError, Unavailable
from kvmlab.hosts import SshRunner, SshTarget
from kvmlab.process import Completed

if TYPE_CHECKING:
    from kvmlab.domain.vm import TestVM

_CONNECT_SEC: Final = 10.0


class SshGuest(GuestAgent):
    """In the place of the guest agent: the same commands, through one ssh connection.

    The connection goes to another interface of the VM than the one under test, from the machine on
    which kvmlab runs, as ``~/.ssh/config`` says, and logs in as root.
    """

    def __init__(self, vm: TestVM, target: SshTarget) -> None:
        super().__init__(vm)
        self._target = target
        self._runner: SshRunner | None = None
        self._running: dict[int, tuple[subprocess.Popen[bytes], str | None]] = {}
        self._numbers = itertools.count(1)

    def start(self, argv: Sequence[str], *, input_text: str | None = None) -> int:
        """Start ``argv`` inside the VM without waiting; returns a handle for `wait`."""
        try:
            process = self._connected().start(argv)
        except HostError as error:
            raise self._silent(error) from error
        handle = next(self._numbers)
        self._running[handle] = (process, input_text)
        return handle

    def wait(
        self,
        handle: int,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        check: bool = True,
        quiet_sec: float = 0.0,
    ) -> Completed:
        """Wait for a command that `start` began; see `GuestAgent.wait`."""
        process, text = self._running.pop(handle)
        begun = time.monotonic()
        given = text.encode() if text is not None else None
        try:
            out, err = process.communicate(given, timeout=timeout_sec)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            # Not read to their end: the shared connection holds them until the command ends.
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            raise AgentTimeout(
                f"`{' '.join(argv)}` inside {self._where} did not end within {timeout_sec:g} s.",
                todo="It may still run there; it ends with the VM.",
            ) from error
        done = Completed(
            argv=tuple(argv),
            returncode=process.returncode,
            stdout=out.decode(errors="replace"),
            stderr=err.decode(errors="replace"),
            host=self._where,
            elapsed_sec=time.monotonic() - begun,
        )
        if check and done.returncode != 0:
            raise GuestCommandFailed(done)
        return done

    def ping(self, *, timeout_sec: float) -> None:
        """Wait until the VM lets us in.

        Raises:
            AgentTimeout: it did not.
        """
        self.run(("true",), timeout_sec=timeout_sec)

    def command(self, request: dict[str, Any], *, answer_sec: int = 0) -> Any:
        """The agent's own protocol is not spoken here.

        Raises:
            Unavailable: always.
        """
        raise Unavailable(
            f"{self._where} is reached by ssh and has no guest agent: {request['execute']!r} "
            "cannot be asked.",
            todo="Install qemu-guest-agent in the VM.",
        )

    def close(self) -> None:
        """End the connection. Twice is no error."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> SshRunner:
        if self._runner is None:
            self._runner = SshRunner(self._target, name=self._where, deadline_sec=_CONNECT_SEC)
        return self._runner

    def _silent(self, error: HostError) -> AgentTimeout:
        self.close()
        return AgentTimeout(
            f"{self._where} cannot be reached by ssh. {error.message}",
            todo=error.todo,
            evidence=error.evidence,
        )
