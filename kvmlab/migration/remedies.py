"""Remedies: what lets a bridge find the VM again once its VF has been unplugged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.changes.operations import is_interface
from kvmlab.errors import KvmlabError, UsageError
from kvmlab.hosts import spawn_script
from kvmlab.schemes.port import BRIDGE

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Cable

_READY_SEC: Final = 60.0
_END_SEC: Final = 60.0
_GUEST_SEC: Final = 60.0
_ARP_NOTIFY: Final = "/proc/sys/net/ipv4/conf/all/arp_notify"


@dataclass(frozen=True)
class Remedy:
    """One remedy; ``id`` is its name in the script ``remedy.sh``, "" is none."""

    id: str
    label: str
    what: str = ""


NO_REMEDY: Final = Remedy("", "")
REMEDIES: Final = (
    Remedy(
        "announce-self",
        "QMP announce-self",
        "QEMU sends RARP for the VM's card once the VF is out.",
    ),
    Remedy(
        "fdb-replace",
        "bridge fdb replace",
        "The host's bridge is told where the VM is once the VF is out.",
    ),
    Remedy(
        "fdb-sticky",
        "sticky bridge entry",
        "The host's bridge has the VM's MAC at its tap all along; a static entry alone would move.",
    ),
    Remedy(
        "no-learning",
        "no learning at the uplink",
        "The host's bridge learns no MAC at its port, and so passes to the VM what comes for it.",
    ),
    Remedy(
        "ageing",
        "ageing of 10 s",
        "The host's bridge forgets where a silent VM was after 10 s, the least that Linux takes.",
    ),
    Remedy(
        "arp-notify",
        "arp_notify in the guest",
        "The guest announces itself where its interface changes.",
    ),
)


def remedy(name: str) -> Remedy:
    """Return the remedy of that id; "" is none.

    Raises:
        UsageError: there is no such remedy.
    """
    for one in (NO_REMEDY, *REMEDIES):
        if one.id == name:
            return one
    raise UsageError(
        f"There is no remedy {name!r}.", todo=f"Use one of {[one.id for one in REMEDIES]}."
    )


@contextmanager
def remedied(chosen: Remedy, vm: TestVM, cable: Cable, nic: Nic) -> Iterator[None]:
    """Keep a remedy in place on the VM's host, or in the VM, for the block; then take it back.

    At the end of the block the VM is where it was at its begin.

    Raises:
        CommandFailed, HostUnreachable, GuestCommandFailed: it could not be put in place.
    """
    if not chosen.id:
        yield
        return
    if chosen.id == "arp-notify":
        with _announcing(vm):
            yield
        return
    interface = vm.interface(nic.mac)
    tap = interface.target_dev if interface is not None else None
    assert tap is not None
    assert is_interface(tap)
    process = spawn_script(
        vm.host.runner,
        "kvmlab.migration",
        "remedy.sh",
        *(chosen.id, BRIDGE, cable.port, tap, nic.mac, vm.name),
        root=True,
    )
    try:
        process.expect("=== ready", timeout_sec=_READY_SEC)
        yield
    except BaseException:
        process.stop()
        raise
    process.finish(timeout_sec=_END_SEC)


@contextmanager
def _announcing(vm: TestVM) -> Iterator[None]:
    """Let the guest announce itself where an interface changes; the setting moves with it."""
    before = vm.agent.run(("cat", _ARP_NOTIFY), timeout_sec=_GUEST_SEC).stdout.strip()

    def write(value: str) -> None:
        line = f'echo "$1" >{_ARP_NOTIFY}'
        vm.agent.run(("sh", "-c", line, "sh", value), timeout_sec=_GUEST_SEC)

    write("1")
    try:
        yield
    except BaseException:
        with suppress(KvmlabError):
            write(before)
        raise
    write(before)
