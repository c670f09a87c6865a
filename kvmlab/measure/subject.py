"""The subject of a trial: a VM's interface, the cable behind it and the threads that serve it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmlab.errors import MeasureError

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM, VmThreads
    from kvmlab.hosts import Cable, Host


def cable_under_test(host: Host) -> Cable:
    """Return the host's first cable.

    Raises:
        MeasureError: this host has none.
    """
    if host.cable is None:
        raise MeasureError(
            f"{host.label} has no cable under test, so there is no peer to send to.",
            todo="Open the host with a cable: its port, the two addresses and the peer.",
        )
    return host.cable


def counted_device(cable: Cable) -> str:
    """Return where packets are counted: the peer's port, or ours where the peer is elsewhere."""
    return cable.peer_port if cable.peer_netns and cable.peer_port else cable.port


def counted_at(cable: Cable) -> str:
    """Return the same in words: "p2p2 in namespace peer"."""
    netns = cable.peer_netns
    return f"{counted_device(cable)} in namespace {netns}" if netns else counted_device(cable)


@dataclass(frozen=True)
class Subject:
    """A VM's interface on a host, and the threads that serve it: what is measured."""

    host: Host
    vm: TestVM
    nic: Nic
    threads: VmThreads

    @classmethod
    def of(cls, host: Host, vm: TestVM, nic: Nic) -> Subject:
        """Return the subject with the threads that serve the interface now."""
        return cls(host, vm, nic, vm.threads())

    @cached_property
    def cable(self) -> Cable:
        """The cable that the interface is at, else the host's first.

        Raises:
            MeasureError: this host has none.
        """
        first = cable_under_test(self.host)
        fitting = (c for c in self.host.cables if c.peer_address == self.nic.peer_address)
        return next(fitting, first)

    @property
    def is_counted(self) -> bool:
        """True if an interface of the host, or of a namespace of it, sees the packets.

        A function that was handed over takes its packets past the host. Where the peer is another
        machine as well, neither packets nor the costs of each can be counted on the host.
        """
        return self.nic.backend != "hardware" or self.cable.peer_netns is not None

    @property
    def devices(self) -> tuple[str, ...]:
        """The host's devices whose interrupts belong to the scheme: not the peer's."""
        return tuple(filter(None, (self.cable.port, self.nic.host_device)))
