"""The cable under test and the peer at its other end, as plain values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Final

from kvmlab.errors import UsageError
from kvmlab.hosts.ssh_target import SshTarget
from kvmlab.hosts.uri import parse_login

#: The kernel's IFNAMSIZ without its zero byte.
_NAME_BYTES: Final = 15
_NETNS: Final = re.compile(r"(?!\.{1,2}$)[^/\s\0-][^/\s\0]{0,254}")
CABLE_SENTENCE: Final = (
    'Give "PORT,VM-ADDRESS,PEER-ADDRESS" and, where the other end is in a namespace of the host, '
    '",netns:NAMESPACE/PORT": "eth1,192.0.2.10/24,192.0.2.1/24,netns:peer/eth2"; where it is '
    'another machine that ssh reaches, ",ssh://USER@MACHINE".'
)


@dataclass(frozen=True)
class Cable:
    """The cable under test: a port of the host at one end, the peer at the other.

    Addresses carry their prefix length ("192.0.2.10/24"). ``peer_netns`` is the namespace of the
    host in which the other end lives, or None where the peer is another machine. ``peer_ssh`` is
    how that machine is reached from here, so that servers can be started on it; without it, it
    only answers pings.
    """

    port: str
    vm_address: str
    peer_address: str
    peer_netns: str | None = None
    peer_port: str | None = None
    peer_ssh: SshTarget | None = None

    def __post_init__(self) -> None:
        for name in (self.port, self.peer_port):
            if name is not None:
                check_interface_name(name)
        if self.peer_netns is not None and not _NETNS.fullmatch(self.peer_netns):
            raise UsageError(
                f"{self.peer_netns!r} cannot be the name of a network namespace.",
                todo="`ip netns` lists those there are.",
            )
        if self.peer_netns is not None and self.peer_ssh is not None:
            raise UsageError(
                "A peer is in a namespace of the host, or another machine; not both.",
                todo=CABLE_SENTENCE,
            )
        ours, theirs = _address(self.vm_address), _address(self.peer_address)
        if ours.network != theirs.network or ours.ip == theirs.ip:
            raise UsageError(
                f"The VM's address {self.vm_address} and the peer's {self.peer_address} are not "
                "two addresses of one network.",
                todo="Give both with their prefix length: 192.0.2.10/24 and 192.0.2.1/24.",
            )

    @classmethod
    def parse(cls, text: str) -> Cable:
        """Parse a cable from ``PORT,VM-ADDRESS,PEER-ADDRESS[,PEER]``.

        PEER is left out where the other end is a machine that only answers pings, and else
        ``netns:NAMESPACE/PORT``, a namespace of the host with a second port, or
        ``ssh://USER@MACHINE``, another machine on which servers can be started.

        >>> Cable.parse("eth1,192.0.2.10/24,192.0.2.1/24,netns:peer/eth2").peer_port
        'eth2'

        Raises:
            UsageError: it does not; the message says what is missing.
        """
        words = [word.strip() for word in text.split(",")]
        if not 3 <= len(words) <= 4 or not all(words):
            raise UsageError(f"{text!r} is no cable.", todo=CABLE_SENTENCE)
        port, vm_address, peer_address, *peer = words
        if not peer:
            return cls(port, vm_address, peer_address)
        kind, _, where = peer[0].partition(":")
        if kind == "ssh":
            return cls(port, vm_address, peer_address, peer_ssh=parse_login(peer[0]))
        netns, _, peer_port = where.partition("/")
        if kind != "netns" or not netns or not peer_port:
            raise UsageError(f"{peer[0]!r} is no peer of a cable.", todo=CABLE_SENTENCE)
        return cls(port, vm_address, peer_address, netns, peer_port)

    def on_peer(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return ``argv`` with the prefix that makes the host run it in the peer's namespace.

        >>> Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", peer_netns="peer").on_peer(["ip", "a"])
        ('ip', 'netns', 'exec', 'peer', 'ip', 'a')
        """
        if self.peer_netns is None:
            return tuple(argv)
        return ("ip", "netns", "exec", self.peer_netns, *argv)


def check_interface_name(name: str) -> None:
    """Check that the kernel accepts ``name`` for a network interface.

    Raises:
        UsageError: it would not.
    """
    odd = [sign for sign in name if sign in "/:" or sign.isspace() or not sign.isprintable()]
    if not name or name in (".", "..") or odd or len(name.encode()) > _NAME_BYTES:
        raise UsageError(
            f"{name!r} cannot be the name of a network interface.",
            todo=f"Names have 1 to {_NAME_BYTES} bytes, and no slash, colon or blank; "
            "`kvmlab inspect` lists those of a host.",
        )


def _address(text: str) -> IPv4Interface | IPv6Interface:
    try:
        if "/" not in text:
            raise ValueError("it has no prefix length")
        return ip_interface(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no address of a cable: {error}.",
            todo="Give it with its prefix length, such as 192.0.2.10/24.",
        ) from error
