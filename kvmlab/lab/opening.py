"""Opening a lab by the name of its host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kvmlab.clock import Clock
from kvmlab.domain import LAB_VM_NAME
from kvmlab.embedded import Settings, acquire
from kvmlab.errors import UsageError
from kvmlab.hosts import SshTarget, Wire, open_host, parse_login
from kvmlab.lab.embedding import connect, preparation
from kvmlab.lab.lab import Lab

EMBEDDED = "embedded"

Say = Callable[[str], None]


def open_lab(
    spec: str = EMBEDDED,
    *,
    clock: str | Clock = Clock.VIRTUAL,
    vm: str = LAB_VM_NAME,
    out: str | Path = "results",
    wire: Wire | str | None = None,
    allow_changes: bool = False,
    settings: Settings | None = None,
    progress: Say | None = None,
) -> Lab:
    """Open a host.

    Args:
        spec: "embedded", "qemu:///system" or "qemu+ssh://user@host/system".
        clock: "virtual" or "wall", for the embedded host; other hosts have a real one.
        vm: the test VM's libvirt name; the lab makes its own where none is named. A VM without
            guest agent is reached by ssh: "NAME=ssh://root@ADDRESS".
        out: the folder under which :meth:`Lab.keep` writes.
        wire: the cable under test, also as text (`Wire.parse`); the embedded host has its own.
        allow_changes: a yes to changes on a host that is not embedded; without it, plans are
            made and shown there and nothing is changed. The embedded host needs no yes.
        settings: more about the embedded host; its clock must then agree with ``clock``.
        progress: told what takes time, a line at a time; printed where it is left out.

    Raises:
        UsageError: no such kind of host or clock, or no cable.
        HostUnreachable, HostRefused: the host does not answer, or does not let us in.
        EmbeddedError: the embedded host cannot be built or started.
    """
    time = as_clock(clock)
    vm, guest = named_vm(vm)
    cable = Wire.parse(wire) if isinstance(wire, str) and wire else wire or None
    assert not isinstance(cable, str)
    if spec != EMBEDDED:
        host = open_host(spec, wire=cable, allows_changes=allow_changes)
        return Lab(host, vm_name=vm, guest=guest, out=Path(out))
    lease = acquire(
        settings or Settings(clock=time), preparation=preparation(), progress=progress or _print
    )
    try:
        host = connect(lease, wire=cable)
    except BaseException:
        lease.release(clean=False)
        raise
    return Lab(host, vm_name=vm, guest=guest, out=Path(out), lease=lease)


def named_vm(text: str) -> tuple[str, SshTarget | None]:
    """The libvirt name of a VM, and the way into it where that is ssh.

    >>> named_vm("web-test=ssh://root@192.0.2.7")[1].shown
    'root@192.0.2.7'

    Raises:
        UsageError: it is neither a name nor a name and an address.
    """
    name, separator, where = text.partition("=ssh://")
    if not name or name != name.strip() or "/" in name or not name.isprintable():
        raise UsageError(
            f"{text!r} cannot be the name of a VM.",
            todo="`virsh list --all` lists those there are; a VM without guest agent is named "
            "NAME=ssh://root@ADDRESS.",
        )
    if not separator:
        return name, None
    return name, parse_login(f"ssh://{where}")


def as_clock(name: str | Clock) -> Clock:
    """The clock of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return Clock(name)
    except ValueError as error:
        raise UsageError(
            f"There is no clock {str(name)!r}.",
            todo=f"Use one of {', '.join(clock.value for clock in Clock)}.",
        ) from error


def _print(text: str) -> None:
    print(text, flush=True)
