"""`kvmlab plan`, `apply`, `define` and `restore`: changes to a host, shown before they are made."""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.lab import Lab
    from kvmlab.schemes import Scheme

app = typer.Typer(add_completion=False)

_out = Console()
_err = Console(stderr=True)
_LOOK_SEC = 0.5

SchemeName = Annotated[
    str,
    typer.Argument(
        metavar="SCHEME",
        help="e1000, e1000e, virtio-qemu, virtio-vhost, macvtap, passthrough or sriov-vf.",
    ),
]
Host = Annotated[
    str,
    typer.Option("--host", help='"embedded", "qemu:///system" or "qemu+ssh://user@host/system".'),
]
DomainName = Annotated[
    str | None,
    typer.Option("--domain", help="libvirt name of the VM; without one the lab's own, kvmlab-vm."),
]
Cable = Annotated[
    str,
    typer.Option(
        "--cable",
        help="The cable under test: PORT,VM-ADDRESS,PEER-ADDRESS[,PEER], PEER being "
        "netns:NAMESPACE/PORT or, for a machine of its own, ssh://USER@MACHINE. "
        "The embedded host has its own.",
    ),
]
Knobs = Annotated[
    list[str] | None,
    typer.Option("-k", "--knob", metavar="NAME=VALUE", help="A parameter of the scheme: vfs=4."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]


@app.command()
def plan(
    scheme: SchemeName,
    host: Host = "embedded",
    domain: DomainName = None,
    cable: Cable = "",
    knob: Knobs = None,
    as_json: AsJson = False,
) -> None:
    """Show what a scheme would change: each step on the host, old → new, and the VM's XML.

    Changes nothing. Ends with 3 where this host cannot do it, with 1 where the guard refuses it.
    """
    from kvmlab.changes.guard import refuse

    wanted = _scheme(scheme, knob)
    with _open(host, domain, cable, allow_changes=host == "embedded") as lab:
        made = lab.plan(wanted)
    if as_json:
        print(json.dumps(made.to_dict(), indent=1, ensure_ascii=False))
    else:
        _show(made)
    refuse(made.refusals)


@app.command()
def apply(
    scheme: SchemeName,
    host: Host = "embedded",
    domain: DomainName = None,
    cable: Cable = "",
    knob: Knobs = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the plan is agreed to.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", help="Put it back after so many seconds.", min=0)
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Apply a scheme, keep it until Enter, Ctrl-C, SIGTERM or the time is over, put it back.

    On a host that is not the embedded one it asks first; without a terminal it needs --yes.
    """
    from kvmlab.changes.guard import refuse

    wanted = _scheme(scheme, knob)
    with _open(host, domain, cable, allow_changes=yes or host == "embedded") as lab:
        made = lab.plan(wanted)
        _show(made)
        if dry_run:
            _err.print("Dry run: nothing was changed.")
            return
        if not lab.host.allows_changes:
            refuse(made.refusals)
            _ask(lab)
        with made.applied(lab.vm) as nic:
            _out.print(
                f"Applied: {nic.label}, {nic.guest_interface} ({nic.mac}) in {lab.vm.name}, "
                f"{nic.vm_address}.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            _wait(seconds)
    _out.print("Everything is put back.")


@app.command()
def define(
    domain: Annotated[
        str, typer.Option("--domain", help="libvirt name of the VM whose definition is changed.")
    ],
    scheme: Annotated[
        str, typer.Argument(metavar="SCHEME", help="As for plan; none with --undo.")
    ] = "",
    host: Host = "embedded",
    cable: Cable = "",
    knob: Knobs = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take out again what kvmlab wrote there.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the diff is agreed to.")] = False,
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
    wanted = None if undo else _scheme(scheme, knob)
    with _open(host, domain, cable, allow_changes=yes or host == "embedded") as lab:
        made = lab.definition(wanted) if wanted is not None else lab.undefinition()
        _out.print(str(made), markup=False, highlight=False, soft_wrap=True)
        if undo and not str(made):
            _out.print(f"Nothing of kvmlab's is in the definition of {domain}.", markup=False)
            return
        if dry_run:
            _err.print("Dry run: nothing was changed.")
            return
        if not lab.host.allows_changes:
            _ask(lab)
        made.write(lab.vm)
    said = "Taken out of" if undo else "Written into"
    _out.print(f"{said} the definition of {domain}.", markup=False, highlight=False)


@app.command()
def restore(host: Host = "embedded", dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Put back what a run that died left on a host; a second time does nothing.

    Ends with 4 where something could not be put back, and says what to do by hand.
    """
    from kvmlab import changes

    with _open(host, None, "", allow_changes=True) as lab:
        if dry_run:
            left = changes.leftovers(lab.host)
            done: Sequence[str] = [one.what for one in left]
            by_hand = [line for one in reversed(left) for line in one.undo]
        else:
            done, by_hand = changes.restore(lab.host), []
    if as_json:
        name = "left" if dry_run else "restored"
        print(json.dumps({name: list(done), "by_hand": by_hand}, indent=1, ensure_ascii=False))
        return
    if dry_run and done:
        _out.print("Left behind, and not yet put back (dry run):")
    for sentence in done:
        _out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for line in by_hand:
        _out.print(f"  would run: {line}", markup=False, highlight=False, soft_wrap=True)
    if not done:
        _out.print("Nothing was left behind.")


def _open(host: str, domain: str | None, cable: str, *, allow_changes: bool) -> Lab:
    from kvmlab.domain import LAB_VM_NAME
    from kvmlab.lab import open_lab

    return open_lab(
        host,
        vm=domain or LAB_VM_NAME,
        wire=cable,
        allow_changes=allow_changes,
        progress=lambda text: _err.print(f"[dim]{escape(text)}[/dim]", highlight=False),
    )


def _scheme(scheme: str, knobs: Sequence[str] | None) -> Scheme:
    """The scheme so named, before any host is asked.

    Raises:
        UsageError: no such scheme or knob.
    """
    from kvmlab.schemes.naming import scheme_named

    values = {}
    for text in knobs or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is no knob.", todo="Write it as NAME=VALUE: -k vfs=4.")
        values[name] = value
    return scheme_named(scheme, values)


def _show(made: Plan) -> None:
    _out.print(str(made), markup=False, highlight=False, soft_wrap=True)


def _ask(lab: Lab) -> None:
    """Ask at the terminal; without one, or with any answer but yes, nothing is allowed."""
    if sys.stdin.isatty():
        lab.host.allows_changes = typer.confirm(f"Make these changes on {lab.host.label}?")
    lab.host.must_allow_changes("this plan")


def _wait(seconds: float | None) -> None:
    """Until Enter is pressed where there is a terminal, or the time is over."""
    typed = sys.stdin.isatty()
    how = "Enter or Ctrl-C" if typed else "Ctrl-C or SIGTERM"
    _err.print(f"{how} puts it back." if seconds is None else f"For {seconds:g} s; {how} sooner.")
    _out.file.flush()
    end = time.monotonic() + seconds if seconds is not None else None
    while end is None or time.monotonic() < end:
        left = _LOOK_SEC if end is None else min(_LOOK_SEC, max(0.0, end - time.monotonic()))
        if typed:
            if select.select([sys.stdin], [], [], left)[0]:
                sys.stdin.readline()
                return
        else:
            time.sleep(left)
