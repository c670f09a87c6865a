"""Which interfaces carry the connection that manages a host: those that no change may cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Final

from kvmlab.facts.types import Link

#: Members of a bridge through which a host is not reached from outside.
_GUEST_KINDS: Final = frozenset({"tun", "macvtap", "veth"})


@dataclass(frozen=True)
class Management:
    """The interface with the address, and everything below and above it that it needs."""

    interface: str | None
    carriers: tuple[str, ...]


def find_management(
    *,
    links: tuple[Link, ...],
    ssh_connection: str,
    route_to_peer: tuple[str, ...],
    default_routes: tuple[str, ...],
) -> Management:
    """The interface of the ssh connection, or of the default route where there is none.

    ``ssh_connection`` is sshd's own variable, "CLIENT PORT SERVER PORT". Its server address
    decides; behind a translation of addresses no interface has it, and the route back to the
    client does. Carriers of the default route are always among the carriers.
    """
    own = {link.name: link for link in links if link.netns is None}
    reached = [
        *_with_address(own.values(), ssh_connection),
        *(name for name in route_to_peer if ssh_connection),
        *default_routes,
    ]
    first = next((name for name in reached if name in own and not own[name].loopback), None)
    # The default route carries answers, name services and package mirrors: never cut either.
    needed = dict.fromkeys([*([first] if first else []), *default_routes])
    carriers: dict[str, None] = {}
    for name in needed:
        for carrier in chain(name, own):
            carriers[carrier] = None
    return Management(first, tuple(carriers))


def _with_address(links: Iterable[Link], ssh_connection: str) -> tuple[str, ...]:
    words = ssh_connection.split()
    if len(words) != 4:
        return ()
    try:
        server = ip_address(words[2].partition("%")[0])
    except ValueError:
        return ()
    mapped = getattr(server, "ipv4_mapped", None)
    wanted = mapped or server
    return tuple(
        link.name
        for link in links
        if any(ip_interface(address).ip == wanted for address in link.addresses)
    )


def chain(name: str, links: Mapping[str, Link]) -> tuple[str, ...]:
    """``name``, its parents (VLAN), its members (bridge, bond) and its masters, each once."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop(0)
        link = links.get(current)
        if link is None or current in found:
            continue
        found[current] = None
        if link.parent is not None:
            waiting.append(link.parent)
        if link.master is not None:
            waiting.append(link.master)
        waiting += [
            member.name
            for member in links.values()
            if member.master == current and member.kind not in _GUEST_KINDS
        ]
    return tuple(found)
