"""Users of an interface or a function of a host: everything that a change of it would touch.

One answer for guard, plans, doctor, adviser and panels. It follows what is stacked on an interface
(VLAN, macvlan, macvtap, ipvlan, tunnels over it), the bridge, bond, team or Open vSwitch that it
belongs to, interfaces of its VFs, other namespaces, addresses, routes, connections, running VMs
and programs that hold its IOMMU group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Final

from kvmlab.facts.interface_stack import GUEST_KINDS, OVS_DATAPATH, InterfaceStack
from kvmlab.facts.vfio import is_userspace_driver, is_vfio_driver
from kvmlab.language import _

if TYPE_CHECKING:
    from kvmlab.facts.host_facts import HostFacts
    from kvmlab.facts.types import Link, NetFunction

#: The lab's own bridge, and how its MAC begins.
LAB_BRIDGE: Final = "kvmlab0"
LAB_BRIDGE_MAC_PREFIX: Final = "02:6b:76"
_MANAGES: Final = "connection to the host"
_KIND_WORDS: Final = {
    "vlan": "VLAN",
    "macvlan": "macvlan",
    "macvtap": "macvtap",
    "ipvlan": "ipvlan",
    "ipvtap": "ipvtap",
    "macsec": "MACsec",
    "vxlan": "VXLAN",
    "geneve": "Geneve",
    "wireguard": "WireGuard",
    "bridge": "bridge",
    "bond": "bond",
    "team": "team",
    "vrf": "VRF",
    "openvswitch": "Open vSwitch",
    "tun": "tap",
}


@dataclass(frozen=True)
class User:
    """One user, and its own users. ``relation`` says what it is to the thing that it uses.

    ``lab`` marks what kvmlab itself made. ``vm`` is the VM that stands behind it, where known.
    """

    name: str
    relation: str
    users: tuple[User, ...] = ()
    lab: bool = False
    vm: str = ""

    def walk(self) -> Iterator[User]:
        """Yield this user and all users below it, depth first."""
        yield self
        for user in self.users:
            yield from user.walk()

    @property
    def phrase(self) -> str:
        """Words such as "ens1f0.100 (VLAN 100 on it)"."""
        return f"{self.name} ({self.relation})"


@dataclass(frozen=True)
class InterfaceUsers:
    """All users of one interface or function, as a tree."""

    name: str
    description: str
    users: tuple[User, ...] = ()
    #: Names of users that the user of kvmlab lets changes cut.
    cuts: tuple[str, ...] = field(default=(), repr=False)

    @property
    def foreign(self) -> tuple[User, ...]:
        """Direct users that are not the lab's own, or that somebody else uses through the lab's.

        Those are left out of which every end is named in ``cuts``.
        """
        return tuple(user for user in self.users if _ends(user) - {*self.cuts})

    @property
    def ends(self) -> tuple[str, ...]:
        """Names of the ends of all foreign users: what a change of the interface would cut."""
        return tuple(sorted(name for user in self.foreign for name in _ends(user) - {*self.cuts}))

    @property
    def in_use(self) -> bool:
        """Somebody other than the lab uses it."""
        return bool(self.foreign)

    @property
    def vms(self) -> tuple[str, ...]:
        """VMs that use it, in any way."""
        parts = (part for user in self.users for part in user.walk())
        return tuple(dict.fromkeys(part.vm for part in parts if part.vm))

    @property
    def reason(self) -> str:
        """One sentence that names the users; empty where nobody but the lab uses it."""
        if not self.foreign:
            return ""
        return f"{self.name} is in use: {'; '.join(_path(user) for user in self.foreign)}."

    @property
    def tree(self) -> str:
        """The users below each other, a line each; empty without users."""
        return "\n".join(_branches(self.users))

    def __str__(self) -> str:
        head = f"{self.name}: {self.description}" if self.description else self.name
        return f"{head}\n{self.tree or '└─ nobody uses it'}"


def _ends(user: User) -> set[str]:
    """Return the names of the foreign users at the ends of a branch: a VM, an address."""
    ends = {name for part in user.users for name in _ends(part)}
    return ends or (set() if user.lab else {user.vm or user.name})


def interface_users(facts: HostFacts, name: str, *, netns: str | None = None) -> InterfaceUsers:
    """Return who uses the interface of that name or altname; nobody where there is none."""
    link = facts.link(name, netns=netns)
    if link is None:
        return InterfaceUsers(name, "not there")
    return InterfaceUsers(link.name, _describe(link), _Tree(facts).of_link(link), facts.cuts)


def function_users(facts: HostFacts, address: str) -> InterfaceUsers:
    """Return who uses PCI function ``address``: its interfaces, its VFs, VMs and programs.

    Raises:
        Unavailable: the host has no such network function.
    """
    port = facts.port(address)
    label = f"{port.name} ({port.address})" if port.name else port.address
    return InterfaceUsers(label, port.model, _Tree(facts).of_function(port), facts.cuts)


def all_users(facts: HostFacts) -> tuple[InterfaceUsers, ...]:
    """Return the users of every function and every other hardware interface; some have none.

    VFs appear below their PF.
    """
    of_pci = {name for port in facts.ports for name in (*port.names, *port.representors)}
    functions = [
        function_users(facts, port.address)
        for port in facts.ports
        if not any(port.address in pf.vfs for pf in facts.ports)
    ]
    others = [
        interface_users(facts, link.name)
        for link in facts.links
        if link.netns is None and not link.kind and not link.loopback and link.name not in of_pci
    ]
    return (*functions, *others)


def stack_of(facts: HostFacts) -> InterfaceStack:
    """Return the stack of a host's interfaces."""
    return InterfaceStack(
        facts.links,
        facts.routes,
        default_routes=facts.default_route_interfaces,
        wireguard=facts.wireguard,
    )


