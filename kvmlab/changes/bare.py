"""The host's own port with the VM's address, for the time of a measurement without a VM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kvmlab.changes.change import MadeSteps
from kvmlab.changes.guard import check, refuse
from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Wire

#: Addresses cannot be read in /sys; the port's alias tells that it has the lab's.
_ALIAS: Final = "kvmlab-baseline"


@contextmanager
def addressed(facts: HostFacts, wire: Wire, vm: TestVM) -> Iterator[None]:
    """Give the port under test the VM's address for the length of a ``with`` block.

    ``vm`` names the lab that the journal speaks of; it is not touched.

    Raises:
        Unavailable: there is no such port, or it belongs to a bridge or bond.
        Refused, HostBusy, StepFailed, RevertFailed: as `Plan.apply`.
    """
    steps = address_steps(facts, wire)
    refuse(check(steps, facts))
    made = MadeSteps(vm, steps, scheme="host")
    made.make()
    try:
        yield
    finally:
        made.revert()


def address_steps(facts: HostFacts, wire: Wire) -> tuple[HostStep, ...]:
    """What has to change for the port to be up and to have the VM's address.

    Raises:
        Unavailable: there is no such port, or it belongs to a bridge or bond.
    """
    link = facts.link(wire.port)
    if link is None:
        raise Unavailable(
            f"This host has no interface {wire.port}.",
            rule=Rule.PORT_MISSING,
            todo="`kvmlab inspect` lists the ports there are.",
        )
    if link.master is not None:
        raise Unavailable(
            f"{wire.port} belongs to {link.master}, so it cannot be measured alone.",
            rule=Rule.PORT_IN_USE,
            todo="Revert the scheme that uses it, then inspect the host again.",
        )
    steps = []
    set_link = ("ip", "link", "set", "dev", wire.port)
    if not link.up:
        steps.append(
            HostStep(
                what=f"Switch the port {wire.port} on.",
                setting=Setting(f"/sys/class/net/{wire.port}/flags", "down", "up"),
                do=(Command((*set_link, "up")),),
                undo=(Command((*set_link, "down")),),
                touches=(wire.port,),
            )
        )
    if wire.vm_address not in link.addresses:
        before = link.alias or ""
        steps.append(
            HostStep(
                what=f"Give {wire.port} the VM's address {wire.vm_address}.",
                setting=Setting(f"/sys/class/net/{wire.port}/ifalias", before, _ALIAS),
                # The mark first: what is not marked has no address to take away.
                do=(
                    Command((*set_link, "alias", _ALIAS)),
                    Command(("ip", "address", "add", wire.vm_address, "dev", wire.port)),
                ),
                undo=(
                    Command(("ip", "address", "flush", "dev", wire.port, "to", wire.vm_address)),
                    Command((*set_link, "alias", before)),
                ),
                touches=(wire.port,),
            )
        )
    return tuple(steps)
