"""Where a host is and which cable on it is under test: plain values, no connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SshTarget:
    """How to reach a host by ssh.

    ``known_hosts`` pins the host key: nothing else is believed, and the user's own ssh
    configuration is left aside. Without it that configuration applies (jumps, agents, keys).
    ``options`` are further ``-o`` options, ``"Name=value"``.
    """

    address: str
    port: int = 22
    user: str | None = None
    key_path: Path | None = None
    known_hosts: Path | None = None
    options: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """As a person would write it, ``root@kvm1`` or ``kvm1:2222``."""
        who = f"{self.user}@" if self.user else ""
        where = f"[{self.address}]" if ":" in self.address else self.address
        return f"{who}{where}" + (f":{self.port}" if self.port != 22 else "")


@dataclass(frozen=True)
class Wire:
    """The cable under test: a port of the host at one end, the peer at the other.

    Addresses carry their prefix length ("192.0.2.10/24"). ``peer_netns`` is the namespace of the
    host in which the other end lives, or None where the peer is another machine.
    """

    port: str
    vm_address: str
    peer_address: str
    peer_netns: str | None = None
    peer_port: str | None = None

    def on_peer(self, argv: Sequence[str]) -> tuple[str, ...]:
        """``argv`` as the host has to run it so that it runs at the peer's end.

        >>> Wire("p2p1", "192.0.2.10/24", "192.0.2.1/24", peer_netns="peer").on_peer(["ip", "a"])
        ('ip', 'netns', 'exec', 'peer', 'ip', 'a')
        """
        if self.peer_netns is None:
            return tuple(argv)
        return ("ip", "netns", "exec", self.peer_netns, *argv)
