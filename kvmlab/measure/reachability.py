"""Reachability: a few pings between host, VM and peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.changes.temporary_address import HOST_ADDRESS, VM_ADDRESS
from kvmlab.clock import Clock
from kvmlab.results import Reach

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host

# One answer ends it. The first echoes may be lost while both ends learn each other's MAC.
_PING = ("ping", "-n", "-q", "-c", "1", "-i", "0.3", "-w")
_WAIT_SEC = {Clock.VIRTUAL: "1", Clock.WALL: "2"}
_PING_SEC = 15


def reach(host: Host, vm: TestVM, nic: Nic, *, host_end: str, vm_mac: str) -> Reach:
    """Ping from the VM to the peer, from the VM to the host, and from the host to the VM, at once.

    Host and VM have their addresses of `kvmlab.changes.temporary_address`. One answer is enough.

    Raises:
        HostError, DomainError: host or VM do not answer at all.
    """
    agent, deadline_sec = vm.agent, host.clock.wall_timeout(_PING_SEC)
    host_ip, vm_ip = (one.partition("/")[0] for one in (HOST_ADDRESS, VM_ADDRESS))
    ping = (*_PING, _WAIT_SEC[host.clock])
    from_vm = [(*ping, nic.peer_ip), (*ping, host_ip)]
    handles = [agent.start(argv) for argv in from_vm]
    back = host.run((*ping, vm_ip), timeout_sec=deadline_sec, check=False)
    to_peer, to_host = (
        agent.wait(handle, argv, timeout_sec=deadline_sec, check=False).returncode == 0
        for handle, argv in zip(handles, from_vm, strict=True)
    )
    return Reach(
        label=nic.label,
        host_end=host_end,
        vm_mac=vm_mac,
        own_mac=vm_mac == nic.mac,
        vm_to_peer=to_peer,
        vm_to_host=to_host,
        host_to_vm=back.returncode == 0,
    )
