"""From a lease of the embedded host to a door to it, and what is done to it before it is saved."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kvmlab.clock import Clock
from kvmlab.domain import TestVM
from kvmlab.domain.description import LabVm
from kvmlab.embedded import Lease, Preparation
from kvmlab.errors import HostUnreachable
from kvmlab.hosts import Host, HostKind, SshTarget, Wire, open_host
from kvmlab.process import Completed

if TYPE_CHECKING:
    from kvmlab.hosts import Runner

# The cable of the embedded host: an 82576 port to its sister port in a namespace (RFC 5737).
EMBEDDED_WIRE = Wire(
    port="p2p1",
    vm_address="192.0.2.10/24",
    peer_address="192.0.2.1/24",
    peer_netns="peer",
    peer_port="p2p2",
)
# The cable of the card that is given away as a whole: an 82574L to another one in that namespace.
EMBEDDED_CARD_WIRE = Wire(
    port="p1p1",
    vm_address="198.51.100.10/24",
    peer_address="198.51.100.1/24",
    peer_netns="peer",
    peer_port="p3p1",
)
_CONNECT_SEC = 60
# Raise it when `_prepare` does something else: saved states of the old kind are then left aside.
_PREPARATION = 2


def connect(lease: Lease, *, wire: Wire | None = None) -> Host:
    """A door to the embedded host of ``lease``; the caller closes it before the lease."""
    target = SshTarget(
        address=lease.address,
        port=lease.port,
        user=lease.user,
        key_path=lease.key_path,
        known_hosts=lease.known_hosts,
    )
    host = open_host(
        f"qemu+ssh://{lease.user}@{lease.address}:{lease.port}/system",
        ssh=target,
        kind=HostKind.EMBEDDED,
        label="embedded host",
        clock=lease.clock,
        emulated=f"Embedded host: a whole KVM host inside one QEMU process, not hardware "
        f"({lease.label}).",
        wire=wire or EMBEDDED_WIRE,
        more_wires=(EMBEDDED_CARD_WIRE,),
        deadline_sec=_CONNECT_SEC,
    )
    host.runner = _Watched(host.runner, lease)
    host.emulator_pid = lease.qemu_pid
    return host


def preparation() -> Preparation:
    """What is done to a fresh embedded host before it is saved: its test VM runs, suspended."""
    made = f"{_PREPARATION} {LabVm().domain().xml()}"
    return Preparation(key=hashlib.sha256(made.encode()).hexdigest()[:16], run=_prepare)


def _prepare(lease: Lease) -> None:
    with connect(lease) as host:
        # The virtual clock adds up the work of all CPUs: a second one would only cost time.
        vcpus = 1 if host.clock is Clock.VIRTUAL else None
        TestVM.ensure(host, vcpus=vcpus).suspend()


class _Watched:
    """A runner that, when its host is cut off, first asks whether the host still lives."""

    def __init__(self, runner: Runner, lease: Lease) -> None:
        self._runner = runner
        self._lease = lease
        self.name = runner.name

    def run(self, argv: Sequence[str], **keywords: Any) -> Completed:
        """Run ``argv``; see :class:`kvmlab.hosts.Runner`.

        Raises:
            MachineDied: the embedded host ended; the evidence is the end of its console.
        """
        try:
            return self._runner.run(argv, **keywords)
        except HostUnreachable:
            self._lease.check()
            raise

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        """Start ``argv``; see :class:`kvmlab.hosts.Runner`."""
        return self._runner.start(argv, root=root)

    def close(self) -> None:
        """Close the runner."""
        self._runner.close()
