"""The port under test: is it there, is it free, is it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.changes import Command, HostStep, Setting, await_link
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.facts.types import Link

#: The lab's own bridge.
BRIDGE: Final = "kvmlab0"


def usable_port(facts: HostFacts, name: str) -> Link:
    """The port of that name: free, or in the lab's own bridge.

    Raises:
        Unavailable: there is none, or it belongs to a bridge or bond that is not the lab's.
    """
    port = facts.link(name)
    if port is None:
        raise Unavailable(
            f"This host has no interface {name}.",
            rule=Rule.PORT_MISSING,
            todo="`kvmlab inspect` lists the ports there are.",
        )
    if port.master not in (None, BRIDGE):
        raise Unavailable(
            f"{name} belongs to {port.master}, which is not the lab's.",
            rule=Rule.PORT_IN_USE,
            todo="Choose a port that nothing else uses.",
        )
    return port


def free_port(facts: HostFacts, name: str) -> Link:
    """The port of that name, in no bridge at all.

    Raises:
        Unavailable: as `usable_port`; or a scheme of the lab's has it in its bridge just now.
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
    """What has to change for the port to be up, and to have its link; nothing where it is up."""
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
            undo=(Command(("ip", "link", "set", "dev", port.name, "down")),),
            touches=(port.name,),
        ),
    )
