"""Undoing what was made, last first, and going on where something cannot be undone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from kvmlab.changes import host_steps
from kvmlab.changes.define_step import DefineInterface, undefine_interface
from kvmlab.changes.journal import Journal
from kvmlab.changes.lock import HoldingRunner
from kvmlab.changes.steps import AttachInterface, HostStep, Step
from kvmlab.domain import TestVM
from kvmlab.errors import (
    DomainNotFound,
    HostBusy,
    HostError,
    HostUnreachable,
    KvmlabError,
    RevertFailed,
    StepFailed,
)

if TYPE_CHECKING:
    from kvmlab.hosts import Host


@dataclass(frozen=True)
class NotUndone:
    """A step that could not be undone, and why."""

    step: Step
    error: KvmlabError


@dataclass
class Undoing:
    """What came of undoing: the steps that had to be and were undone, and those left."""

    undone: list[Step] = field(default_factory=list)
    failed: list[NotUndone] = field(default_factory=list)


def undo_all(
    steps: Sequence[tuple[int, Step]], host: Host, vm: TestVM | None, journal: Journal
) -> Undoing:
    """Undo the steps, last first, those of the VM before those of the host.

    A step that was never made, or is undone already, needs nothing. What is below a device that
    the VM would not let go is left alone: the kernel would wait for the VM, for ever.
    """
    result = Undoing()
    last_first = list(reversed(steps))
    for number, step in last_first:
        if isinstance(step, HostStep):
            continue
        try:
            needed = _take_out(step, host, vm)
        except KvmlabError as error:
            result.failed.append(NotUndone(step, error))
        else:
            journal.undone([number])
            if needed:
                result.undone.append(step)
    on_host = [(n, s) for n, s in last_first if isinstance(s, HostStep)]
    held = [step for _, step in on_host if step.below_device] if result.failed else []
    result.failed += [NotUndone(step, _still_held(result.failed[0].error)) for step in held]
    _undo_host([(n, s) for n, s in on_host if s not in held], host, journal, result)
    return result


def _still_held(cause: KvmlabError) -> StepFailed:
    return StepFailed(f"The VM still has the device that stands on it ({cause.message})")


def _undo_host(
    steps: Sequence[tuple[int, HostStep]], host: Host, journal: Journal, result: Undoing
) -> None:
    if not steps:
        return
    every = [step for _, step in steps]
    runner = HoldingRunner(host)
    try:
        found = host_steps.settings_of(every, runner)
        now = host_steps.undo_together(every, runner, found)
    except KvmlabError as error:
        result.failed.extend(NotUndone(step, error) for step in every)
        return
    for number, step in steps:
        try:
            host_steps.undo(step, runner, now)
        except KvmlabError as error:
            result.failed.append(NotUndone(step, error))
        else:
            journal.undone([number])
            if found[step.setting.path] != step.setting.before:
                result.undone.append(step)


def _take_out(step: Step, host: Host, vm: TestVM | None) -> bool:
    """Undo a step of the VM; False where there was nothing to undo."""
    if isinstance(step, DefineInterface):
        return undefine_interface(step, host, vm)
    return isinstance(step, AttachInterface) and _detach(step, host, vm)


def _detach(step: AttachInterface, host: Host, vm: TestVM | None) -> bool:
    """Take the interface out; False where it was not there."""
    try:
        machine = vm if vm is not None else TestVM.find(host, step.domain)
    except DomainNotFound:
        return False  # a transient domain that ended took its interface along
    try:
        return machine.detach(step.alias)
    except HostUnreachable:
        # libvirt's daemon may have been started anew; the host opens a new connection to it.
        return TestVM.find(host, step.domain).detach(step.alias)


def revert_failed(host: Host, failed: Sequence[NotUndone]) -> RevertFailed:
    """The error that names everything that is left and says what to do by hand."""
    left = "\n".join(f"{item.step.what} - {item.error.message}" for item in failed)
    by_hand = "\n".join(text for item in failed for text in item.step.undo_text)
    return RevertFailed(
        f"{len(failed)} of the changes on {host.label} could not be put back:\n{left}",
        todo=f"Run `kvmlab restore --host {host.spec}` when the cause is gone, or do by hand on "
        "that host:\n" + by_hand,
        evidence="\n".join(item.error.evidence for item in failed if item.error.evidence),
    )


def lost_hold(host: Host, error: HostError) -> RevertFailed:
    """The error where the host cannot be held any more, so that nothing may be put back there."""
    return RevertFailed(
        f"What was changed on {host.label} was not put back: {error.message}",
        todo=f"Run `kvmlab restore --host {host.spec}`, which does nothing where another lab has "
        "put it back already.",
        evidence=error.evidence,
    )


def taken_over(host: Host) -> HostBusy:
    """The error where nothing is left to be put back, and a user has to know since when."""
    return HostBusy(
        f"For so long nothing was heard of this run that another lab took {host.label} over, and "
        "put back what had been changed. Nothing is left to be undone.",
        todo="What was measured in that time was not this scheme: look at the connection, or at "
        "what stopped this process, and run it again.",
    )


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C, SIGTERM and SIGHUP off until the block has ended: no undo stops halfway.

    A terminal that is closed sends SIGHUP, and systemd may send it right after SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM), int(signal.SIGHUP)):
        before[number] = signal.signal(number, lambda n, frame: pending.append((n, frame)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if pending:
            signal.raise_signal(pending[0][0])
