"""TCP connections that end at a host: whoever takes their interface away cuts them."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from kvmlab.errors import OutputError

#: Storage over TCP, by the port of its server; `read_host.sh` lists these ends first.
_STORAGE: Final = {
    445: "SMB",
    860: "iSCSI",
    2049: "NFS",
    3260: "iSCSI",
    3300: "Ceph",
    4420: "NVMe",
    6789: "Ceph",
    10809: "NBD",
    24007: "GlusterFS",
}
_MOST_REMOTES: Final = 64


@dataclass(frozen=True)
class Connections:
    """Established connections at one address of the host. Source: /proc/net/tcp, /proc/net/tcp6.

    ``example`` is one of them: "22 from 192.0.2.7:50412", the host's port and the other end.
    ``remotes`` are other ends, those of storage first, at most `_MOST_REMOTES` of them.
    """

    address: str
    count: int
    example: str
    remotes: tuple[str, ...] = ()
    storage: tuple[str, ...] = ()
    """Storage sessions, such as "iSCSI with 192.0.2.9"."""


def parse_connections(text: str) -> tuple[Connections, ...]:
    """Read what the ``connections`` section of ``read_host.sh`` prints, without loopback.

    Local address, number of connections, local port and other end of one of them, then local port
    and other end of some, as the kernel writes them in /proc/net/tcp::

        0F02000A 2 0016 0202000A:A3F2 0016/0202000A:A3F2 C350/0902000A:0CBC
        0000000000000000FFFF00000F02000A 1 0016 0000000000000000FFFF00000202000A:B1C2

    Raises:
        OutputError: it is not that.
    """
    connections = []
    for line in text.split("\n"):
        if not line:
            continue
        try:
            local, count, port, remote, *pairs = line.split()
            address, _, other = remote.partition(":")
            local_address = _address(local)
            example = f"{int(port, 16)} from {_address(address)}:{int(other, 16)}"
            ends = [_ends(pair) for pair in pairs[:_MOST_REMOTES]]
            storage = (
                f"{_STORAGE[end]} with {far}"
                for near, far, beyond in ends
                for end in (beyond, near)
                if end in _STORAGE
            )
            entry = Connections(
                str(local_address),
                int(count),
                example,
                tuple(dict.fromkeys(far for _, far, _ in ends)),
                tuple(dict.fromkeys(storage)),
            )
        except (ValueError, struct.error) as error:
            raise OutputError(
                "The host's list of TCP connections could not be understood.", evidence=line[:400]
            ) from error
        if not local_address.is_loopback:
            connections.append(entry)
    return tuple(connections)


def _ends(pair: str) -> tuple[int, str, int]:
    """Parse "C350/0902000A:0CBC": local port, remote address, remote port."""
    near, _, far = pair.partition("/")
    address, _, port = far.partition(":")
    return int(near, 16), str(_address(address)), int(port, 16)


def _address(text: str) -> IPv4Address | IPv6Address:
    """Parse an address of words of 32 bits, each in the host's byte order."""
    if len(text) not in (8, 32):
        raise ValueError("no address of either family")
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    if len(words) == 1:
        return ip_address(socket.inet_ntop(socket.AF_INET, struct.pack("<I", words[0])))
    packed = b"".join(struct.pack("<I", word) for word in words)
    address = IPv6Address(packed)
    return address.ipv4_mapped or address
