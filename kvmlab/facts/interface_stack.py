"""The stack of a host's interfaces: what each one needs, and what is built on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import Final

from kvmlab.facts.types import Link, Route

#: Members of a bridge behind which there are guests, and not the network outside.
GUEST_KINDS: Final = frozenset({"tun", "macvtap", "veth"})
#: Kinds whose packets travel inside packets to another address.
TUNNEL_KINDS: Final = frozenset(
    ("vxlan", "geneve", "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan", "ipip",
     "sit", "ip6tnl", "vti", "vti6", "xfrm", "l2tp", "bareudp", "gtp", "wireguard", "amt")
)  # fmt: skip
#: The kernel's datapath of Open vSwitch, master of all its ports.
OVS_DATAPATH: Final = "ovs-system"
_OVS: Final = "openvswitch"
#: A master that shares a routing table and no packets.
_ROUTING_ONLY: Final = "vrf"


class InterfaceStack:
    """Interfaces of one host with their relations; built from what was read, asks nothing.

    Interfaces of other namespaces take part where their parent is in the host's own.
    """

    def __init__(
        self,
        links: Iterable[Link],
        routes: Sequence[Route] = (),
        *,
        default_routes: Sequence[str] = (),
        wireguard: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._links = tuple(links)
        self._routes = routes
        self._default_routes = tuple(default_routes)
        self._wireguard = wireguard or {}
        self._own = {link.name: link for link in self._links if link.netns is None}
        self._by_altname = {name: link for link in self._own.values() for name in link.altnames}

    def find(self, name: str) -> Link | None:
        """Return the interface of that name or altname in the host's own namespace."""
        return self._own.get(name) or self._by_altname.get(name)

    def needs(self, link: Link) -> tuple[str, ...]:
        """Return the interfaces that ``link`` needs to carry packets to and from outside.

        They are its parent, its members, the bridge or bond that it belongs to, and the
        interfaces that carry a tunnel's outer packets.
        """
        names = [link.parent, link.master]
        if link.kind != _ROUTING_ONLY:
            names += [member.name for member in self._outer_members(link.name)]
        if link.kind == _OVS:
            # Which bridge of Open vSwitch has which port only its own database knows.
            names += [OVS_DATAPATH, *(port.name for port in self._outer_members(OVS_DATAPATH))]
        if link.kind in TUNNEL_KINDS and link.parent is None:
            names += self.underlay(link)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def carriers(self, *names: str) -> tuple[str, ...]:
        """Return ``names`` and everything that they need, each once, nearest first."""
        carriers: dict[str, None] = {}
        queue = list(names)
        while queue:
            link = self.find(queue.pop(0))
            if link is None or link.name in carriers:
                continue
            carriers[link.name] = None
            queue += self.needs(link)
        return tuple(carriers)

    def stacked_on(self, link: Link) -> tuple[Link, ...]:
        """Return the interfaces built on ``link``: VLANs, macvtaps, tunnels over it, and others."""
        if link.netns is not None:
            return tuple(
                upper
                for upper in self._links
                if upper.netns == link.netns and upper.parent == link.name and upper.kind != "veth"
            )
        return tuple(
            upper
            for upper in self._links
            if upper is not link and upper.kind != "veth" and self._sits_on(upper, link)
        )

    def members(self, master: Link) -> tuple[Link, ...]:
        """Return the interfaces that belong to bridge or bond ``master``."""
        return tuple(
            link
            for link in self._links
            if link.master == master.name and link.netns == master.netns
        )

    def underlay(self, tunnel: Link) -> tuple[str, ...]:
        """Return the interfaces that may carry the outer packets of ``tunnel``.

        Where neither endpoints nor routes say which, all with an address may.
        """
        ends = [tunnel.remote] if _is_address(tunnel.remote) else []
        ends += self._wireguard.get(tunnel.name, ())
        names = [name for end in ends for name in self.towards(end)]
        if _is_address(tunnel.local):
            names += self._with_address(tunnel.local)
        if not names:
            names = [
                name
                for name, link in self._own.items()
                if link.addresses and not link.loopback and link.kind not in TUNNEL_KINDS
                and not link.kind.startswith("tun")
            ] or list(self._default_routes)  # fmt: skip
        return tuple(dict.fromkeys(name for name in names if name != tunnel.name))

    def towards(self, address: str) -> tuple[str, ...]:
        """Return the interfaces of the most specific routes to ``address``, of every next hop."""
        end = ip_address(address)
        best, names = -1, list[str]()
        for network, name in self._networks():
            if network == "default":
                length = 0
            else:
                net = ip_network(network, strict=False)
                if end.version != net.version or end not in net:
                    continue
                length = net.prefixlen
            if length > best:
                best, names = length, []
            if length == best:
                names.append(name)
        return tuple(dict.fromkeys(names))

    def _networks(self) -> Iterable[tuple[str, str]]:
        for route in self._routes:
            if route.destination == "default" or _is_network(route.destination):
                yield route.destination, route.interface
        for name, link in self._own.items():
            for address in link.addresses if not link.loopback else ():
                yield str(ip_interface(address).network), name
        for name in self._default_routes:
            yield "default", name

    def _outer_members(self, master: str) -> Iterable[Link]:
        return (
            link
            for link in self._own.values()
            if link.master == master and link.kind not in GUEST_KINDS and link.kind != _OVS
        )

    def _sits_on(self, upper: Link, lower: Link) -> bool:
        if upper.netns is not None:
            return upper.parent is None and upper.parent_index == lower.index
        if upper.parent == lower.name:
            return True
        if upper.kind not in TUNNEL_KINDS or upper.parent is not None:
            return False
        known = _is_address(upper.remote) or _is_address(upper.local)
        return (known or upper.name in self._wireguard) and lower.name in self.underlay(upper)

    def _with_address(self, address: str) -> tuple[str, ...]:
        wanted = ip_address(address)
        return tuple(
            name
            for name, link in self._own.items()
            if any(ip_interface(own).ip == wanted for own in link.addresses)
        )


def _is_address(text: str) -> bool:
    try:
        return not ip_address(text).is_unspecified
    except ValueError:
        return False


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
