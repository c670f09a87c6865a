"""Reachability between host, VM and peer through one interface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """Answers between the host, the VM and the peer while a scheme was applied.

    ``host_end`` is the host's device that had an address meanwhile: the bridge, or the port below
    a macvtap. ``vm_mac`` is the MAC that the VM used; ``own_mac`` is True where
    libvirt assigned it.
    """

    label: str
    host_end: str
    vm_mac: str
    own_mac: bool
    vm_to_peer: bool
    vm_to_host: bool
    host_to_vm: bool
