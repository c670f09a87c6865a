"""Kinds of port: what an interface is, and why the schemes cannot use it where it is no NIC."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from kvmlab.facts.functions import is_representor

if TYPE_CHECKING:
    from kvmlab.facts.host_facts import HostFacts
    from kvmlab.facts.types import Link, NetFunction

#: Names that systemd gives to wireless interfaces; the kernel's own are wlanN.
_WIRELESS_NAME: Final = re.compile(r"wl(an\d+|[opsxPbc].*)")
_WWAN_NAME: Final = re.compile(r"ww(an\d+|[opsxPbc].*)")
#: Drivers of Wi-Fi cards, by how their names begin.
_WIRELESS_DRIVERS: Final = (
    "iwl", "ath", "rtw", "rtl8", "r8", "brcmf", "brcms", "wl12", "mt76", "mt79", "mwifiex", "mwl",
    "b43", "bcma", "rt2", "zd12", "carl9", "wil6210", "qtnf",
)  # fmt: skip
_WIRED_R8: Final = ("r8169", "r8152", "r8168", "r8125", "rtl8150", "rtl8139")
#: PCI class of controllers that are neither Ethernet nor another network by its number: Wi-Fi.
_OTHER_CONTROLLER: Final = "0x0280"
_INFINIBAND: Final = "0x0207"


class PortKind(StrEnum):
    """Kinds of interface, by what a scheme can do with them."""

    ETHERNET = "Ethernet port"
    VF = "VF"
    WIRELESS = "wireless client"
    MOBILE = "mobile modem"
    INFINIBAND = "InfiniBand port"
    REPRESENTOR = "representor"
    LOOPBACK = "loopback"
    VIRTUAL = "virtual interface"
    OTHER = "interface without Ethernet frames"


def port_kind(facts: HostFacts, link: Link) -> PortKind:
    """Return what ``link`` is."""
    function = _function_of(facts, link)
    kinds = (
        (link.loopback, PortKind.LOOPBACK),
        (is_representor(link), PortKind.REPRESENTOR),
        (is_wireless(link, function), PortKind.WIRELESS),
        (_WWAN_NAME.fullmatch(link.name) is not None, PortKind.MOBILE),
        (_is_infiniband(link, function), PortKind.INFINIBAND),
        (link.link_type != "ether", PortKind.OTHER),
        (bool(link.kind), PortKind.VIRTUAL),
        (function is not None and function.vf_of is not None, PortKind.VF),
    )
    return next((kind for fits, kind in kinds if fits), PortKind.ETHERNET)


def unfit_reason(facts: HostFacts, link: Link) -> str:
    """Return why no scheme can use ``link`` as its port; empty where one could.

    VFs, and virtual interfaces other than bridges, are left to a person who names them.
    """
    name = link.name
    if link.kind in ("bridge", "openvswitch"):
        return f"{name} is a bridge itself, and no port."
    return {
        PortKind.LOOPBACK: f"{name} is the loopback interface.",
        PortKind.REPRESENTOR: f"{name} is a representor: the end of a VF in the card's own switch, "
        "not a port to the outside.",
        PortKind.WIRELESS: f"{name} is a wireless client: its access point takes frames of one MAC "
        "only, so that it can be neither in a bridge nor below a macvtap.",
        PortKind.MOBILE: f"{name} is a mobile modem, which has no Ethernet behind it.",
        PortKind.INFINIBAND: f"{name} is an InfiniBand port: it carries no Ethernet frames, and a "
        "VM's card would get no MAC on it.",
        PortKind.OTHER: f"{name} carries no Ethernet frames (link type {link.link_type}).",
    }.get(port_kind(facts, link), "")


def is_wireless(link: Link, function: NetFunction | None = None) -> bool:
    """Return whether ``link`` is a Wi-Fi interface, by /sys, its name, its driver or its class."""
    if link.wireless or _WIRELESS_NAME.fullmatch(link.name) is not None:
        return True
    if function is None:
        return False
    driver = function.driver or ""
    by_driver = driver.startswith(_WIRELESS_DRIVERS) and not driver.startswith(_WIRED_R8)
    return by_driver and function.pci_class.startswith(_OTHER_CONTROLLER)


def switchdev_ports(facts: HostFacts, link: Link) -> tuple[Link, ...]:
    """Return the representors in the switch that ``link`` is a port of; none in legacy mode."""
    if not link.switch_id:
        return ()
    return tuple(
        other
        for other in facts.links
        if other.switch_id == link.switch_id and other.name != link.name and is_representor(other)
    )


def _is_infiniband(link: Link, function: NetFunction | None) -> bool:
    by_class = function is not None and function.pci_class.startswith(_INFINIBAND)
    return link.link_type == "infiniband" or (by_class and link.link_type != "ether")


def _function_of(facts: HostFacts, link: Link) -> NetFunction | None:
    return next(
        (
            port
            for port in facts.ports
            if port.netns == link.netns and link.name in (*port.names, *port.representors)
        ),
        None,
    )
