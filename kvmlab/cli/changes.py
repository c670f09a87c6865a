"""`kvmlab plan`, `apply`, `define` and `restore`: changes to a host, shown before they are made."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import out, print_json, print_line, print_notice
from kvmlab.cli.parameters import (
    AsJson,
    CableText,
    ConfirmWithin,
    Cut,
    DomainName,
    DryRun,
    HostSpec,
    SchemeId,
    SchemeOptions,
    Yes,
    open_lab,
    scheme_from,
)
from kvmlab.errors import UsageError
from kvmlab.hosts.host import CONFIRM_WITHIN_SEC

if TYPE_CHECKING:
    from kvmlab.lab import Lab

commands = CommandGroup()

_POLL_SEC: Final = 0.5


@commands.command()
def plan(
    scheme: SchemeId,
    host: HostSpec = "embedded",
    domain: DomainName = None,
    cable: CableText = "",
    option: SchemeOptions = None,
    to: Annotated[
        str, typer.Option("--to", help="Only of `plan migrate`: the destination, qemu+ssh://…")
    ] = "",
    cut: Cut = None,
    as_json: AsJson = False,
) -> None:
    """Show what a scheme would change: each step on the host, old → new, and the VM's XML.

    Changes nothing. Ends with 3 where this host cannot do it, with 1 where the guard refuses it.
    `plan migrate` is `migrate --dry-run`: the checks and commands of a live migration.
    """
    from kvmlab.changes.guard import refuse
    from kvmlab.cli.migrate import migrate

    if scheme == "migrate":
        migrate(
            host=host,
            to=to,
            domain=domain,
            cable=cable,
            option=option,
            dry_run=True,
            as_json=as_json,
        )
        return
    if to:
        raise UsageError("--to is for a live migration.", todo="kvmlab plan migrate --to HOST")
    chosen = scheme_from(scheme, option)
    with open_lab(host, domain=domain, cable=cable, cut=cut or ()) as lab:
        proposal = lab.plan(chosen)
    if as_json:
        print_json(proposal.to_dict())
    else:
        print_line(str(proposal))
    refuse(proposal.refusals)


@commands.command()
def apply(
    scheme: SchemeId,
    host: HostSpec = "embedded",
    domain: DomainName = None,
    cable: CableText = "",
    option: SchemeOptions = None,
    yes: Yes = False,
    seconds: Annotated[
        float | None, typer.Option("--for", help="Put it back after so many seconds.", min=0)
    ] = None,
    confirm_within: ConfirmWithin = CONFIRM_WITHIN_SEC,
    cut: Cut = None,
    dry_run: DryRun = False,
) -> None:
    """Apply a scheme, keep it until Enter, Ctrl-C, SIGTERM or the time is over, put it back.

    On a host that is not the embedded one it asks first; without a terminal it needs --yes.
    """
    from kvmlab.changes.guard import refuse

    chosen = scheme_from(scheme, option)
    with open_lab(
        host,
        domain=domain,
        cable=cable,
        allow_changes=yes,
        confirm_within_sec=confirm_within,
        cut=cut or (),
    ) as lab:
        proposal = lab.plan(chosen)
        print_line(str(proposal))
        if dry_run:
            print_notice("Dry run: nothing was changed.")
            return
        if not lab.host.allows_changes:
            refuse(proposal.refusals)
            confirm_changes(lab, "this plan")
        with proposal.applied(lab.vm) as nic:
            print_line(
                f"Applied: {nic.label}, {nic.guest_interface} ({nic.mac}) in {lab.vm.name}, "
                f"{nic.vm_address}."
            )
            _wait(seconds)
    print_line("Everything is put back.")


@commands.command()
def define(
    domain: Annotated[
        str, typer.Option("--domain", help="libvirt name of the VM whose definition is changed.")
    ],
    scheme: Annotated[
        str, typer.Argument(metavar="SCHEME", help="As for plan; none with --undo.")
    ] = "",
    host: HostSpec = "embedded",
    cable: CableText = "",
    option: SchemeOptions = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take out again what kvmlab wrote there.")
    ] = False,
    cut: Cut = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Write a scheme's interface into the persistent definition of a VM, to stay.

    Shows the diff of the definition first, and asks. Nothing of the running VM or of the host is
    changed; `define --undo` takes it out again.
    """
    if bool(scheme) == undo:
        raise UsageError(
            "Give a scheme to define, or --undo.",
            todo="kvmlab define virtio-vhost --domain NAME …; kvmlab define --undo --domain NAME …",
        )
    chosen = None if undo else scheme_from(scheme, option)
    with open_lab(host, domain=domain, cable=cable, allow_changes=yes, cut=cut or ()) as lab:
        edit = lab.definition(chosen) if chosen is not None else lab.undefinition()
        print_line(str(edit))
        if undo and not str(edit):
            print_line(f"Nothing of kvmlab's is in the definition of {domain}.")
            return
        if dry_run:
            print_notice("Dry run: nothing was changed.")
            return
        if not lab.host.allows_changes:
            confirm_changes(lab, "this definition")
        edit.write(lab.vm)
    print_line(f"{'Taken out of' if undo else 'Written into'} the definition of {domain}.")


