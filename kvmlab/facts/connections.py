"""TCP connections that end at a host: whoever takes their interface away cuts them."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from kvmlab.errors import OutputError


@dataclass(frozen=True)
class Connections:
    """Established connections at one address of the host. Source: /proc/net/tcp, /proc/net/tcp6.

    ``example`` is one of them: "22 from 192.0.2.7:50412", the host's port and the other end.
    """

    address: str
    count: int
    example: str


def parse_connections(text: str) -> tuple[Connections, ...]:
    """Read what the ``connections`` section of ``read_host.sh`` prints, without loopback.

    Local address, number of connections, local port and other end of one of them, as the kernel
    writes them in /proc/net/tcp::

        0F02000A 2 0016 0202000A:A3F2
        0000000000000000FFFF00000F02000A 1 0016 0000000000000000FFFF00000202000A:B1C2

    Raises:
        OutputError: it is not that.
    """
    found = []
    for line in text.split("\n"):
        if not line:
            continue
        try:
            local, count, port, remote = line.split()
            address, _, other = remote.partition(":")
            here = _address(local)
            example = f"{int(port, 16)} from {_address(address)}:{int(other, 16)}"
            one = Connections(str(here), int(count), example)
        except (ValueError, struct.error) as error:
            raise OutputError(
                "The host's list of TCP connections could not be understood.", evidence=line[:400]
            ) from error
        if not here.is_loopback:
            found.append(one)
    return tuple(found)


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address as the kernel writes it: words of 32 bits, each in the host's byte order."""
    if len(text) not in (8, 32):
        raise ValueError("no address of either family")
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    if len(words) == 1:
        return ip_address(socket.inet_ntop(socket.AF_INET, struct.pack("<I", words[0])))
    packed = b"".join(struct.pack("<I", word) for word in words)
    address = IPv6Address(packed)
    return address.ipv4_mapped or address
