"""Interfaces, routes and network functions, from the answers of a host's reading scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Any, Final

from kvmlab.errors import HostRefused, OutputError, Unavailable
from kvmlab.facts.connections import Connections, parse_connections
from kvmlab.facts.functions import network_functions
from kvmlab.facts.management import find_management
from kvmlab.facts.pci import (
    count_other_groups,
    parse_classes,
    parse_descriptions,
    parse_group_names,
    parse_groups,
    parse_names,
    parse_pci_tree,
    parse_virtio,
)
from kvmlab.facts.rules import Rule
from kvmlab.facts.types import IommuFacts, Link, NetFunction, Route, VfSettings
from kvmlab.facts.versions import MINIMUM_IPROUTE2, tool_version
from kvmlab.hosts import Host, ScriptOutput, parse_files, parse_output, run_script
from kvmlab.stored_files import parse_json

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
    routes: tuple[Route, ...]
    wireguard: dict[str, tuple[str, ...]]
    other_functions: dict[str, str]


def read_net(
    host: Host, output: ScriptOutput, files: Mapping[str, str], *, ssh_connection: str
) -> Net:
    """Combine what ``output`` and ``files`` say; ask the host again only for namespaces.

    Raises:
        Unavailable: the host has no ``ip``.
        OutputError: a tool printed something unknown.
    """
    _require_iproute(host, output)
    elsewhere, speeds, unread = _read_namespaces(host, output)
    speeds |= {(None, name): speed for name, speed in parse_speeds(files).items()}
    links = (*_own_links(output, files), *elsewhere)
    links = tuple(_behind_virtio(link, parse_virtio(output.text("virtio"))) for link in links)
    table = (
        *parse_route_table(output.optional_text("routes")),
        *parse_route_table(output.optional_text("routes6")),
    )
    wireguard = parse_endpoints(output.optional_text("wireguard"))
    routes = [
        *parse_routes(output.text("default_routes")),
        *parse_routes(output.text("default_routes6")),
    ]
    default_routes = tuple(dict.fromkeys(routes))
    management = find_management(
        links=links,
        ssh_connection=ssh_connection,
        route_to_peer=parse_routes(output.text("route_to_peer")),
        default_routes=default_routes,
        routes=table,
        wireguard=wireguard,
    )
    iommu = _iommu(output, files)
    classes = parse_classes(parse_pci_tree(files, {}))
    tree = parse_pci_tree(files, parse_files(output.text("links")))
    ports = network_functions(
        tree=tree,
        names=parse_names(output.text("names")),
        descriptions=parse_descriptions(output.text("descriptions")),
        links=links,
        speeds=speeds,
        iommu=iommu,
        classes=classes,
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
        connections=parse_connections(output.optional_text("connections")),
        routes=table,
        wireguard=wireguard,
        other_functions={
            address: f"0x{value:06x}"
            for address, value in classes.items()
            if value >> 16 != _NETWORK
        },
    )


def _iommu(output: ScriptOutput, files: Mapping[str, str]) -> IommuFacts:
    groups = output.text("groups")
    return IommuFacts(
        units=tuple(path.rpartition("/")[2] for path in _lines(output.text("iommu"))),
        groups=parse_groups(groups, names=parse_group_names(files)),
        other_groups=count_other_groups(groups),
    )


def _require_iproute(host: Host, output: ScriptOutput) -> None:
    """See that ``ip -j`` answered: an empty answer of a tool that failed is not "no interfaces"."""
    code = output.code("addresses")
    if code == _COMMAND_NOT_FOUND:
        raise Unavailable(
            f"{host.label} has no `ip` command.",
            rule=Rule.IPROUTE_MISSING,
            todo=f"Install iproute2 {MINIMUM_IPROUTE2} or newer there.",
        )
    if code != 0 or not output.text("addresses").strip():
        version = tool_version(output.optional_text("versions"), "iproute2")
        raise Unavailable(
            f"`ip -j -d address show` on {host.label} ended with {code} and printed no JSON: its "
            f"`ip` is {version or 'of a version that does not say its name'}, and kvmlab needs "
            f"iproute2 {MINIMUM_IPROUTE2} or newer.",
            rule=Rule.IPROUTE_MISSING,
            todo="Install iproute2 there; the `ip` of BusyBox and of CentOS 7 has no `-j`.",
        )


def _own_links(output: ScriptOutput, files: Mapping[str, str]) -> tuple[Link, ...]:
    """Return the links of the host's own namespace, with what only /sys knows of them."""
    # "/sys/class/net/wlan0/wireless"
    paths = (path.split("/") for path in _lines(output.optional_text("wireless")))
    wireless = {name for path in paths for name in path[4:5]}
    links = []
    for link in parse_links(output.text("addresses")):
        folder = f"/sys/class/net/{link.name}"
        links.append(
            replace(
                link,
                wireless=link.name in wireless,
                phys_port_name=link.phys_port_name or files.get(f"{folder}/phys_port_name", ""),
                switch_id=link.switch_id or files.get(f"{folder}/phys_switch_id", ""),
            )
        )
    return tuple(links)


