"""The whole of an inspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvmlab.clock import Clock
from kvmlab.errors import Unavailable
from kvmlab.facts.connections import Connections
from kvmlab.facts.rules import Rule
from kvmlab.facts.types import (
    CpuFacts,
    HugePages,
    IommuFacts,
    KernelFacts,
    KvmFacts,
    LibvirtFacts,
    Link,
    ModuleState,
    NetFunction,
    Route,
    VfioHolder,
)
from kvmlab.hosts import Cable
from kvmlab.serialization import to_json

if TYPE_CHECKING:
    from kvmlab.facts.interface_users import InterfaceUsers


@dataclass(frozen=True)
class HostFacts:
    """A host as it was when it was read.

    ``links`` are the interfaces of all namespaces that could be read. ``management`` is the
    interface of the connection that manages the host; ``carriers`` are all that it needs.
    ``unread`` says what could not be read, and why.
    """

    label: str
    spec: str
    host_name: str
    clock: Clock
    emulated: str | None
    cable: Cable | None
    cpu: CpuFacts
    kvm: KvmFacts
    kernel: KernelFacts
    modules: Mapping[str, ModuleState]
    libvirt: LibvirtFacts
    iommu: IommuFacts
    ports: tuple[NetFunction, ...]
    links: tuple[Link, ...]
    hugepages: tuple[HugePages, ...]
    management: str | None
    carriers: tuple[str, ...]
    default_route_interfaces: tuple[str, ...]
    unread: tuple[str, ...]
    #: Device nodes that schemes need, and whether kvmlab's user on the host may use them.
    nodes: Mapping[str, bool] = field(default_factory=dict)
    #: All cables for tests: `cable` first, then those of ports that only some schemes use.
    cables: tuple[Cable, ...] = ()
    #: Established TCP connections that end at an address of the host.
    connections: tuple[Connections, ...] = ()
    #: All routes of the host's own namespace; empty in recordings of older versions.
    routes: tuple[Route, ...] = ()
    #: Programs that have an IOMMU group open; None where only root could see them.
    vfio_holders: tuple[VfioHolder, ...] | None = None
    #: What `ip -V` said, "iproute2-6.1.0"; empty where it was not asked.
    iproute2: str = ""
    #: Size of a memory page in bytes; 0 where it was not asked.
    page_bytes: int = 0
    #: Outer endpoints of WireGuard interfaces, by interface.
    wireguard: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: PCI functions that are no network functions: their class, by address.
    other_functions: Mapping[str, str] = field(default_factory=dict)
    #: What runs that died left behind, as sentences; filled in by `Lab.inspect`.
    leftovers: tuple[str, ...] = ()
    #: Names of what the user lets changes cut (``--cut``); nothing was read for them.
    cuts: tuple[str, ...] = ()

    def port(self, name: str) -> NetFunction:
        """Return the network function with that interface or PCI address ("0000:" may be left out).

        An altname of the interface will do, too.

        Raises:
            Unavailable: the host has no such function; the message lists those it has.
        """
        link = self.link(name)
        names = {name, link.name} if link is not None else {name}
        for port in self.ports:
            known_as = {*port.names, *port.representors} if port.netns is None else {*port.names}
            if names & known_as or name in (port.address, port.address.removeprefix("0000:")):
                return port
        if link is not None:
            place = f"it is on the {link.bus} bus" if link.bus else "it is on no PCI bus"
            raise Unavailable(
                f"{link.name} of {self.label} is no PCI function: {place}.",
                rule=Rule.PORT_KIND,
                todo="Only PCI functions can be handed over: use a bridge or macvtap for it.",
            )
        known = ", ".join(f"{port.name or '–'} ({port.address})" for port in self.ports)
        raise Unavailable(
            f'{self.label} has no network function "{name}".',
            rule=Rule.PORT_MISSING,
            todo=f"It has {known}." if known else "It has none at all.",
        )

    def link(self, name: str, *, netns: str | None = None) -> Link | None:
        """Return the interface of that name or altname in ``netns`` (None: the host's own)."""
        here = [link for link in self.links if link.netns == netns]
        by_name = (link for link in here if link.name == name)
        return next(by_name, next((link for link in here if name in link.altnames), None))

    def members(self, master: str) -> tuple[Link, ...]:
        """Return the interfaces that belong to bridge or bond ``master``."""
        return tuple(link for link in self.links if link.master == master and link.netns is None)

    @property
    def users(self) -> tuple[InterfaceUsers, ...]:
        """Users of every function and other hardware interface, VFs below their PF."""
        from kvmlab.facts.interface_users import all_users

        return all_users(self)

    @property
    def bridges(self) -> tuple[Link, ...]:
        """The bridges of all namespaces."""
        return self._of_kind("bridge")

    @property
    def taps(self) -> tuple[Link, ...]:
        """The taps of all namespaces: a VM's interface on a bridge ends in one."""
        return tuple(link for link in self._of_kind("tun") if link.detail != "tun")

    @property
    def macvtaps(self) -> tuple[Link, ...]:
        """The macvtaps of all namespaces."""
        return self._of_kind("macvtap")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, texts and numbers for JSON."""
        plain: dict[str, Any] = to_json(self)
        del plain["cuts"]
        plain["users"] = [to_json(users) for users in self.users if users.users]
        for users in plain["users"]:
            del users["cuts"]
        return plain

    def __str__(self) -> str:
        """Return plain text for a terminal."""
        from kvmlab.facts.display import as_text, sheet

        return as_text(sheet(self))

    def _repr_html_(self) -> str:
        """Return HTML for a notebook."""
        from kvmlab.facts.display import as_html, sheet

        return as_html(sheet(self))

    def _of_kind(self, kind: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links if link.kind == kind)
