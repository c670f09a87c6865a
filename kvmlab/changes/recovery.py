"""After a crash: what was left behind, and putting it back from the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvmlab.changes.journal import Journal, adopt, alive_here, dead_journals
from kvmlab.changes.keeper import FOLDER, OnHost, read_on_host
from kvmlab.changes.lock import is_locked, keeper_of, locked
from kvmlab.changes.record import Record, parse_journal, read_journal, read_text
from kvmlab.changes.undoing import NotUndone, revert_failed, undo_all, uninterrupted
from kvmlab.errors import OutputError, Refused
from kvmlab.hosts import HostKind, read_tree

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
    there = read_on_host(host) if host.is_shared else OnHost("", {})
    found: list[Leftover] = []
    for path, text in _dead(host, there):
        try:
            found += _told(host, parse_journal(path, text), there.boot)
        except OutputError as error:
            found.append(Leftover("", f"{error.message} {error.todo}", path))
    if not found and not there.holder and not is_locked(host):
        addresses = read_tree(host.runner, "/sys/class/net/kvmlab*/address")
        found += [
            Leftover("", f"The bridge {path.split('/')[4]} was made by a kvmlab.", None)
            for path, mac in addresses.items()
            if mac.startswith(BRIDGE_MAC_PREFIX)
        ]
    return tuple(found)


def open_records(host: Host) -> list[Record]:
    """The journals, here and on the host, of runs that died and have something to be undone.

    Raises:
        OutputError: one of them cannot be read by this version.
    """
    there = read_on_host(host) if host.is_shared else OnHost("", {})
    records = [parse_journal(path, text).since(there.boot) for path, text in _dead(host, there)]
    return [record for record in records if record.open_steps]


def _dead(host: Host, there: OnHost) -> Iterator[tuple[Path, str]]:
    """The journals of runs that died, here first, and their texts."""
    known: set[str] = set()
    for path in dead_journals(host):
        known.add(path.name)
        # What another machine has put back from the host's copy is nobody's any more: what reads
        # as this run made it, was made by somebody else since.
        if path.name not in there.undone:
            yield path, read_text(path)
    if there.holder and keeper_of(host) is None:
        return  # whoever holds the host is at work
    for name, text in sorted(there.journals.items()):
        if name not in {*known, *there.undone} and not alive_here(host, name):
            yield Path(FOLDER, "journal", name), text


def _told(host: Host, record: Record, boot: str) -> Iterator[Leftover]:
    still_open = record.since(boot).open_steps
    for _, step in still_open:
        yield Leftover(record.scheme, step.what, record.path, step.undo_text)
    if len(still_open) < len(record.open_steps):
        yield Leftover(record.scheme, _ended_with_its_boot(host, record), record.path)


def _ended_with_its_boot(host: Host, record: Record) -> str:
    return (
        f"{host.label} was started anew since {record.scheme} was applied ({record.at}): what that "
        "had changed on the host ended with it."
    )


def restore(host: Host) -> tuple[str, ...]:
    """Put back what runs that died left on ``host``; returns one sentence for each thing done.

    Can be repeated: with nothing left it does nothing and returns nothing. The host's own copies
    of journals count as well, so a run that died on another machine is put back too.

    Raises:
        HostBusy: a run that is alive holds the host.
        OutputError: a journal is damaged, or of a newer kvmlab; what is older is left as it is.
        RevertFailed: something could not be put back; the message says what to do by hand.
    """
    done: list[str] = []
    failed: list[NotUndone] = []
    with locked(host, purpose="restore"), uninterrupted():
        there = read_on_host(host) if host.is_shared else OnHost("", {})
        adopt(host, there)
        # The newest first: what was changed last is put back first.
        for path in reversed(dead_journals(host)):
            journal = Journal.resume(path, host)
            if journal is not None:
                _restore_one(host, journal, there, done, failed)
    if failed:
        raise revert_failed(host, failed)
    return tuple(done)


def settle_leftovers(host: Host) -> bool:
    """See that no run that died left something behind, before anything else is changed.

    True where something was put back.

    The embedded host is nobody else's, and is brought back to its clean state after a run that
    died: its journal is then all that is left, and nobody need be asked.

    Raises:
        Refused: something was left behind.
        OutputError: a journal is damaged, or of a newer kvmlab.
    """
    if host.kind is HostKind.EMBEDDED:
        return bool(restore(host))
    for record in open_records(host):
        raise Refused(
            f"A run that died on {host.label} ({record.scheme}, process {record.pid}, "
            f"{record.at}) left changes behind.",
            rule="leftovers",
            todo=f"Put them back first: `kvmlab restore --host {host.spec}`.",
        )
    return False


def _restore_one(
    host: Host, journal: Journal, there: OnHost, done: list[str], failed: list[NotUndone]
) -> None:
    if journal.path.name in there.undone:
        journal.finish()
        return
    try:
        record = read_journal(journal.path)
    except OutputError:
        # What is older lies below it: nobody here can say in which order to undo that.
        journal.abandon()
        raise
    still_open = record.since(there.boot).open_steps
    result = undo_all(still_open, host, None, journal)
    done += [f"Undone ({record.scheme}): {step.what}" for step in result.undone]
    if len(still_open) < len(record.open_steps):
        done.append(_ended_with_its_boot(host, record))
    failed += result.failed
    if result.failed:
        journal.abandon()
    else:
        journal.finish()