def _behind_virtio(link: Link, behind: Mapping[str, str]) -> Link:
    return replace(link, device=behind.get(link.device, link.device)) if link.device else link


def _read_namespaces(
    host: Host, output: ScriptOutput
) -> tuple[tuple[Link, ...], Speeds, tuple[str, ...]]:
    """Read interfaces in network namespaces, their speeds, and what could not be read."""
    names = [path.rpartition("/")[2] for path in _lines(output.text("namespaces"))]
    if any(f"addresses {name}" not in output for name in names):
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
        output = parse_output(answer.stdout)
    links: list[Link] = []
    speeds: Speeds = {}
    unread = []
    for name in names:
        try:
            links += parse_links(output.text(f"addresses {name}"), netns=name)
            namespace_speeds = parse_speeds(parse_files(output.text(f"speeds {name}")))
        except OutputError as error:
            unread.append(f"Network namespace {name}: {error.message}")
            continue
        speeds |= {(name, link): speed for link, speed in namespace_speeds.items()}
    return tuple(links), speeds, tuple(unread)


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


_SPEED: Final = re.compile(r"/sys/class/net/([^/]+)/speed")
#: How older kernels print a speed that they do not know.
_UNKNOWN_SPEED: Final = 0xFFFFFFFF
#: The kernel's number of programs of XDP that run in generic mode (XDP_ATTACHED_SKB).
_GENERIC_XDP: Final = 2
_DETAIL_KEYS: Final = {
    "tun": "type",
    "macvtap": "mode",
    "macvlan": "mode",
    "ipvlan": "mode",
    "vlan": "id",
    "vxlan": "id",
    "bond": "mode",
}
#: Network controllers, as the first byte of the class.
_NETWORK: Final = 0x02


def parse_links(text: str, *, netns: str | None = None) -> tuple[Link, ...]:
    """Parse ``ip -j -d address show``.

    ::

        [{"ifindex":3,"ifname":"p2p1","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],
          "mtu":1500,"operstate":"UP","link_type":"ether","address":"00:1b:21:76:00:10",
          "parentbus":"pci","parentdev":"0000:0b:00.0","vfinfo_list":[],
          "addr_info":[{"family":"inet","local":"192.0.2.1","prefixlen":24}]}]

    Raises:
        OutputError: it is not what ``ip`` prints.
    """
    return tuple(_link(record, netns) for record in _records(text))


def parse_routes(text: str) -> tuple[str, ...]:
    """Return the interfaces of the routes of ``ip -j route show`` or ``ip -j route get``.

    ::

        [{"dst":"default","gateway":"10.0.2.2","dev":"mgmt0","flags":[]}]

    A multipath route has one interface a hop::

        [{"dst":"default","flags":[],"nexthops":[{"gateway":"192.0.2.254","dev":"eth0"}]}]

    Raises:
        OutputError: it is not what ``ip`` prints.
    """
    interfaces: dict[str, None] = {}
    for record in _records(text):
        for hop in (record, *_list(record, "nexthops")):
            if isinstance(hop, dict) and isinstance(hop.get("dev"), str):
                interfaces[hop["dev"]] = None
    return tuple(interfaces)


def parse_route_table(text: str) -> tuple[Route, ...]:
    """Parse ``ip -j route show table all``: one route for each next hop.

    ::

        [{"dst":"198.51.100.0/24","gateway":"192.0.2.9","dev":"ens1f0","protocol":"static",
          "flags":[]}]

    Raises:
        OutputError: it is not what ``ip`` prints.
    """
    routes = []
    for record in _records(text):
        if record.get("type", "unicast") != "unicast":
            continue  # local, broadcast, blackhole: nothing leaves by them
        for hop in (record, *_list(record, "nexthops")):
            if isinstance(hop, dict) and isinstance(hop.get("dev"), str):
                metric = record.get("metric")
                routes.append(
                    Route(
                        destination=_text(record, "dst"),
                        interface=hop["dev"],
                        gateway=_text(hop, "gateway"),
                        protocol=_text(record, "protocol"),
                        metric=metric if isinstance(metric, int) else 0,
                    )
                )
    return tuple(routes)


def parse_endpoints(text: str) -> dict[str, tuple[str, ...]]:
    """Parse ``wg show all endpoints``: addresses of peers by interface.

    ::

        wg0	XhT…=	203.0.113.9:51820
        wg0	9aB…=	[2001:db8::9]:51820
        wg0	Qq1…=	(none)
    """
    endpoints: dict[str, list[str]] = {}
    for line in _lines(text):
        words = line.split()
        if len(words) != 3:
            continue
        known = endpoints.setdefault(words[0], [])
        if words[2] != "(none)":
            known.append(words[2].rpartition(":")[0].strip("[]"))
    return {name: tuple(ends) for name, ends in endpoints.items()}