class _Tree:
    """Builds trees of users; a link appears once in each."""

    def __init__(self, facts: HostFacts) -> None:
        self._facts = facts
        self._stack = stack_of(facts)
        self._vm_of_tap = {
            tap: (domain.name, domain.lab)
            for domain in facts.libvirt.domains
            for tap in domain.taps
        }

    def of_function(self, port: NetFunction) -> tuple[User, ...]:
        """Return the users of a function: interfaces, VFs, VMs and programs."""
        users: list[User] = []
        for name in port.names:
            link = self._facts.link(name, netns=port.netns)
            if link is None:
                continue
            own = self.of_link(link)
            if len(port.names) == 1:
                users += own
            elif own:
                users.append(User(name, "interface of it", own, lab=True))
        users += self._holders(port)
        users += self._out_of_sight(port)
        for index, address in enumerate(port.vfs):
            vf = next((one for one in self._facts.ports if one.address == address), None)
            own = self.of_function(vf) if vf is not None else ()
            if own:
                label = f"{address} {vf.name}" if vf is not None and vf.name else address
                users.append(User(label, f"VF {index} of it", own, lab=True))
        return tuple(users)

    def of_link(self, link: Link, above: frozenset[tuple[str | None, str]] = frozenset()) -> tuple[
        User, ...
    ]:  # fmt: skip
        """Return the users of a link; ``above`` are links of the path to it."""
        above |= {(link.netns, link.name)}
        users = [*self._own_use(link)]
        for upper in self._stack.stacked_on(link):
            if (upper.netns, upper.name) not in above:
                users.append(self._user(upper, f"{_kind_of(upper)} on it", above))
        if link.master is not None and (link.netns, link.master) not in above:
            users.append(self._master(link, above))
        users += self._guest_ends(link, above)
        parts = (part for user in users for part in user.walk())
        # It is named once, at the end of the branch that carries it.
        if self._carries(link) and all(part.relation != _MANAGES for part in parts):
            users.append(User(str(self._facts.management or "management"), _MANAGES))
        return tuple(users)

    def _carries(self, link: Link) -> bool:
        return link.netns is None and link.name in self._facts.carriers

    def _user(self, link: Link, relation: str, above: frozenset[tuple[str | None, str]]) -> User:
        vm, lab = self._vm_of_tap.get(link.name, ("", False))
        where = f" in namespace {link.netns}" if link.netns else ""
        return User(
            link.name,
            relation + where + (f" of VM {vm}" if vm else ""),
            self.of_link(link, above),
            lab=lab,
            vm=vm,
        )

    def _master(self, link: Link, above: frozenset[tuple[str | None, str]]) -> User:
        name = str(link.master)
        master = self._facts.link(name, netns=link.netns)
        if master is None:
            return User(name, "it belongs to that")
        lab = name == LAB_BRIDGE and master.mac.startswith(LAB_BRIDGE_MAC_PREFIX)
        users = self.of_link(master, above)
        if lab:
            # A tap in the lab's own bridge is the lab's VM, whoever is asked for its name.
            ends = {member.name for member in self._stack.members(master)}
            users = tuple(
                replace(user, lab=True, users=()) if user.name in ends else user for user in users
            )
        return User(name, f"{_kind_of(master)} that it belongs to", users, lab=lab)

    def _guest_ends(
        self, master: Link, above: frozenset[tuple[str | None, str]]
    ) -> tuple[User, ...]:
        """Return the taps and the like in a bridge, behind which are VMs and containers."""
        return tuple(
            self._user(member, _kind_of(member), above)
            for member in self._stack.members(master)
            if (member.netns, member.name) not in above
            and (member.kind in GUEST_KINDS or (master.name == OVS_DATAPATH and member.kind))
        )

    def _is_peer(self, link: Link, address: str) -> bool:
        """Return whether this is the address of a peer in a namespace, which the lab may use."""
        return any(
            (cable.peer_netns, cable.peer_port, cable.peer_address)
            == (link.netns, link.name, address)
            for cable in (self._facts.cable, *self._facts.cables)
            if cable is not None and cable.peer_netns
        )

    def _own_use(self, link: Link) -> Iterator[User]:
        facts = self._facts
        for address in link.addresses:
            if ip_interface(address).is_link_local:
                continue
            if self._is_peer(link, address):
                yield User(address, "peer's end of the cable", lab=True)
                continue
            # Without their number, which changes from one inspection to the next.
            connected = [
                one
                for one in facts.connections
                if link.netns is None and ip_address(one.address) == ip_interface(address).ip
            ]
            sessions = [session for one in connected for session in one.storage]
            talk = " with " + (", ".join(sessions) or "connections") if connected else ""
            yield User(address, f"address of the host{talk}")
        if link.netns is not None:
            return
        if link.name in facts.default_route_interfaces:
            yield User("default", "route through it")
        for destination in dict.fromkeys(
            route.destination
            for route in facts.routes
            if route.interface == link.name
            and route.protocol not in ("kernel", "ra")
            and route.destination not in ("default",)
            and not route.destination.startswith(("fe80:", "ff00:", "multicast", "broadcast"))
        ):
            yield User(destination, "route through it")
        if link.xdp:
            yield User("XDP program", "in its receive path")
        for domain in facts.libvirt.domains:
            stacked = {upper.name for upper in self._stack.stacked_on(link)}
            if link.name in domain.ports and not stacked & set(domain.taps):
                yield User(domain.name, "VM plugged to it", lab=domain.lab, vm=domain.name)

    def _holders(self, port: NetFunction) -> Iterator[User]:
        held = False
        for domain in self._facts.libvirt.domains:
            if port.address in domain.functions:
                held = True
                yield User(domain.name, "VM that holds it", lab=domain.lab, vm=domain.name)
        if not is_userspace_driver(port.driver):
            return
        group = str(port.iommu_group)
        for holder in self._facts.vfio_holders or ():
            if not held and group in (holder.group, holder.group.removeprefix("noiommu-")):
                held = True
                yield User(
                    f"{holder.program} (process {holder.pid})",
                    f"program that holds IOMMU group {holder.group}",
                )
        if not held:
            yield User(str(port.driver), "driver for a VM or a program that was not found")

    def _out_of_sight(self, port: NetFunction) -> Iterator[User]:
        """Yield a namespace that was not read, where a network driver has no interface here."""
        driver = port.driver
        if port.names or driver is None or is_userspace_driver(driver) or is_vfio_driver(driver):
            return
        yield User(
            driver,
            "driver whose interface is not here: another namespace or container has it",
        )


def _describe(link: Link) -> str:
    state = "up" if link.up and link.carrier else "no carrier" if link.up else "down"
    kind = _kind_of(link)
    return f"{kind}, {state}"


def _kind_of(link: Link) -> str:
    if not link.kind:
        return "hardware" if link.device or link.bus else "interface"
    word = _KIND_WORDS.get(link.kind, link.kind)
    if link.kind == "tun" and link.detail == "tun":
        word = "tun"
    return f"{word} {link.detail}" if link.kind in ("vlan", "vxlan") and link.detail else word


def _path(user: User) -> str:
    """Return a user and the most telling of its own users, in words."""
    words = [user.phrase]
    while user.users:
        user = next((one for one in user.users if not one.lab), user.users[0])
        words.append(user.phrase)
    return ", used by ".join(words)


def _branches(users: tuple[User, ...], indent: str = "") -> Iterator[str]:
    for number, user in enumerate(users, 1):
        last = number == len(users)
        yield f"{indent}{'└─' if last else '├─'} {user.name}: {_(user.relation)}"
        yield from _branches(user.users, indent + ("   " if last else "│  "))
