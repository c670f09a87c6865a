"""A program inside the VM that runs while the VM migrates, known by its number and start time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kvmlab.hosts import script_text

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

_GUEST_SEC: Final = 120.0


def start_program(vm: TestVM, record: str, argv: Sequence[str]) -> int:
    """Start ``argv`` inside the VM, known by the file ``record``; return the agent's handle.

    Raises:
        AgentTimeout, GuestCommandFailed: the guest agent does not answer, or has no shell.
    """
    return vm.agent.start(_argv("run", record, *argv))


def end_program(vm: TestVM, record: str) -> None:
    """End the program that the file ``record`` knows, unless it has ended by itself.

    Raises:
        AgentTimeout: the guest agent does not answer.
    """
    vm.agent.run(_argv("end", record), timeout_sec=_GUEST_SEC)


def _argv(*words: str) -> tuple[str, ...]:
    name = "guest_program.sh"
    return ("sh", "-c", script_text("kvmlab.migration", name), name, *words)
