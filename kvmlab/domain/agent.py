"""Commands inside the test VM, through the QEMU guest agent."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from kvmlab.deadline import until
from kvmlab.domain.agent_protocol import exec_request, read_status, status_request
from kvmlab.errors import AgentTimeout, GuestCommandFailed, LibvirtFailed, OutputError
from kvmlab.hosts import libvirt_client
from kvmlab.process import Completed
from kvmlab.stored_files import parse_json

if TYPE_CHECKING:
    from kvmlab.domain.vm import TestVM

#: The agent answers in milliseconds on a healthy machine, in a second on a crowded emulated one.
_ANSWER_SEC: Final = 20
_PAUSE_SEC: Final = 0.04


class GuestAgent:
    """The guest agent of one running VM: argv in, `Completed` out, always with a deadline."""

    def __init__(self, vm: TestVM) -> None:
        self._vm = vm

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        quiet_sec: float = 0.0,
    ) -> Completed:
        """Run ``argv`` inside the VM and wait for its end, at most ``timeout_sec`` seconds.

        The result's ``host`` is "test VM NAME"; ``elapsed_sec`` is wall time out here. Asking
        whether a command has ended costs the VM some CPU time: ``quiet_sec`` says for how long
        not to ask.

        Raises:
            GuestCommandFailed: exit code other than zero and ``check`` is set, or the program
                cannot be started.
            AgentTimeout: the agent does not answer, or the command did not end in time.
        """
        handle = self.start(argv, input_text=input_text)
        return self.wait(handle, argv, timeout_sec=timeout_sec, check=check, quiet_sec=quiet_sec)

    def start(self, argv: Sequence[str], *, input_text: str | None = None) -> int:
        """Start ``argv`` inside the VM without waiting; returns the agent's handle for `wait`."""
        words = tuple(argv)
        try:
            answer = self.command(exec_request(words, input_text))
        except LibvirtFailed as error:
            failed = Completed(words, 127, "", str(error.message), self._where, 0.0)
            raise GuestCommandFailed(
                failed, todo=f"Look whether `{words[0]}` is installed in {self._where}."
            ) from error
        try:
            return int(answer["pid"])
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise _not_understood(answer) from error

    def wait(
        self,
        handle: int,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        check: bool = True,
        quiet_sec: float = 0.0,
    ) -> Completed:
        """Wait for a command that `start` began. Raises as `run` does."""
        started = time.monotonic()
        status = until(
            lambda: read_status(self.command(status_request(handle))),
            timeout_sec=timeout_sec,
            every_sec=_PAUSE_SEC,
            slowing=1.5,
            quiet_sec=quiet_sec,
            what=f"The end of `{shlex.join(argv)}` inside {self._where}",
            error=AgentTimeout,
            todo="It still runs there; it ends with the VM.",
        )
        elapsed = time.monotonic() - started
        done = Completed(
            tuple(argv), status.returncode, status.stdout, status.stderr, self._where, elapsed
        )
        if check and done.returncode != 0:
            raise GuestCommandFailed(done)
        return done

    def ping(self, *, timeout_sec: float) -> None:
        """Wait until the agent answers.

        Raises:
            AgentTimeout: it did not within ``timeout_sec`` seconds; the evidence is the end of
                the VM's serial console, where it has one in a file.
        """

        def answers() -> bool:
            try:
                self.command({"execute": "guest-ping"}, answer_sec=5)
            except AgentTimeout:
                return False
            return True

        until(
            answers,
            timeout_sec=timeout_sec,
            every_sec=0.1,
            what=f"An answer of the guest agent in {self._where}",
            error=AgentTimeout,
            evidence=self._vm.console_tail,
            todo="Look whether qemu-guest-agent is installed and running in the VM.",
        )

    def command(self, request: dict[str, Any], *, answer_sec: int = _ANSWER_SEC) -> Any:
        """Send one command of the agent's own protocol; returns what stands under "return".

        Raises:
            AgentTimeout: no answer within ``answer_sec`` seconds, or no agent at all.
            LibvirtFailed: the agent answered with an error.
            OutputError: the answer is not JSON.
        """
        import libvirt_qemu

        library = libvirt_client.library()
        silent = {library.VIR_ERR_AGENT_UNRESPONSIVE, library.VIR_ERR_AGENT_UNSYNCED}
        silent.add(getattr(library, "VIR_ERR_AGENT_COMMAND_TIMEOUT", None))
        try:
            answer = libvirt_client.call(
                libvirt_qemu.qemuAgentCommand,
                self._vm.handle,
                json.dumps(request),
                answer_sec,
                0,
                what=f"ask the guest agent of {self._vm.name}",
                host=self._vm.host.label,
            )
        except LibvirtFailed as error:
            if error.code in silent:
                raise AgentTimeout(
                    f"The guest agent of {self._where} did not answer.",
                    todo="Look whether qemu-guest-agent is installed and running in the VM.",
                    evidence=error.message,
                ) from error
            raise
        try:
            return parse_json(answer)["return"]
        except (ValueError, LookupError, TypeError) as error:
            raise _not_understood(answer) from error

    @property
    def _where(self) -> str:
        return f"test VM {self._vm.name}"


def _not_understood(answer: object) -> OutputError:
    return OutputError(
        "The guest agent's answer could not be understood.", evidence=str(answer)[:2000]
    )
