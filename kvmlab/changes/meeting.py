"""Addresses by which host and VM could meet, for the length of a test.

Both ends get one of a network of documentation (RFC 5737) that nothing else has: the host on the
device through which the VM's packets go, the VM on its interface. The host's is a change like any
other, journalled and undone; the VM's goes with its interface, and is taken away before.
"""

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
    from kvmlab.changes.nic import Nic
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts, Link

HOST_ADDRESS: Final = "203.0.113.1/30"
VM_ADDRESS: Final = "203.0.113.2/30"
#: Addresses cannot be read in /sys; the device's alias tells that it has the lab's.
_ALIAS: Final = "kvmlab-meeting"
_GUEST_SEC: Final = 30


@contextmanager
def meeting(facts: HostFacts, vm: TestVM, nic: Nic, *, guest_mac: str = "") -> Iterator[str]:
    """Give the host and the VM an address each; yields the name of the host's device.

    ``facts`` were read while ``nic`` was in place. With ``guest_mac`` the VM changes its own MAC
    for the time, as a guest may.

    Raises:
        Unavailable: the host has no device on the way of the VM's packets.
        GuestCommandFailed: the VM did not take its address or its MAC.
        Refused, HostBusy, StepFailed, RevertFailed: as `Plan.apply`.
    """
    link = host_end(facts, nic)
    steps = (_address_step(link),)
    refuse(check(steps, facts))
    made = MadeSteps(vm, steps, scheme="meeting")
    made.make()
    try:
        with _in_the_vm(vm, nic, guest_mac):
            yield link.name
    finally:
        made.revert()


def host_end(facts: HostFacts, nic: Nic) -> Link:
    """The host's device where the host itself would be reached.

    A tap's bridge, a macvtap's port; and for a VF its PF, since the card switches between them.

    Raises:
        Unavailable: there is none, as with a card that the VM has for its own.
    """
    device = facts.link(nic.host_device) if nic.host_device else None
    name = (device.master or device.parent) if device is not None else _pf_of(facts, nic)
    found = facts.link(name) if name else None
    if found is None:
        raise Unavailable(
            f"With {nic.label} no device of the host lies on the way of the VM's packets, so the "
            "host has nothing there to give an address to.",
            rule=Rule.PORT_MISSING,
            todo="Try it with a bridge, a macvtap or a VF.",
        )
    return found


def _pf_of(facts: HostFacts, nic: Nic) -> str | None:
    """The port one of whose VFs was given the MAC of the VM's interface."""
    macs = {vf.mac: port.name for port in facts.ports for vf in port.vf_settings}
    return macs.get(nic.mac)


def _address_step(link: Link) -> HostStep:
    before = link.alias or ""
    set_link = ("ip", "link", "set", "dev", link.name)
    return HostStep(
        what=f"Give {link.name} the address {HOST_ADDRESS}.",
        setting=Setting(f"/sys/class/net/{link.name}/ifalias", before, _ALIAS),
        # The mark first: what is not marked has no address to take away.
        do=(
            Command((*set_link, "alias", _ALIAS)),
            Command(("ip", "address", "add", HOST_ADDRESS, "dev", link.name)),
        ),
        undo=(
            Command(("ip", "address", "flush", "dev", link.name, "to", HOST_ADDRESS)),
            Command((*set_link, "alias", before)),
        ),
        touches=(link.name,),
    )


@contextmanager
def _in_the_vm(vm: TestVM, nic: Nic, mac: str) -> Iterator[None]:
    own = ("dev", nic.guest_interface)
    there = ("ip", "address", "replace", VM_ADDRESS, *own)
    away = ("ip", "address", "flush", *own, "to", VM_ADDRESS)
    vm.agent.run(there, timeout_sec=_GUEST_SEC)
    try:
        if mac:
            vm.agent.run(("ip", "link", "set", *own, "address", mac), timeout_sec=_GUEST_SEC)
        yield
    finally:
        if mac:
            vm.agent.run(("ip", "link", "set", *own, "address", nic.mac), timeout_sec=_GUEST_SEC)
        vm.agent.run(away, timeout_sec=_GUEST_SEC)
