"""Ports that are given away for a while: remembered before, put back afterwards.

A port that comes back to its driver is a new interface to the kernel: its name, MTU, MAC and
addresses, its namespace and that it was up are gone. One step remembers all of them as one
setting, and its undo leads back from wherever the port is then.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Final

from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, Link, NetFunction

#: The settings of this kind: ``port:ADDRESS`` or ``port:ADDRESS@NAMESPACE``.
PORT_SETTING: Final = "port:"
VFIO: Final = "vfio-pci"
_PROBE: Final = "/sys/bus/pci/drivers_probe"
#: Before the only driver that may bind a function, where one is written in driver_override.
_ONLY: Final = "only "


def keep_port(facts: HostFacts, port: NetFunction) -> HostStep:
    """Remember a port; the undo brings it back to its driver, name, namespace and addresses.

    Raises:
        Unavailable: it has no interface that could be remembered, or belongs to a bridge or bond.
    """
    link = _link(facts, port)
    if link.master is not None:
        raise Unavailable(
            f"{link.name} belongs to {link.master}, which would lose it.",
            rule=Rule.PORT_IN_USE,
            todo="Choose a port that nothing else uses.",
        )
    state = _state(port, link)
    where = f"@{link.netns}" if link.netns else ""
    return HostStep(
        what=f"Remember {link.name} ({port.address}), to put it back as it is.",
        setting=Setting(f"{PORT_SETTING}{port.address}{where}", state, state),
        do=(),
        undo=(put_back(port, link),),
        touches=(link.name, port.address),
        settles=True,
        below_device=True,
    )


def put_back(port: NetFunction, link: Link) -> Command:
    """The command that makes a port what it was, whatever it is now."""
    script = files("kvmlab.changes").joinpath("scripts", "put_port_back.sh")
    switch = "up" if link.up else "down"
    where = (port.address, str(port.driver), port.driver_override or "-", link.name)
    own = (link.netns or "-", switch, str(link.mtu), link.mac, *_addresses(link))
    return Command(
        ("sh", "-s", "--", *where, *own),
        script.read_text(encoding="utf-8"),
        shown_as=_by_hand(port, link),
    )


def await_link(name: str) -> Command:
    """The command that waits until a port has its link, and fails where it gets none."""
    return _await_link(name, "must")


def await_link_again(name: str) -> Command:
    """For an undo: wait for the link only where there was one, and leave it at that without it."""
    return replace(
        _await_link(name, "may", more=", if it had one"),
        only_when=(f"/sys/class/net/{name}/carrier", "1"),
    )


def _await_link(name: str, need: str, *, more: str = "") -> Command:
    script = files("kvmlab.changes").joinpath("scripts", "await_link.sh")
    return Command(
        ("sh", "-s", "--", name, need),
        script.read_text(encoding="utf-8"),
        shown_as=f"(wait until {name} has its link again{more})",
    )


def take_port(facts: HostFacts, port: NetFunction) -> HostStep:
    """Move a port from its own driver to VFIO's, and back as `keep_port` does.

    Raises: as `keep_port`.
    """
    kept = keep_port(facts, port)
    folder = f"/sys/bus/pci/devices/{port.address}"
    load = () if facts.modules.get("vfio_pci") in _THERE else (Command(("modprobe", VFIO)),)
    return replace(
        kept,
        what=f"Take {port.name} ({port.address}) from its driver and give it to {VFIO}.",
        setting=replace(kept.setting, after=f"{VFIO} {_ONLY}{VFIO}"),
        do=(
            *load,
            Command.write(f"{folder}/driver_override", VFIO),
            Command.write(f"{folder}/driver/unbind", port.address),
            Command.write(_PROBE, port.address),
        ),
    )


def _by_hand(port: NetFunction, link: Link) -> str:
    folder = f"/sys/bus/pci/devices/{port.address}"
    lines = [
        f"echo > {folder}/driver_override",
        f"echo {port.address} > {folder}/driver/unbind",
        f"echo {port.address} > {_PROBE}",
        f"ip link set dev ethN name {link.name}",
    ]
    ip = "ip"
    if link.netns:
        lines.append(f"ip link set dev {link.name} netns {link.netns}")
        ip = f"ip -n {link.netns}"
    lines.append(f"{ip} link set dev {link.name} mtu {link.mtu} {'up' if link.up else 'down'}")
    lines += [f"{ip} address replace {own} dev {link.name}" for own in _addresses(link)]
    return "; ".join(lines)


_THERE: Final = ("loaded", "builtin")


def _link(facts: HostFacts, port: NetFunction) -> Link:
    link = facts.link(port.names[0], netns=port.netns) if port.names else None
    if link is None or port.driver is None:
        raise Unavailable(
            f"{port.address} has no interface on this host (its driver is "
            f"{port.driver or 'none'}): somebody else has it, or gave it away.",
            rule=Rule.PORT_IN_USE if port.driver == VFIO else Rule.PORT_MISSING,
            todo="`kvmlab doctor` says how a function gets back to its driver.",
        )
    return link


def _state(port: NetFunction, link: Link) -> str:
    """What ``read_settings.sh`` prints of the port as the facts have it."""
    switch = "up" if link.up else "down"
    only = (_ONLY + port.driver_override,) if port.driver_override else ()
    words = (str(port.driver), *only, link.name, switch, f"mtu {link.mtu}", link.mac)
    return " ".join((*words, *_addresses(link)))


def _addresses(link: Link) -> tuple[str, ...]:
    # A link-local address comes by itself when the port goes up.
    return tuple(sorted(a for a in link.addresses if not ip_interface(a).is_link_local))
