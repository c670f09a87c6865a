"""The embedded host as the lab uses it: its connection, its cables, the state that is saved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvmlab.clock import Clock
from kvmlab.domain import TestVM
from kvmlab.domain.description import LabVm
from kvmlab.embedded import Lease, Preparation
from kvmlab.errors import HostUnreachable
from kvmlab.hosts import Cable, Host, HostKind, SshTarget, open_host
from kvmlab.process import Completed

if TYPE_CHECKING:
    from kvmlab.hosts import RemoteProcess, Runner

# From a port of the 82576 to its other port, in a network namespace; addresses of RFC 5737.
EMBEDDED_CABLE = Cable(
    port="p2p1",
    vm_address="192.0.2.10/24",
    peer_address="192.0.2.1/24",
    peer_netns="peer",
    peer_port="p2p2",
)
# For PCI passthrough: from an 82574L to another one in that namespace.
EMBEDDED_NIC_CABLE = Cable(
    port="p1p1",
    vm_address="198.51.100.10/24",
    peer_address="198.51.100.1/24",
    peer_netns="peer",
    peer_port="p3p1",
)
# Of host B in a live migration: the other function of that card, on the same cable.
SECOND_HOST_CABLE = replace(EMBEDDED_NIC_CABLE, port="p1p2")
# Its port with SR-IOV: the peer's, whose other one goes on as the peer.
SECOND_HOST_PF = "p2p2"
_CONNECT_SEC = 60
# Raise it whenever `_prepare` changes: states that were saved before are then not used.
_PREPARATION = 2


def connect(lease: Lease, *, cable: Cable | None = None) -> Host:
    """Connect to the embedded host of ``lease``; the caller closes the host before the lease.

    Where that fails, or is interrupted, the lease is released.

    Raises:
        HostUnreachable, HostRefused: it does not answer within a minute, or refuses the login.
    """
    target = SshTarget(
        address=lease.address,
        port=lease.port,
        user=lease.user,
        key_path=lease.key_path,
        known_hosts=lease.known_hosts,
    )
    try:
        host = open_host(
            f"qemu+ssh://{lease.user}@{lease.address}:{lease.port}/system",
            ssh=target,
            kind=HostKind.EMBEDDED,
            label="embedded host",
            clock=lease.clock,
            emulated=f"Embedded host: a whole KVM host inside one QEMU process, not hardware "
            f"({lease.label}).",
            cable=cable or EMBEDDED_CABLE,
            more_cables=(EMBEDDED_NIC_CABLE,),
            deadline_sec=_CONNECT_SEC,
        )
    except BaseException:
        lease.release(clean=False)
        raise
    host.runner = _LeasedRunner(host.runner, lease)
    host.emulator_pid = lease.qemu_pid
    return host


def preparation() -> Preparation:
    """Return what is done to a fresh embedded host before it is saved: its test VM is started."""
    content = f"{_PREPARATION} {LabVm().domain().xml()}"
    return Preparation(key=hashlib.sha256(content.encode()).hexdigest()[:16], run=_prepare)


def _prepare(lease: Lease) -> None:
    with connect(lease) as host:
        # The virtual clock adds up the work of all CPUs: a second one would only cost time.
        vcpus = 1 if host.clock is Clock.VIRTUAL else None
        TestVM.ensure(host, vcpus=vcpus).suspend()


class _LeasedRunner:
    """A runner that reports the death of its host in place of the broken connection."""

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

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Start ``argv`` and go on; see :class:`kvmlab.hosts.Runner`."""
        return self._runner.spawn(argv, root=root, shown_as=shown_as)

    def close(self) -> None:
        """Close the runner."""
        self._runner.close()
