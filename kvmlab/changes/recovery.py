"""Recovery after a crash: the leftovers of dead runs, and their undo from the journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvmlab.changes.host_lock import FOLDER, LabState, read_lab_state
from kvmlab.changes.journal import ChangeJournal, DeadJournal, dead_journals
from kvmlab.changes.journal_format import JournalContent, merge_journals
from kvmlab.changes.lab_lock import host_lock_of, is_locked, locked
from kvmlab.changes.revert import UndoFailure, revert_failed, signals_deferred, undo_all
from kvmlab.changes.steps import HostStep, Step
from kvmlab.errors import ChangeError, OutputError, Refused
from kvmlab.hosts import HostKind, read_tree

if TYPE_CHECKING:
    from kvmlab.hosts import Host

#: The first three bytes of the MAC of every bridge that kvmlab makes (locally administered).
BRIDGE_MAC_PREFIX: Final = "02:6b:76"


@dataclass(frozen=True)
class Leftover:
    """Something that a dead run left on a host."""

    scheme: str
    what: str
    """The sentence of the step that is not undone."""
    journal: Path | None
    """The journal to undo it from; None for a trace without one."""
    undo: tuple[str, ...] = ()
    """The commands that undo it, as a person would type them on the host."""
    commands: tuple[str, ...] = ()
    """The argv of each command that `restore` would run, in order."""


def leftovers(host: Host) -> tuple[Leftover, ...]:
    """Return what dead runs left on ``host``: open journals, and traces without a journal.

    Reads only. The changes of a live run are not leftovers.
    """
    state = _lab_state(host)
    left: list[Leftover] = []
    for journal in _dead(host, state):
        try:
            left += _leftovers_of(host, journal, _content_of(host, journal, state), state)
        except (OutputError, Refused) as error:
            left.append(Leftover("", f"{error.message} {error.todo}", journal.shown_path))
    if not state.holder:
        left += [
            Leftover(
                "",
                f"A change of a dead run is journalled on {host.label}, where only root may read "
                f"it: {FOLDER}/journal/{name}.",
                Path(FOLDER, "journal", name),
            )
            for name in state.unreadable
        ]
    if not left and not state.holder and not is_locked(host):
        addresses = read_tree(host.runner, "/sys/class/net/kvmlab*/address")
        left += [
            Leftover("", f"The bridge {path.split('/')[4]} was made by a kvmlab.", None)
            for path, mac in addresses.items()
            if mac.startswith(BRIDGE_MAC_PREFIX)
        ]
    return tuple(left)


def open_journals(host: Host) -> list[JournalContent]:
    """Return the journals of dead runs, here and on the host, that have steps to undo.

    Raises:
        OutputError: one of them is damaged, or cannot be read by this version.
        Refused: one of them was written for another machine.
    """
    state = _lab_state(host)
    contents = [
        _content_of(host, journal, state).since(state.identity.boot)
        for journal in _dead(host, state)
    ]
    return [content for content in contents if content.open_steps]


def _lab_state(host: Host) -> LabState:
    return read_lab_state(host) if host.is_shared else LabState()


def _dead(host: Host, state: LabState) -> tuple[DeadJournal, ...]:
    """Return the journals of dead runs that nobody has undone."""
    # While another lab has the lock, the host's journals are those of live runs.
    on_host = None if state.holder and host_lock_of(host) is None else state
    # Another machine may have undone a journal from the host's copy. A setting that reads as its
    # run left it was then changed by somebody else since.
    return tuple(j for j in dead_journals(host, on_host) if j.name not in state.undone)


def _content_of(host: Host, journal: DeadJournal, state: LabState) -> JournalContent:
    """Parse a journal, and check that it was written for this host.

    Raises:
        OutputError: no copy of it is whole.
        Refused: it was written for another machine.
    """
    content = merge_journals(journal.name, journal.copies)
    opening = content.opening
    if opening is None or not content.open_steps:
        return content
    if host.is_shared and not opening.boot:
        raise OutputError(
            f"{journal.shown_path} does not say in which boot of {host.label} it was written.",
            todo="Undo by hand what it lists, then remove it.",
        )
    if opening.machine != state.identity.machine or (
        # The same host may have another name for the machine that wrote the host's copy.
        journal.path is not None and opening.host != host.spec
    ):
        raise Refused(
            f"{journal.shown_path} lists changes of {opening.host}, and {host.label} is another "
            "machine: installed anew, or another one under that name. None of them is undone "
            "here.",
            rule="leftovers",
            todo="Restore the machine that was changed. If it is no more, nothing of it is left: "
            "remove that file.",
        )
    return content


def _leftovers_of(
    host: Host, journal: DeadJournal, content: JournalContent, state: LabState
) -> list[Leftover]:
    still_open = content.since(state.identity.boot).open_steps
    left = [
        Leftover(
            content.scheme, step.what, journal.shown_path, step.undo_text, _undo_commands(step)
        )
        for _, step in still_open
    ]
    if len(still_open) < len(content.open_steps):
        left.append(
            Leftover(content.scheme, _ended_with_its_boot(host, content), journal.shown_path)
        )
    return left


def _undo_commands(step: Step) -> tuple[str, ...]:
    if isinstance(step, HostStep):
        return tuple(command.exact for command in step.undo)
    return tuple(f"libvirt: {text}" for text in step.undo_text)


def _ended_with_its_boot(host: Host, content: JournalContent) -> str:
    return (
        f"{host.label} was started anew since {content.scheme} was applied ({content.at}): its "
        "changes of the host ended with that."
    )


def restore(host: Host) -> tuple[str, ...]:
    """Undo what dead runs left on ``host``; return a sentence for each step that was undone.

    Can be repeated: with nothing left it does nothing and returns nothing. The host's own copies
    of journals count as well, so a run that died on another machine is undone too.

    Raises:
        HostBusy: a live run has the host's lock.
        OutputError: a journal is damaged, or of a newer kvmlab; older journals stay as they are.
        Refused: a journal was written for another machine; nothing of it is run.
        RevertFailed: something could not be undone; the message says what to do by hand.
    """
    done: list[str] = []
    failures: list[UndoFailure] = []
    with locked(host, purpose="restore"), signals_deferred():
        state = _lab_state(host)
        # The newest first: the last change is undone first.
        for dead in reversed(dead_journals(host, state)):
            journal = ChangeJournal.resume(dead, host)
            if journal is not None:
                _restore_journal(host, dead, journal, state, done, failures)
    if failures:
        raise revert_failed(host, failures)
    return tuple(done)


def settle_leftovers(host: Host) -> bool:
    """Require that no dead run left something behind; return whether something was undone.

    The embedded host belongs to nobody else, so leftovers there are undone without asking.

    Raises:
        Refused: something was left behind.
        OutputError: a journal is damaged, or of a newer kvmlab.
    """
    if host.kind is HostKind.EMBEDDED:
        return bool(restore(host))
    for content in open_journals(host):
        assert content.opening is not None
        raise Refused(
            f"A run that died on {host.label} ({content.scheme}, process {content.opening.pid}, "
            f"{content.at}) left changes behind.",
            rule="leftovers",
            todo=f"Put them back first: `kvmlab restore --host {host.spec}`.",
        )
    return False


def _restore_journal(
    host: Host,
    dead: DeadJournal,
    journal: ChangeJournal,
    state: LabState,
    done: list[str],
    failures: list[UndoFailure],
) -> None:
    if dead.name in state.undone:
        journal.finish()
        return
    try:
        content = _content_of(host, dead, state)
    except (ChangeError, OutputError):
        # Older changes lie below it: the order in which to undo them is unknown.
        journal.abandon()
        raise
    still_open = content.since(state.identity.boot).open_steps
    # The run may have died while a command of its ran, which goes on without it.
    report = undo_all(still_open, host, None, journal, settle=True)
    done += [f"Undone ({content.scheme}): {step.what}" for step in report.undone]
    done += report.losses
    if len(still_open) < len(content.open_steps):
        done.append(_ended_with_its_boot(host, content))
    failures += report.failures
    if report.failures:
        journal.abandon()
    else:
        journal.finish()
