"""After a crash: what was left behind, and putting it back from the journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvmlab.changes.journal import (
    Journal,
    Record,
    adopt,
    alive_here,
    dead_journals,
    parse_journal,
    read_journal,
)
from kvmlab.changes.keeper import FOLDER, OnHost, read_on_host
from kvmlab.changes.lock import is_locked, keeper_of, locked
from kvmlab.changes.undoing import NotUndone, revert_failed, undo_all, uninterrupted
from kvmlab.hosts import read_tree

if TYPE_CHECKING:
    from kvmlab.hosts import Host

#: The first three bytes of the MAC of every bridge that kvmlab makes (locally administered).
BRIDGE_MAC_PREFIX: Final = "02:6b:76"


@dataclass(frozen=True)
class Leftover:
    """Something a run that died left on a host."""

    scheme: str
    what: str
    """The sentence of the step that was not undone."""
    journal: Path | None
    """The journal that can put it back; None where a trace was found without one."""
    undo: tuple[str, ...] = ()
    """The commands that put it back, as a person would type them on the host."""


def leftovers(host: Host) -> tuple[Leftover, ...]:
    """What earlier runs left on ``host``: open journals, and traces on the host without one.

    Reads only. The changes of a run that is alive are not leftovers.
    """
    records = [read_journal(path) for path in dead_journals(host)]
    there = read_on_host(host) if host.is_shared else OnHost("", {})
    records += _left_there(host, there, {record.path.name for record in records})
    found = [
        Leftover(record.scheme, step.what, record.path, step.undo_text)
        for record in records
        for _, step in record.open_steps
    ]
    if not found and not there.holder and not is_locked(host):
        addresses = read_tree(host.runner, "/sys/class/net/kvmlab*/address")
        found += [
            Leftover("", f"The bridge {path.split('/')[4]} was made by a kvmlab.", None)
            for path, mac in addresses.items()
            if mac.startswith(BRIDGE_MAC_PREFIX)
        ]
    return tuple(found)


def left_on_host(host: Host, known: set[str]) -> list[Record]:
    """The host's own journals of runs that died, but for those whose names are ``known``."""
    if not host.is_shared:
        return []
    return _left_there(host, read_on_host(host), known)


def _left_there(host: Host, there: OnHost, known: set[str]) -> list[Record]:
    if there.holder and keeper_of(host) is None:
        return []  # whoever holds the host is at work
    return [
        parse_journal(Path(FOLDER, "journal", name), text)
        for name, text in sorted(there.journals.items())
        if name not in known and not alive_here(host, name)
    ]


def restore(host: Host) -> tuple[str, ...]:
    """Put back what runs that died left on ``host``; returns one sentence for each thing done.

    Can be repeated: with nothing left it does nothing and returns nothing. The host's own copies
    of journals count as well, so a run that died on another machine is put back too.

    Raises:
        HostBusy: a run that is alive holds the host.
        RevertFailed: something could not be put back; the message says what to do by hand.
    """
    done: list[str] = []
    failed: list[NotUndone] = []
    with locked(host, purpose="restore"), uninterrupted():
        if host.is_shared:
            adopt(host, read_on_host(host))
        # The newest first: what was changed last is put back first.
        for path in reversed(dead_journals(host)):
            journal = Journal.resume(path, host)
            if journal is None:
                continue
            record = read_journal(path)
            result = undo_all(record.open_steps, host, None, journal)
            done += [f"Undone ({record.scheme}): {step.what}" for step in result.undone]
            failed += result.failed
            if result.failed:
                journal.abandon()
            else:
                journal.finish()
    if failed:
        raise revert_failed(host, failed)
    return tuple(done)
