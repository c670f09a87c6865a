"""Commands inside a VM that has no guest agent, by ssh to an address of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from kvmlab.domain.agent import GuestAgent
from kvmlab.errors import (
    AgentTimeout,
    CommandTimeout,
    GuestCommandFailed,
    HostError,
    HostUnreachable,
    Unavailable,
)
from kvmlab.hosts import RemoteProcess, SshRunner, SshTarget
from kvmlab.process import Completed

if TYPE_CHECKING:
    from kvmlab.domain.vm import TestVM

_CONNECT_SEC: Final = 10.0


class SshGuest(GuestAgent):
    """Substitute for the guest agent: the same commands, through one ssh connection.

    The connection goes to another interface of the VM than the one under test, from the machine on
    which kvmlab runs, as ``~/.ssh/config`` says, and logs in as root.
    """

    def __init__(self, vm: TestVM, target: SshTarget) -> None:
        super().__init__(vm)
        self._target = target
        self._runner: SshRunner | None = None
        self._running: dict[int, RemoteProcess] = {}
        self._numbers = itertools.count(1)

    def start(self, argv: Sequence[str], *, input_text: str | None = None) -> int:
        """Start ``argv`` inside the VM without waiting; returns a handle for `wait`."""
        try:
            process = self._connected().spawn(argv)
            if input_text is not None:
                process.send(input_text)
            process.close_input()
        except HostError as error:
            raise self._silent(error) from error
        handle = next(self._numbers)
        self._running[handle] = process
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
        process = self._running.pop(handle)
        try:
            ended = process.finish(timeout_sec=timeout_sec, check=False)
        except CommandTimeout as error:
            raise AgentTimeout(
                f"`{' '.join(argv)}` inside {self._where} did not end within {timeout_sec:g} s.",
                todo="It may still run there; it ends with the VM.",
            ) from error
        except HostUnreachable as error:
            raise self._silent(error) from error
        done = replace(ended, argv=tuple(argv), host=self._where)
        if check and done.returncode != 0:
            raise GuestCommandFailed(done)
        return done

    def ping(self, *, timeout_sec: float) -> None:
        """Wait until the VM accepts the login.

        Raises:
            AgentTimeout: it did not.
        """
        self.run(("true",), timeout_sec=timeout_sec)

    def command(self, request: dict[str, Any], *, answer_sec: int = 0) -> Any:
        """Raise: there is no agent.

        Raises:
            Unavailable: always.
        """
        raise Unavailable(
            f"{self._where} is reached by ssh and has no guest agent: {request['execute']!r} "
            "cannot be asked.",
            todo="Install qemu-guest-agent in the VM.",
        )

    def close(self) -> None:
        """End the connection; may be called twice."""
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
