"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvmlab.cli.output import print_progress
from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from kvmlab.lab import Lab
    from kvmlab.schemes import Scheme


HostSpec = Annotated[
    str,
    typer.Option("--host", help='"embedded", "qemu:///system" or "qemu+ssh://user@host/system".'),
]
SchemeId = Annotated[
    str,
    typer.Argument(
        metavar="SCHEME",
        help="Its id: e1000, e1000e, virtio-qemu, virtio-vhost, virtio-vhost-q4, macvtap, "
        "macvtap-e1000, macvtap-qemu, passthrough or sriov-vf; with tunings: "
        "virtio-vhost+rx-ring=256.",
    ),
]
SchemeOptions = Annotated[
    list[str] | None,
    typer.Option(
        "-k",
        "--option",
        metavar="NAME=VALUE",
        help="An option of the scheme, vfs=4, or a tuning: rx-ring=256.",
    ),
]
DomainName = Annotated[
    str | None,
    typer.Option("--domain", help="libvirt name of the VM; without one the lab's own, kvmlab-vm."),
]
CableText = Annotated[
    str,
    typer.Option(
        "--cable",
        help="The cable under test: PORT,VM-ADDRESS,PEER-ADDRESS[,PEER], PEER being "
        "netns:NAMESPACE/PORT or, for a machine of its own, ssh://USER@MACHINE. "
        "The embedded host has its own.",
    ),
]
Language = Annotated[
    str,
    typer.Option(
        "--language",
        help="Language of what you read: en or zh-CN; also the variable KVMLAB_LANGUAGE.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: the changes are agreed to.")]
RunFolders = Annotated[
    list[Path] | None,
    typer.Option("--in", help="A folder to look for runs in; by default runs and results."),
]


Cut = Annotated[
    list[str] | None,
    typer.Option(
        "--cut",
        metavar="NAME",
        help="What the change may cut although it would be refused, as the refusal names it (a VM, "
        "an address, an interface); may be repeated.",
    ),
]
ConfirmWithin = Annotated[
    int,
    typer.Option(
        "--confirm-within",
        metavar="SECONDS",
        help="Without a sign of life of kvmlab for so long the host undoes the change by itself; "
        "0: never.",
    ),
]


def open_lab(
    host: str,
    *,
    domain: str | None = None,
    cable: str = "",
    allow_changes: bool = False,
    **settings: Any,
) -> Lab:
    """Open the lab that the options name; ``settings`` are others of :func:`kvmlab.open_lab`.

    Raises: as :func:`kvmlab.open_lab`.
    """
    from kvmlab import lab
    from kvmlab.domain import LAB_VM_NAME

    return lab.open_lab(
        host,
        vm=domain or LAB_VM_NAME,
        cable=cable,
        allow_changes=allow_changes,
        progress=print_progress,
        **settings,
    )


def scheme_from(name: str, options: Sequence[str] | None) -> Scheme:
    """Return the scheme called ``name``; its options and tunings are written as NAME=VALUE.

    Raises:
        UsageError: there is no such scheme, option or tuning, or a text is no value of it.
    """
    from kvmlab.tunings import tuned_scheme_from_text

    values = {}
    for text in options or ():
        option, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is no option.", todo="Write it as NAME=VALUE: -k vfs=4.")
        values[option] = value
    return tuned_scheme_from_text(name, values)
