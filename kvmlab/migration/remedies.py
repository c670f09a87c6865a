"""Remedies: what lets a bridge find the VM again once its VF has been unplugged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.changes.operations import is_interface
from kvmlab.errors import UsageError
from kvmlab.hosts import spawn_script
from kvmlab.schemes.port import BRIDGE

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Cable

_READY_SEC: Final = 60.0
_END_SEC: Final = 60.0


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
    """Return the remedy of that id.

    Raises:
        UsageError: there is none.
    """
    for one in REMEDIES:
        if one.id == name:
            return one
    raise UsageError(
        f"There is no remedy {name!r}.", todo=f"Use one of {[one.id for one in REMEDIES]}."
    )


@contextmanager
def remedied(chosen: Remedy, vm: TestVM, cable: Cable, nic: Nic) -> Iterator[None]:
    """Keep a remedy in place on the VM's host for the length of the block, then take it back.

    Raises:
        CommandFailed, HostUnreachable: it could not be put in place.
    """
    if not chosen.id:
        yield
        return
    if chosen.id == "arp-notify":
        line = "echo {} >/proc/sys/net/ipv4/conf/all/arp_notify"
        vm.agent.run(("sh", "-c", line.format(1)), timeout_sec=_READY_SEC)
        yield  # The setting moves with the guest, and ends with it.
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
