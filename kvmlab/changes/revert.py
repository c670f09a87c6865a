"""Reverting: undo steps, last first, and continue where one cannot be undone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from kvmlab.changes import host_steps, vm_steps
from kvmlab.changes.journal import ChangeJournal
from kvmlab.changes.lab_lock import LockedRunner
from kvmlab.changes.migration_undo import Homecoming
from kvmlab.changes.steps import HostStep, Step
from kvmlab.errors import HostBusy, HostError, KvmlabError, RevertFailed, StepFailed

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host


@dataclass(frozen=True)
class UndoFailure:
    """A step that could not be undone, and the error."""

    step: Step
    error: KvmlabError


@dataclass
class UndoReport:
    """The steps that were undone (a step that needed no undo is in neither list), and failures.

    ``losses`` are sentences about what is not as it was, although its step is undone.
    """

    undone: list[Step] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    failures: list[UndoFailure] = field(default_factory=list)


def undo_all(
    steps: Sequence[tuple[int, Step]],
    host: Host,
    vm: TestVM | None,
    journal: ChangeJournal,
    *,
    settle: bool = False,
) -> UndoReport:
    """Undo numbered steps, last first, those of the VM before those of the host.

    ``settle`` says that a command of a step may still run: settings are then read once it has
    ended, since a setting that reads as before may move a moment later.

    A step that was never applied, or is undone already, needs nothing. Steps below a device that
    the VM does not release are left alone: the kernel would wait for the VM without end.
    """
    report = UndoReport()
    last_first = list(reversed(steps))
    for number, step in last_first:
        if isinstance(step, HostStep):
            continue
        try:
            undone = vm_steps.undo(step, host, vm, settle=settle)
        except KvmlabError as error:
            report.failures.append(UndoFailure(step, error))
        else:
            journal.note_undone([number])
            if isinstance(undone, Homecoming):
                report.losses += [undone.loss] if undone.loss else []
                undone = undone.undone
            if undone:
                report.undone.append(step)
    on_host = [(n, s) for n, s in last_first if isinstance(s, HostStep)]
    blocked = [step for _, step in on_host if step.below_device] if report.failures else []
    report.failures += [
        UndoFailure(step, _device_in_use(report.failures[0].error)) for step in blocked
    ]
    free = [(n, s) for n, s in on_host if s not in blocked]
    _undo_on_host(free, host, journal, report, settle=settle)
    return report


def _device_in_use(cause: KvmlabError) -> StepFailed:
    return StepFailed(f"The VM still has the device that depends on it ({cause.message})")


def _undo_on_host(
    steps: Sequence[tuple[int, HostStep]],
    host: Host,
    journal: ChangeJournal,
    report: UndoReport,
    *,
    settle: bool,
) -> None:
    if not steps:
        return
    all_steps = [step for _, step in steps]
    runner = LockedRunner(host)
    try:
        if settle:
            host_steps.await_rest(all_steps, runner)
        before = host_steps.settings_of(all_steps, runner)
        now = host_steps.undo_together(all_steps, runner, before)
    except KvmlabError as error:
        report.failures.extend(UndoFailure(step, error) for step in all_steps)
        return
    for number, step in steps:
        try:
            host_steps.undo(step, runner, now)
        except KvmlabError as error:
            report.failures.append(UndoFailure(step, error))
        else:
            journal.note_undone([number])
            if before[step.setting.path] != step.setting.before:
                report.undone.append(step)


def revert_failed(host: Host, failures: Sequence[UndoFailure]) -> RevertFailed:
    """Return the error that lists every step left over and what to do by hand."""
    left = "\n".join(f"{failure.step.what} - {failure.error.message}" for failure in failures)
    by_hand = "\n".join(text for failure in failures for text in failure.step.undo_text)
    return RevertFailed(
        f"{len(failures)} of the changes on {host.label} could not be put back:\n{left}",
        todo=f"Run `kvmlab restore --host {host.spec}` when the cause is gone, or do by hand on "
        "that host:\n" + by_hand,
        evidence="\n".join(f.error.evidence for f in failures if f.error.evidence),
    )


def lock_lost(host: Host, error: HostError) -> RevertFailed:
    """Return the error for a host whose lock is lost, so that nothing may be undone there."""
    return RevertFailed(
        f"What was changed on {host.label} was not put back: {error.message}",
        todo=f"Run `kvmlab restore --host {host.spec}`, which does nothing where another lab has "
        "put it back already.",
        evidence=error.evidence,
    )


def reverted_elsewhere(host: Host, note: str = "") -> HostBusy:
    """Return the error for a change that another lab, or the host itself, has reverted.

    ``note`` is the host's own, "" where another lab has done it.
    """
    what = (
        f"{host.label} put back what had been changed, {note}."
        if note
        else f"another lab took {host.label} over and put back what had been changed."
    )
    return HostBusy(
        f"This run was silent for so long that {what} Nothing is left to be undone.",
        todo="What was measured in that time was not this scheme: look at the connection, or at "
        "what stopped this process, and run it again.",
    )


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer Ctrl-C, SIGTERM and SIGHUP to the end of the block: no undo stops halfway.

    A terminal that is closed sends SIGHUP, and systemd may send it right after SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM), int(signal.SIGHUP)):
        handlers[number] = signal.signal(number, lambda n, frame: pending.append((n, frame)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if pending:
            signal.raise_signal(pending[0][0])
