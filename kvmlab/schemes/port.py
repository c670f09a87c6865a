"""The port under test: that it is there, free, of a fitting kind, and on."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from kvmlab.changes import Command, HostStep, Setting, await_link, operations, protected_interfaces
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule
from kvmlab.facts.interface_users import LAB_BRIDGE, interface_users
from kvmlab.facts.port_kind import unfit_reason
from kvmlab.facts.rules import BOOK, unavailable

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.facts.types import Link

#: The lab's own bridge.
BRIDGE: Final = LAB_BRIDGE


def usable_port(facts: HostFacts, name: str) -> Link:
    """Return the port of that name, which is free or in the lab's own bridge.

    Raises:
        Unavailable: there is none; it is of a kind that no scheme can use; or somebody other
            than the lab uses it.
    """
    port = facts.link(name)
    if port is None:
        raise Unavailable(
            f"This host has no interface {name}.",
            rule=Rule.PORT_MISSING,
            todo="`kvmlab inspect` lists the ports there are.",
        )
    unfit = unfit_reason(facts, port)
    if unfit:
        raise unavailable(Rule.PORT_KIND, unfit)
    users = interface_users(facts, port.name)
    if port.master not in (None, BRIDGE):
        raise Unavailable(
            f"{port.name} belongs to {port.master}, which is not the lab's. {users.reason}",
            rule=Rule.PORT_IN_USE,
            todo="Choose a port that nothing else uses.",
            evidence=str(users),
        )
    # What carries the connection to the host the guard refuses, with a reason of its own.
    if users.in_use and port.name not in protected_interfaces(facts):
        names = " ".join(f"--cut {shlex.quote(name)}" for name in users.ends)
        raise Unavailable(
            users.reason,
            rule=Rule.PORT_IN_USE,
            todo=f"{BOOK[Rule.PORT_IN_USE].fix} Or cut it knowingly, by its name: {names}",
            evidence=str(users),
        )
    return port


def free_port(facts: HostFacts, name: str) -> Link:
    """Return the port of that name, which is in no bridge at all.

    Raises:
        Unavailable: as `usable_port`; or it is in the lab's bridge just now.
    """
    port = usable_port(facts, name)
    if port.master is not None:
        raise Unavailable(
            f"{name} is in the lab's bridge {port.master}: a port serves one of the two.",
            rule=Rule.PORT_IN_USE,
            todo="Revert the scheme that uses the bridge, then inspect the host again.",
        )
    return port


def switched_on(port: Link, *, linked: bool = False) -> tuple[HostStep, ...]:
    """Return the step that sets the port up, ``linked`` until it has its link; none if it is up."""
    if port.up:
        return ()
    return (
        HostStep(
            what=f"Switch the port {port.name} on.",
            setting=Setting(f"/sys/class/net/{port.name}/flags", "down", "up"),
            do=(
                Command(("ip", "link", "set", "dev", port.name, "up")),
                *((await_link(port.name),) if linked else ()),
            ),
            undo=(operations.switch_link(port.name, "down"),),
            touches=(port.name,),
        ),
    )
