"""The whole of an inspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

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
)
from kvmlab.hosts import Wire


@dataclass(frozen=True)
class HostFacts:
    """What a host is and has, as it was when it was read.

    ``links`` are the interfaces of all namespaces that could be read. ``management`` is the
    interface of the connection that manages the host; ``carriers`` are all that it needs.
    ``unread`` says what could not be read, and why.
    """

    label: str
    spec: str
    host_name: str
    clock: Clock
    emulated: str | None
    wire: Wire | None
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
    #: All cables for tests: `wire` first, then those of ports that only some schemes use.
    wires: tuple[Wire, ...] = ()
    #: Established TCP connections that end at an address of the host.
    connections: tuple[Connections, ...] = ()
    #: What runs that died left behind, as sentences; filled in by `Lab.inspect`.
    leftovers: tuple[str, ...] = ()

    def port(self, name: str) -> NetFunction:
        """The network function with that interface name or PCI address ("0000:" may be left out).

        Raises:
            Unavailable: the host has no such function; the message lists those it has.
        """
        for port in self.ports:
            if name in port.names or name in (port.address, port.address.removeprefix("0000:")):
                return port
        known = ", ".join(f"{port.name or '–'} ({port.address})" for port in self.ports)
        raise Unavailable(
            f'{self.label} has no network function "{name}".',
            rule=Rule.PORT_MISSING,
            todo=f"It has {known}." if known else "It has none at all.",
        )

    def link(self, name: str, *, netns: str | None = None) -> Link | None:
        """The interface of that name in namespace ``netns`` (None: the host's own)."""
        return next(
            (link for link in self.links if link.name == name and link.netns == netns), None
        )

    def members(self, master: str) -> tuple[Link, ...]:
        """The interfaces that belong to bridge or bond ``master``."""
        return tuple(link for link in self.links if link.master == master and link.netns is None)

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
        """Everything as dictionaries, lists, texts and numbers, fit for JSON."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain

    def __str__(self) -> str:
        """For a terminal."""
        from kvmlab.facts.display import as_text, sheet

        return as_text(sheet(self))

    def _repr_html_(self) -> str:
        """For a notebook."""
        from kvmlab.facts.display import as_html, sheet

        return as_html(sheet(self))

    def _of_kind(self, kind: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links if link.kind == kind)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
