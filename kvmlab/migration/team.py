"""A VF in one team with a virtio card: libvirt unplugs the VF to migrate, the card carries on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.changes import AttachInterface, ConfigureGuest, Plan, check
from kvmlab.changes.migration_calls import ask_qemu
from kvmlab.domain import LAB_POOL, Domain, Interface, alias_for, diff_of_attaching
from kvmlab.schemes.base import mac_for
from kvmlab.schemes.bridge import bridge_steps
from kvmlab.schemes.port import BRIDGE, free_port, switched_on
from kvmlab.schemes.sriov import vf_pool
from kvmlab.schemes.vfs import make_vfs, physical_function
from kvmlab.schemes.vhost import load_vhost

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable

TEAM_MAC: Final = mac_for("vf-teaming")
STANDBY_ALIAS: Final = alias_for(TEAM_MAC)
VF_ALIAS: Final = f"{STANDBY_ALIAS}-vf"
_CONFIGURE_SEC: Final = 60


def standby_interface() -> Interface:
    """Return the virtio card of the team, which stays with the VM."""
    interface = Interface.on_bridge(BRIDGE, mac=TEAM_MAC, model="virtio", driver="vhost")
    interface.teaming_type = "persistent"
    interface.alias = STANDBY_ALIAS
    return interface


def vf_interface() -> Interface:
    """Return the VF of the team, from the pool that has one name on all hosts."""
    interface = Interface.from_pool(LAB_POOL, mac=TEAM_MAC)
    interface.model = "virtio"
    interface.teaming_type = "transient"
    interface.teaming_persistent = STANDBY_ALIAS
    interface.alias = VF_ALIAS
    return interface


def missing_vf(vm: TestVM) -> str:
    """Return a sentence where libvirt lists a VF in a team, and the VM's QEMU has none; else "".

    QEMU plugs it in as the VM arrives. Where the host has lost it meanwhile the VM goes on without,
    and libvirt is not told.
    """
    cards = Domain.parse(vm.xml()).interfaces
    listed = [card.alias for card in cards if card.teaming_type == "transient"]
    if not listed:
        return ""
    devices, error = ask_qemu(vm, "qom-list", path="/machine/peripheral")
    plugged = {device["name"] for device in devices}
    if error or plugged.issuperset(listed):
        return ""
    return (
        f"{vm.name} arrived on {vm.host.label} without its VF, which that host has lost; it goes "
        "on with the virtio card of its team."
    )


def plan_team(facts: HostFacts, vm: TestVM, *, cable: Cable, pf: str) -> Plan:
    """Return the plan of giving the VM a team: a virtio card on ``cable``, and a VF of ``pf``.

    Raises:
        Unavailable: the host has no such port, SR-IOV or vhost, or they are in use.
    """
    link = free_port(facts, pf)
    standby, vf = standby_interface(), vf_interface()
    steps = (
        *bridge_steps(facts, cable.port),
        *load_vhost(facts),
        *switched_on(link, linked=True),
        *make_vfs(physical_function(facts, pf), 1),
        vf_pool(pf),
        AttachInterface(
            what="Plug in the virtio card, which stays in the VM.",
            domain=vm.name,
            mac=TEAM_MAC,
            interface_xml=standby.xml(),
            vhost_workers=1,
            touches=(cable.port,),
        ),
        ConfigureGuest(
            what="Give the team its address inside the VM, and wait until the peer answers a ping.",
            mac=TEAM_MAC,
            vm_address=cable.vm_address,
            peer_address=cable.peer_address,
            timeout_sec=_CONFIGURE_SEC,
        ),
        # The guest must have made the team before its VF comes.
        AttachInterface(
            what="Plug in the VF, which takes over the traffic until a migration.",
            domain=vm.name,
            mac=TEAM_MAC,
            interface_xml=vf.xml(),
            touches=(pf,),
            device=VF_ALIAS,
        ),
    )
    return Plan(
        scheme="vf-teaming",
        label="SR-IOV VF in a team with virtio",
        backend="hardware",
        steps=steps,
        interface_xml=standby.xml() + vf.xml(),
        domain_diff=diff_of_attaching(vm.xml(), standby),
        mac=TEAM_MAC,
        vm_address=cable.vm_address,
        peer_address=cable.peer_address,
        refusals=check(steps, facts, vm),
    )