def parse_speeds(tree: Mapping[str, str]) -> dict[str, int]:
    """Parse speeds in Mbit/s, ``{"/sys/class/net/eth0/speed": "1000"}``, without unknown ones."""
    speeds = {}
    for path, value in tree.items():
        match = _SPEED.fullmatch(path)
        known = re.fullmatch(r"[1-9]\d*", value, re.ASCII) is not None
        if match is not None and known and int(value) != _UNKNOWN_SPEED:
            speeds[match[1]] = int(value)
    return speeds


def _records(text: str) -> list[dict[str, Any]]:
    """Return the records of ``ip -j``, which prints nothing, ``[]`` or ``[{},…]`` for none."""
    if not text.strip():
        return []
    try:
        document = parse_json(text)
    except ValueError as error:
        raise _unknown(text) from error
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise _unknown(text)
    return [entry for entry in document if entry]


def _checked_address(text: str) -> str:
    ip_interface(text)  # raises ValueError
    return text


def _link(record: dict[str, Any], netns: str | None) -> Link:
    info = _dict(record, "linkinfo")
    kind = _text(info, "info_kind")
    data = _dict(info, "info_data")
    port = _dict(info, "info_slave_data")
    flags = _list(record, "flags")
    try:
        return Link(
            name=str(record["ifname"]),
            index=int(record["ifindex"]),
            kind=kind,
            up="UP" in flags,
            carrier="LOWER_UP" in flags,
            mtu=int(record["mtu"]),
            mac=_text(record, "address"),
            master=_text(record, "master") or None,
            parent=_text(record, "link") or _text(data, "link") or None,
            addresses=tuple(
                _checked_address(f"{entry['local']}/{entry['prefixlen']}")
                for entry in _list(record, "addr_info")
                if isinstance(entry, dict) and "local" in entry
            ),
            alias=_text(record, "ifalias") or None,
            netns=netns,
            device=_text(record, "parentdev") or None,
            detail=str(data.get(_DETAIL_KEYS.get(kind, ""), "")),
            loopback="LOOPBACK" in flags,
            vfs=tuple(_vf(entry) for entry in _list(record, "vfinfo_list")),
            link_type=_text(record, "link_type") or "ether",
            altnames=tuple(str(name) for name in _list(record, "altnames")),
            phys_port_name=_text(record, "phys_port_name") or _text(record, "portname"),
            switch_id=_text(record, "phys_switch_id") or _text(record, "switchid"),
            bus=_text(record, "parentbus"),
            parent_index=_number(record, "link_index"),
            remote=_text(data, "remote") or _text(data, "remote6"),
            local=_text(data, "local") or _text(data, "local6"),
            xdp="xdp" in record,
            generic_xdp=_has_generic_xdp(_dict(record, "xdp")),
            learns=port.get("learning") is True,
            floods=port.get("flood", port.get("unicast_flood")) is not False,
            locked=port.get("locked") is True,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unknown(json.dumps(record)) from error


def _has_generic_xdp(xdp: dict[str, Any]) -> bool:
    """Return whether a program of XDP runs in generic mode; several may be there.

    ::

        {"mode": 4, "attached": [{"mode": 1, "id": 7}, {"mode": 2, "id": 8}]}
    """
    programs = [xdp, *(entry for entry in _list(xdp, "attached") if isinstance(entry, dict))]
    return any(program.get("mode") == _GENERIC_XDP for program in programs)


def _vf(entry: Any) -> VfSettings:
    """Parse one VF as its PF describes it.

    ::

    {"vf":0,"link_type":"ether","address":"02:00:00:00:00:01","broadcast":"ff:ff:ff:ff:ff:ff",
     "vlan_list":[{}],"rate":{"max_tx":0,"min_tx":0},"spoofchk":true,"link_state":"auto",
     "trust":false,"query_rss_en":false}
    """
    index = int(entry["vf"])
    # iproute2 before 5.3 has `mac`, and `vlan` and the rate beside the others.
    vlans = [v["vlan"] for v in _list(entry, "vlan_list") if isinstance(v, dict) and v.get("vlan")]
    rate = _dict(entry, "rate").get("max_tx") or entry.get("max_tx_rate") or entry.get("tx_rate")
    return VfSettings(
        index=index,
        mac=str(entry.get("address", entry.get("mac", ""))),
        spoof_check=_switch(entry.get("spoofchk")),
        trusted=_switch(entry.get("trust")),
        link=entry.get("link_state"),
        vlan=next(iter(vlans), entry.get("vlan") or None),
        max_tx_rate=rate or None,
    )


def _switch(value: object) -> bool | None:
    if isinstance(value, str):
        return {"on": True, "off": False}.get(value)
    return value if isinstance(value, bool) else None


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _number(record: Mapping[str, Any], key: str) -> int | None:
    value = record.get(key)
    return value if isinstance(value, int) else None


def _list(record: Mapping[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else []


def _dict(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _unknown(text: str) -> OutputError:
    return OutputError(
        "The output of `ip -j` could not be understood.",
        todo=f"iproute2 {MINIMUM_IPROUTE2} or newer is needed on the host.",
        evidence=text[:400],
    )
