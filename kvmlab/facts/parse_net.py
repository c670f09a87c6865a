"""Parsers of ``ip -j`` and of what /sys says about interfaces."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from kvmlab.errors import OutputError
from kvmlab.facts.types import Link, VfSettings

_SPEED: Final = re.compile(r"/sys/class/net/([^/]+)/speed")
#: How older kernels print a speed that they do not know.
_UNKNOWN_SPEED: Final = 0xFFFFFFFF
_DETAIL_KEYS: Final = {"tun": "type", "macvtap": "mode", "macvlan": "mode", "vlan": "id"}


def parse_links(text: str, *, netns: str | None = None) -> tuple[Link, ...]:
    """Interfaces from ``ip -j -d address show``.

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
    """The interfaces of the routes from ``ip -j route show`` or ``ip -j route get``.

    ::

        [{"dst":"default","gateway":"10.0.2.2","dev":"mgmt0","flags":[]}]

    A multipath route has one interface a hop::

        [{"dst":"default","flags":[],"nexthops":[{"gateway":"192.0.2.254","dev":"eth0"}]}]

    Raises:
        OutputError: it is not what ``ip`` prints.
    """
    found: dict[str, None] = {}
    for record in _records(text):
        for hop in (record, *_list(record, "nexthops")):
            if isinstance(hop, dict) and isinstance(hop.get("dev"), str):
                found[hop["dev"]] = None
    return tuple(found)


def parse_speeds(tree: Mapping[str, str]) -> dict[str, int]:
    """Speeds in Mbit/s from ``{"/sys/class/net/eth0/speed": "1000"}``; unknown ones left out."""
    speeds = {}
    for path, value in tree.items():
        found = _SPEED.fullmatch(path)
        known = re.fullmatch(r"[1-9]\d*", value, re.ASCII) is not None
        if found is not None and known and int(value) != _UNKNOWN_SPEED:
            speeds[found[1]] = int(value)
    return speeds


def _records(text: str) -> list[dict[str, Any]]:
    """``ip`` prints nothing at all, or ``[]``, or ``[{},…]`` where it has nothing to say."""
    if not text.strip():
        return []
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _unknown(text) from error
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise _unknown(text)
    return [entry for entry in document if entry]


def _link(record: dict[str, Any], netns: str | None) -> Link:
    info = _dict(record, "linkinfo")
    kind = _text(info, "info_kind")
    data = _dict(info, "info_data")
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
            parent=_text(record, "link") or None,
            addresses=tuple(
                f"{entry['local']}/{entry['prefixlen']}"
                for entry in _list(record, "addr_info")
                if isinstance(entry, dict) and "local" in entry
            ),
            alias=_text(record, "ifalias") or None,
            netns=netns,
            device=_text(record, "parentdev") or None,
            detail=str(data.get(_DETAIL_KEYS.get(kind, ""), "")),
            loopback="LOOPBACK" in flags,
            vfs=tuple(_vf(entry) for entry in _list(record, "vfinfo_list")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unknown(json.dumps(record)) from error


def _vf(entry: Any) -> VfSettings:
    """One VF as its PF sees it.

    ::

    {"vf":0,"link_type":"ether","address":"02:00:00:00:00:01","broadcast":"ff:ff:ff:ff:ff:ff",
     "vlan_list":[{}],"rate":{"max_tx":0,"min_tx":0},"spoofchk":true,"link_state":"auto",
     "trust":false,"query_rss_en":false}
    """
    return VfSettings(
        index=int(entry["vf"]),
        mac=str(entry.get("address", "")),
        spoof_check=entry.get("spoofchk"),
        trusted=entry.get("trust"),
        link=entry.get("link_state"),
        vlan=next((v["vlan"] for v in _list(entry, "vlan_list") if v.get("vlan")), None),
        max_tx_rate=_dict(entry, "rate").get("max_tx") or None,
    )


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _list(record: Mapping[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else []


def _dict(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _unknown(text: str) -> OutputError:
    return OutputError(
        "The output of `ip -j` could not be understood.",
        todo="iproute2 5.13 or newer is needed on the host.",
        evidence=text[:400],
    )