@commands.command()
def restore(host: HostSpec = "embedded", dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Put back what a run that died left on a host; a second time does nothing.

    Ends with 4 where something could not be put back, and says what to do by hand.
    """
    from kvmlab import changes

    sentences: Sequence[str]
    undo_commands: list[str] = []
    with open_lab(host, allow_changes=True) as lab:
        if dry_run:
            leftovers = changes.leftovers(lab.host)
            sentences = [leftover.what for leftover in leftovers]
            undo_commands = [line for leftover in reversed(leftovers) for line in leftover.commands]
        else:
            sentences = changes.restore(lab.host)
    if as_json:
        key = "left" if dry_run else "restored"
        print_json({key: list(sentences), "would_run": undo_commands})
        return
    if dry_run and sentences:
        print_line("Left behind, and not yet put back (dry run):")
    for sentence in sentences:
        print_line(sentence)
    for command in undo_commands:
        print_line(f"  would run: {command}")
    if not sentences:
        print_line("Nothing was left behind.")


@commands.command()
def unlock(host: HostSpec, yes: Yes = False) -> None:
    """Break the lock of a host: say who has it and since when, then ask.

    For a lab that hangs and cannot be ended where it runs. What it has changed stays journalled:
    run `kvmlab restore` afterwards.
    """
    from kvmlab import changes

    with open_lab(host, allow_changes=True) as lab:
        if not lab.host.is_shared:
            print_line(f"{lab.host.label} has no lock of its own; it belongs to one process.")
            return
        state = changes.read_lab_state(lab.host)
        if not state.holder:
            print_line(f"Nobody has the lock of {lab.host.label}.")
            return
        print_line(f"{state.holder}; its last message came {state.age_sec} s ago.")
        if not yes:
            lab.host.allows_changes = sys.stdin.isatty() and typer.confirm(
                "Break its lock? It may be in the middle of a change."
            )
            lab.host.must_allow_changes("breaking the lock")
        print_line(changes.break_lock(lab.host))
        print_line(f"Undo what it has changed: kvmlab restore --host {host}")


def confirm_changes(lab: Lab, what: str) -> None:
    """Ask at the terminal whether ``what`` may be done to the lab's host.

    Raises:
        Refused: the answer is no, or there is no terminal to ask at.
    """
    if sys.stdin.isatty():
        lab.host.allows_changes = typer.confirm(f"Make these changes on {lab.host.label}?")
    lab.host.must_allow_changes(what)


def _wait(seconds: float | None) -> None:
    """Wait until Enter is pressed, where there is a terminal, or the time is over."""
    interactive = sys.stdin.isatty()
    ways = "Enter or Ctrl-C" if interactive else "Ctrl-C or SIGTERM"
    print_notice(
        f"{ways} puts it back." if seconds is None else f"For {seconds:g} s; {ways} sooner."
    )
    out.file.flush()
    end = time.monotonic() + seconds if seconds is not None else None
    while end is None or time.monotonic() < end:
        pause = _POLL_SEC if end is None else min(_POLL_SEC, max(0.0, end - time.monotonic()))
        if interactive:
            if select.select([sys.stdin], [], [], pause)[0]:
                sys.stdin.readline()
                return
        else:
            time.sleep(pause)
