"""Temporary addresses on the host, for measurements without a VM and for reachability tests.

An address is a change like any other: checked by the guard, journalled, undone. /sys does not show
addresses, so the device's alias (``ifalias``) marks that it has one of the lab's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kvmlab.changes import operations
from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.guard import check, refuse
from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.changes.nic import Nic
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts, Link
    from kvmlab.hosts import Cable

#: A documentation network (RFC 5737) that nothing else uses, for host and VM to reach each other.
HOST_ADDRESS: Final = "203.0.113.1/30"
VM_ADDRESS: Final = "203.0.113.2/30"
_BASELINE_ALIAS: Final = "kvmlab-baseline"
_REACHABILITY_ALIAS: Final = "kvmlab-meeting"
_GUEST_SEC: Final = 30


@contextmanager
def addressed(facts: HostFacts, cable: Cable, vm: TestVM) -> Iterator[None]:
    """Give the port under test the VM's address for the length of a ``with`` block.

    ``vm`` names the lab in the journal; it is not touched.

    Raises:
        Unavailable: there is no such port, or it belongs to a bridge or bond.
        Refused, HostBusy, StepFailed, RevertFailed: as `Plan.apply`.
    """
    with _applied(address_steps(facts, cable), facts, vm, scheme="host"):
        yield


@contextmanager
def shared_network(facts: HostFacts, vm: TestVM, nic: Nic, *, guest_mac: str = "") -> Iterator[str]:
    """Give the host and the VM an address each; yield the name of the host's device.

    ``facts`` were read while ``nic`` was in place. With ``guest_mac`` the VM changes its own MAC
    meanwhile, as a guest may.

    Raises:
        Unavailable: no device of the host is on the path of the VM's packets.
        GuestCommandFailed: the VM did not accept its address or its MAC.
        Refused, HostBusy, StepFailed, RevertFailed: as `Plan.apply`.
    """
    link = host_end(facts, nic)
    step = _address_step(
        link,
        HOST_ADDRESS,
        alias=_REACHABILITY_ALIAS,
        what=f"Give {link.name} the address {HOST_ADDRESS}.",
    )
    with _applied((step,), facts, vm, scheme="meeting"), _guest_address(vm, nic, guest_mac):
        yield link.name


def address_steps(facts: HostFacts, cable: Cable) -> tuple[HostStep, ...]:
    """Return the steps after which the port is up and has the VM's address.

    Raises:
        Unavailable: there is no such port, or it belongs to a bridge or bond.
    """
    link = facts.link(cable.port)
    if link is None:
        raise Unavailable(
            f"This host has no interface {cable.port}.",
            rule=Rule.PORT_MISSING,
            todo="`kvmlab inspect` lists the ports there are.",
        )
    if link.master is not None:
        raise Unavailable(
            f"{cable.port} belongs to {link.master}, so it cannot be measured alone.",
            rule=Rule.PORT_IN_USE,
            todo="Revert the scheme that uses it, then inspect the host again.",
        )
    steps = []
    set_link = ("ip", "link", "set", "dev", cable.port)
    if not link.up:
        steps.append(
            HostStep(
                what=f"Switch the port {cable.port} on.",
                setting=Setting(f"/sys/class/net/{cable.port}/flags", "down", "up"),
                do=(Command((*set_link, "up")),),
                undo=(operations.switch_link(cable.port, "down"),),
                touches=(cable.port,),
            )
        )
    if cable.vm_address not in link.addresses:
        steps.append(
            _address_step(
                link,
                cable.vm_address,
                alias=_BASELINE_ALIAS,
                what=f"Give {cable.port} the VM's address {cable.vm_address}.",
            )
        )
    return tuple(steps)


def host_end(facts: HostFacts, nic: Nic) -> Link:
    """Return the host's device at which the host itself can be reached from the VM.

    The bridge of a tap, the port of a macvtap, the PF of a VF (the NIC switches between them).

    Raises:
        Unavailable: there is none, as with a NIC that belongs to the VM alone.
    """
    device = facts.link(nic.host_device) if nic.host_device else None
    name = (device.master or device.parent) if device is not None else _pf_of(facts, nic)
    link = facts.link(name) if name else None
    if link is None:
        raise Unavailable(
            f"With {nic.label} no device of the host lies on the path of the VM's packets, so the "
            "host has nothing there to give an address to.",
            rule=Rule.PORT_MISSING,
            todo="Try it with a bridge, a macvtap or a VF.",
        )
    return link


def _pf_of(facts: HostFacts, nic: Nic) -> str | None:
    """Return the port that has a VF with the MAC of the VM's interface."""
    pfs = {vf.mac: port.name for port in facts.ports for vf in port.vf_settings}
    return pfs.get(nic.mac)


def _address_step(link: Link, address: str, *, alias: str, what: str) -> HostStep:
    alias_before = link.alias or ""
    set_link = ("ip", "link", "set", "dev", link.name)
    return HostStep(
        what=what,
        setting=Setting(f"/sys/class/net/{link.name}/ifalias", alias_before, alias),
        # The alias first: a device without it has no address to remove.
        do=(
            Command((*set_link, "alias", alias)),
            Command(("ip", "address", "add", address, "dev", link.name)),
        ),
        undo=(
            operations.flush_address(link.name, address),
            operations.set_alias(link.name, alias_before),
        ),
        touches=(link.name,),
    )


@contextmanager
def _applied(
    steps: tuple[HostStep, ...], facts: HostFacts, vm: TestVM, *, scheme: str
) -> Iterator[None]:
    refuse(check(steps, facts))
    applied = AppliedSteps(vm, steps, scheme=scheme)
    applied.apply()
    try:
        yield
    finally:
        applied.revert()


@contextmanager
def _guest_address(vm: TestVM, nic: Nic, mac: str) -> Iterator[None]:
    device = ("dev", nic.guest_interface)
    vm.agent.run(("ip", "address", "replace", VM_ADDRESS, *device), timeout_sec=_GUEST_SEC)
    set_mac = ("ip", "link", "set", *device, "address")
    try:
        if mac:
            vm.agent.run((*set_mac, mac), timeout_sec=_GUEST_SEC)
        yield
    finally:
        if mac:
            vm.agent.run((*set_mac, nic.mac), timeout_sec=_GUEST_SEC)
        vm.agent.run(("ip", "address", "flush", *device, "to", VM_ADDRESS), timeout_sec=_GUEST_SEC)
