"""Ports that leave their driver for a while: remembered before, put back afterwards.

A port that comes back to its driver is a new interface to the kernel: its name, MTU, MAC and
addresses, namespace and state are lost. One step remembers all of them as one setting, and its
undo restores them from any state of the port.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Final

from kvmlab.changes import operations
from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.errors import OutputError, Unavailable
from kvmlab.facts import Rule
from kvmlab.facts.vfio import is_vfio_driver
from kvmlab.hosts import script_text

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

    A function with several interfaces is remembered with all of them.

    Raises:
        Unavailable: it has no interface that could be remembered, or belongs to a bridge or bond.
    """
    links = _links(facts, port)
    for link in links:
        if link.master is not None:
            raise Unavailable(
                f"{link.name} belongs to {link.master}, which would lose it.",
                rule=Rule.PORT_IN_USE,
                todo="Choose a port that nothing else uses.",
            )
    state = _state(port, links)
    netns = links[0].netns
    where = f"@{netns}" if netns else ""
    names = " and ".join(link.name for link in links)
    return HostStep(
        what=f"Remember {names} ({port.address}), to put it back as it is.",
        setting=Setting(f"{PORT_SETTING}{port.address}{where}", state, state),
        do=(),
        undo=(put_back(port, *links),),
        touches=(*(link.name for link in links), port.address),
        settles=True,
        below_device=True,
    )


def put_back(port: NetFunction, *links: Link) -> Command:
    """Return the command that restores a port, with these interfaces, from any state.

    Raises:
        OutputError: the host gave an interface values that no interface has.
    """
    words: list[str] = []
    for link in links:
        words += [operations.NEXT_INTERFACE] if words else []
        words += [link.name, *_interface_words(link)]
    fixed = (port.address, str(port.driver), port.driver_override or "-", links[0].netns or "-")
    try:
        return operations.restore_port(*fixed, *words)
    except ValueError as error:
        raise OutputError(
            f"{port.address} could not be put back as the host describes it: {error}."
        ) from error


def _interface_words(link: Link) -> tuple[str, ...]:
    """Return switch, MTU, MAC and addresses of an interface."""
    return ("up" if link.up else "down", str(link.mtu), link.mac, *_addresses(link))


def await_link(name: str) -> Command:
    """Return the command that waits for a port's link, and fails without one."""
    return Command(
        ("sh", "-s", "--", name, "must"),
        script_text("kvmlab.changes", "await_link.sh"),
        shown_as=f"(wait until {name} has its link again)",
    )


def take_port(facts: HostFacts, port: NetFunction) -> HostStep:
    """Return the step that moves a port to VFIO's driver; its undo is that of `keep_port`.

    Raises: as `keep_port`.
    """
    remembered = keep_port(facts, port)
    folder = f"/sys/bus/pci/devices/{port.address}"
    load = () if facts.modules.get("vfio_pci") in _LOADED else (Command(("modprobe", VFIO)),)
    return replace(
        remembered,
        what=f"Take {port.name} ({port.address}) from its driver and give it to {VFIO}.",
        setting=replace(remembered.setting, after=f"{VFIO} {_ONLY}{VFIO}"),
        do=(
            *load,
            Command.write(f"{folder}/driver_override", VFIO),
            Command.write(f"{folder}/driver/unbind", port.address),
            Command.write(_PROBE, port.address),
        ),
    )


_LOADED: Final = ("loaded", "builtin")


def _links(facts: HostFacts, port: NetFunction) -> tuple[Link, ...]:
    """Return the interfaces of a function, in the order of their names."""
    candidates = [facts.link(name, netns=port.netns) for name in sorted(port.names)]
    links = tuple(link for link in candidates if link is not None)
    if not links or port.driver is None:
        raise Unavailable(
            f"{port.address} has no interface on this host (its driver is "
            f"{port.driver or 'none'}): somebody else has it, or gave it away.",
            rule=Rule.PORT_IN_USE if is_vfio_driver(port.driver) else Rule.PORT_MISSING,
            todo="`kvmlab doctor` says how a function gets back to its driver.",
        )
    return links


def _state(port: NetFunction, links: tuple[Link, ...]) -> str:
    """Return what ``read_settings.sh`` prints of the port as the facts have it."""
    words = [str(port.driver)]
    words += [_ONLY + port.driver_override] if port.driver_override else []
    for link in links:
        switch = "up" if link.up else "down"
        words += [link.name, switch, f"mtu {link.mtu}", link.mac, *_addresses(link)]
    return " ".join(words)


def _addresses(link: Link) -> tuple[str, ...]:
    # A link-local address comes by itself when the port goes up.
    return tuple(sorted(a for a in link.addresses if not ip_interface(a).is_link_local))
