"""Interfaces that carry the connection that manages a host, which no change may cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from kvmlab.facts.interface_stack import InterfaceStack
from kvmlab.facts.types import Link, Route


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
    routes: tuple[Route, ...] = (),
    wireguard: Mapping[str, tuple[str, ...]] | None = None,
) -> Management:
    """Find the interface of the ssh connection, or of the default route where there is none.

    ``ssh_connection`` is sshd's own variable, "CLIENT PORT SERVER PORT". Its server address
    decides; behind a translation of addresses no interface has it, and the route back to the
    client does. Carriers of the default route and of the route back are always among the
    carriers: answers may leave by another interface than that by which questions come.
    """
    stack = InterfaceStack(links, routes, default_routes=default_routes, wireguard=wireguard)
    own = {link.name: link for link in links if link.netns is None}
    back = [name for name in route_to_peer if ssh_connection]
    back += [name for name in _routes_back(stack, ssh_connection) if name not in back]
    candidates = [*_with_address(own.values(), ssh_connection), *back, *default_routes]
    first = next((name for name in candidates if name in own and not own[name].loopback), None)
    # The default route carries answers, name services and package mirrors: never cut either.
    starts = [*([first] if first else []), *back, *default_routes]
    carriers = stack.carriers(*(name for name in starts if name in own and not own[name].loopback))
    return Management(first, carriers)


def _routes_back(stack: InterfaceStack, ssh_connection: str) -> tuple[str, ...]:
    """Return every interface of the routes to the client, where there are several next hops."""
    client = ssh_connection.split()[:1]
    try:
        return stack.towards(client[0].partition("%")[0]) if client else ()
    except ValueError:
        return ()


def _with_address(links: Iterable[Link], ssh_connection: str) -> tuple[str, ...]:
    words = ssh_connection.split()
    if len(words) != 4:
        return ()
    try:
        server = ip_address(words[2].partition("%")[0])
    except ValueError:
        return ()
    mapped = getattr(server, "ipv4_mapped", None)
    address_there = mapped or server
    return tuple(
        link.name
        for link in links
        if any(ip_interface(address).ip == address_there for address in link.addresses)
    )
