"""Interfaces and network functions, from the answers of a host's reading scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from kvmlab.errors import HostRefused, OutputError, Unavailable
from kvmlab.facts.connections import Connections, parse_connections
from kvmlab.facts.functions import network_functions
from kvmlab.facts.management import find_management
from kvmlab.facts.parse_net import parse_links, parse_routes, parse_speeds
from kvmlab.facts.parse_pci import (
    parse_classes,
    parse_descriptions,
    parse_groups,
    parse_names,
    parse_pci_tree,
    parse_virtio,
)
from kvmlab.facts.rules import Rule
from kvmlab.facts.sections import Sections, parse_sections
from kvmlab.facts.types import IommuFacts, Link, NetFunction
from kvmlab.hosts import Host, run_script
from kvmlab.hosts.reading import parse_links as parse_symlinks
from kvmlab.hosts.reading import parse_tree

_READ_SEC: Final = 60.0
_COMMAND_NOT_FOUND: Final = 127

#: Speeds in Mbit/s by namespace (None: the host's own) and interface.
Speeds = dict[tuple[str | None, str], int]


@dataclass(frozen=True)
class Net:
    """Everything of a host that has to do with its network."""

    iommu: IommuFacts
    ports: tuple[NetFunction, ...]
    links: tuple[Link, ...]
    management: str | None
    carriers: tuple[str, ...]
    default_routes: tuple[str, ...]
    unread: tuple[str, ...]
    connections: tuple[Connections, ...]


def read_net(
    host: Host, sections: Sections, files: Mapping[str, str], *, ssh_connection: str
) -> Net:
    """Put together what ``sections`` and ``files`` say; ask again only for namespaces.

    Raises:
        Unavailable: the host has no ``ip``.
        OutputError: a tool printed something unknown.
    """
    if sections.code("addresses") == _COMMAND_NOT_FOUND:
        raise Unavailable(
            f"{host.label} has no `ip` command.",
            rule=Rule.IPROUTE_MISSING,
            todo="Install iproute2 there.",
        )
    elsewhere, speeds, unread = _read_namespaces(host, sections)
    speeds |= {(None, name): speed for name, speed in parse_speeds(files).items()}
    behind = parse_virtio(sections.text("virtio"))
    links = tuple(
        replace(link, device=behind.get(link.device, link.device)) if link.device else link
        for link in (*parse_links(sections.text("addresses")), *elsewhere)
    )
    routes = [
        *parse_routes(sections.text("default_routes")),
        *parse_routes(sections.text("default_routes6")),
    ]
    default_routes = tuple(dict.fromkeys(routes))
    management = find_management(
        links=links,
        ssh_connection=ssh_connection,
        route_to_peer=parse_routes(sections.text("route_to_peer")),
        default_routes=default_routes,
    )
    iommu = IommuFacts(
        units=tuple(path.rpartition("/")[2] for path in _lines(sections.text("iommu"))),
        groups=parse_groups(sections.text("groups")),
    )
    tree = parse_pci_tree(files, parse_symlinks(sections.text("links")))
    ports = network_functions(
        tree=tree,
        names=parse_names(sections.text("names")),
        descriptions=parse_descriptions(sections.text("descriptions")),
        links=links,
        speeds=speeds,
        iommu=iommu,
        classes=parse_classes(tree),
        carriers=frozenset(management.carriers),
    )
    return Net(
        iommu=iommu,
        ports=ports,
        links=links,
        management=management.interface,
        carriers=management.carriers,
        default_routes=default_routes,
        unread=unread,
        # Recordings of older scripts lack it; where it is cut off, later sections are missing too.
        connections=parse_connections(sections.texts.get("connections", "")),
    )


def _read_namespaces(
    host: Host, sections: Sections
) -> tuple[tuple[Link, ...], Speeds, tuple[str, ...]]:
    """Interfaces in network namespaces, their speeds, and what could not be read."""
    names = [path.rpartition("/")[2] for path in _lines(sections.text("namespaces"))]
    if any(f"addresses {name}" not in sections.texts for name in names):
        # Whoever reads is not root there: once more, with sudo.
        try:
            answer = run_script(
                host.runner,
                "kvmlab.facts",
                "read_namespaces.sh",
                *names,
                timeout_sec=_READ_SEC,
                root=True,
            )
        except HostRefused as error:
            return (), {}, (f"Network namespaces ({', '.join(names)}): {error.message}",)
        sections = parse_sections(answer.stdout)
    links: list[Link] = []
    speeds: Speeds = {}
    unread = []
    for name in names:
        try:
            links += parse_links(sections.text(f"addresses {name}"), netns=name)
            found = parse_speeds(parse_tree(sections.text(f"speeds {name}")))
        except OutputError as error:
            unread.append(f"Network namespace {name}: {error.message}")
            continue
        speeds |= {(name, link): speed for link, speed in found.items()}
    return tuple(links), speeds, tuple(unread)


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]
