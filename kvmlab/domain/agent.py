"""Commands inside the test VM, through the QEMU guest agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvmlab.process import Completed

if TYPE_CHECKING:
    from kvmlab.domain.vm import TestVM


class GuestAgent:
    """The guest agent of one running VM: argv in, `Completed` out, a deadline always."""

    def __init__(self, vm: TestVM) -> None:
        self._vm = vm

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
    ) -> Completed:
        """Run ``argv`` inside the VM and wait for its end, at most ``timeout_sec`` seconds.

        The result's ``host`` is "test VM NAME"; ``elapsed_sec`` is wall time out here.

        Raises:
            GuestCommandFailed: exit code other than zero and ``check`` is set.
            AgentTimeout: the agent does not answer, or the command did not end in time.
        """
        raise NotImplementedError

    def start(self, argv: Sequence[str]) -> int:
        """Start ``argv`` inside the VM without waiting; returns the agent's handle for `wait`."""
        raise NotImplementedError

    def wait(
        self, handle: int, argv: Sequence[str], *, timeout_sec: float, check: bool = True
    ) -> Completed:
        """Wait for a command that `start` began. Raises as `run` does."""
        raise NotImplementedError

    def ping(self, *, timeout_sec: float) -> None:
        """Wait until the agent answers.

        Raises:
            AgentTimeout: it did not within ``timeout_sec`` seconds.
        """
        raise NotImplementedError
