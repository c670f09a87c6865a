"""The undo of a migration: the VM runs at home again, whatever has become of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from kvmlab.changes.migration_calls import (
    awaits_memory,
    destroy,
    end_job,
    find_active,
    find_patiently,
    is_in_post_copy,
    state_of,
)
from kvmlab.changes.migration_step import MigrateVm, MigrationOptions, destination_of, migrate
from kvmlab.changes.post_copy import finish_post_copy
from kvmlab.changes.second_host import FOLDER, repair_second_host
from kvmlab.domain import TestVM
from kvmlab.errors import DomainNotFound
from kvmlab.hosts import Host

_HOME_SEC: Final = 900.0
_REPAIR_SEC: Final = 120.0


@dataclass(frozen=True)
class Homecoming:
    """The way a VM came home: ``undone`` where anything had to be done for it.

    ``loss`` is a sentence where it was started anew; "" where it has all of its memory.
    """

    undone: bool
    loss: str = ""


def bring_home(step: MigrateVm, host: Host) -> Homecoming:
    """Let the step's VM run on ``host`` again, whatever has become of it.

    A migration under way is cancelled; one in post-copy, which cannot be, is led to its end. Of two
    copies, the one that has the state is kept: the destination's where it runs, else the source's.
    Where the destination has lost the VM, or post-copy a part of its memory, it is started anew.

    Raises:
        StepFailed: it runs on neither host and cannot be started, or does not come home.
        HostUnreachable, HostRefused: the destination does not answer, and cannot be repaired.
    """
    try:
        home = find_patiently(host, step.domain)
    except DomainNotFound:
        return Homecoming(undone=False)  # it was transient, and has ended
    if not is_in_post_copy(home):
        end_job(home)
    with _repaired_destination(step, host) as there:
        away = find_active(there, step.domain) if there is not None else None
        if is_in_post_copy(home) or (away is not None and awaits_memory(away)):
            loss = (
                finish_post_copy(home, there, transport=step.transport)
                if there is not None
                else f"{step.destination}, where it had gone on in post-copy, is no more"
            )
            if loss:
                if away is not None:
                    destroy(away)
                destroy(home)
                return _revive(home, loss)
        if there is None or away is None:
            return _revive(home, "it had ended")
        state, state_away = state_of(home), state_of(away)
        if state == "running" and state_away != "running":
            # The destination waited for a migration that has been cancelled.
            destroy(away)
            return Homecoming(undone=True)
        if state == "paused":
            if state_away != "running":
                destroy(away)
                home.resume()
                return Homecoming(undone=True)
            # It arrived, and nobody could tell the source any more.
            destroy(home)
        if state_away == "gone":
            return _revive(home, f"it had ended on {there.label}")
        if state_away == "paused":
            away.resume()
        end_job(away)
        options = MigrationOptions(timeout_sec=_HOME_SEC)
        transport = f"{step.transport}.home" if step.transport else ""
        migrate(away, host, transport=transport, options=options)
    return Homecoming(undone=True)


@contextmanager
def _repaired_destination(step: MigrateVm, host: Host) -> Iterator[Host | None]:
    """Open the destination; None for a second host that is gone altogether."""
    if step.second_host:
        exists = host.run(("test", "-d", FOLDER), timeout_sec=60, check=False, root=True)
        if exists.returncode != 0:
            yield None
            return
        command = repair_second_host()
        host.run(command.argv, timeout_sec=_REPAIR_SEC, input_text=command.input_text, root=True)
    with destination_of(step, host) as there:
        yield there


def _revive(home: TestVM, reason: str) -> Homecoming:
    """Let it run at home: from a pause it goes on, from nothing it begins anew."""
    state = state_of(home)
    if state in ("running", "idle"):
        return Homecoming(undone=False)
    home.start()
    if state == "paused":
        return Homecoming(undone=True)
    return Homecoming(
        undone=True,
        loss=(
            f"{home.name} was started anew on {home.host.label}, without what it had in memory: "
            f"{reason}."
        ),
    )
