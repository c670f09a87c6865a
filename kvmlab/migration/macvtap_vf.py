"""A virtio card over a macvtap on a VF: no bridge, and nothing of the hardware in the VM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.changes import (
    AttachInterface,
    Command,
    ConfigureGuest,
    HostStep,
    Plan,
    Setting,
    await_link,
    check,
    operations,
)
from kvmlab.domain import LAB_TAP_POOL, Interface, Network, diff_of_attaching
from kvmlab.facts import ModuleState
from kvmlab.schemes.base import mac_for
from kvmlab.schemes.port import free_port, switched_on
from kvmlab.schemes.vfs import physical_function
from kvmlab.schemes.vhost import load_vhost

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts, NetFunction
    from kvmlab.hosts import Cable

MACVTAP_MAC: Final = mac_for("macvtap-on-vf")
_CONFIGURE_SEC: Final = 60
_DRIVER: Final = "igbvf"
# The driver of the VF comes a moment after it.
_AWAIT_VF: Final = """
tries=0
until ls "$1/virtfn0/net" 2>/dev/null | grep -q .; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "the VF of $1 has no interface" >&2; exit 4; }
    sleep 0.05
done
"""


def macvtap_interface() -> Interface:
    """Return the card, from the network that has one name on all hosts."""
    interface = Interface.from_pool(LAB_TAP_POOL, mac=MACVTAP_MAC)
    interface.model = "virtio"
    interface.driver = "vhost"
    return interface


def plan_macvtap_vf(facts: HostFacts, vm: TestVM, *, cable: Cable, pf: str) -> Plan:
    """Return the plan of giving the VM a virtio card over a macvtap on a VF of ``pf``.

    ``cable`` has the addresses; its port is not used.

    Raises:
        Unavailable: the host has no such port, SR-IOV or vhost, or they are in use.
    """
    link = free_port(facts, pf)
    interface = macvtap_interface()
    steps = (
        *load_vhost(facts),
        *_load_driver(facts),
        *switched_on(link, linked=True),
        _vf_with_driver(physical_function(facts, pf), pf),
        _pool(pf),
        AttachInterface(
            what="Plug in a virtio card over a macvtap on the VF.",
            domain=vm.name,
            mac=MACVTAP_MAC,
            interface_xml=interface.xml(),
            vhost_workers=1,
            touches=(pf,),
        ),
        ConfigureGuest(
            what="Give it its address inside the VM, and wait until the peer answers a ping.",
            mac=MACVTAP_MAC,
            vm_address=cable.vm_address,
            peer_address=cable.peer_address,
            timeout_sec=_CONFIGURE_SEC,
        ),
    )
    return Plan(
        scheme="macvtap-on-vf",
        label="macvtap in mode passthrough on a VF",
        backend="vhost",
        steps=steps,
        interface_xml=interface.xml(),
        domain_diff=diff_of_attaching(vm.xml(), interface),
        mac=MACVTAP_MAC,
        vm_address=cable.vm_address,
        peer_address=cable.peer_address,
        refusals=check(steps, facts, vm),
    )


def _load_driver(facts: HostFacts) -> tuple[HostStep, ...]:
    if facts.modules.get(_DRIVER) is not ModuleState.AVAILABLE:
        return ()
    return (
        HostStep(
            what=f"Load {_DRIVER}, the host's own driver of VFs.",
            setting=Setting(f"/sys/module/{_DRIVER}", None, "present"),
            do=(Command(("modprobe", _DRIVER)),),
            undo=(operations.unload_module(_DRIVER),),
            below_device=True,
        ),
    )


def _vf_with_driver(port: NetFunction, name: str) -> HostStep:
    folder = f"/sys/bus/pci/devices/{port.address}"
    path = f"{folder}/sriov_numvfs"
    return HostStep(
        what=f"Make a VF of {name}, which the host's own driver takes.",
        setting=Setting(path, "0", "1"),
        do=(
            Command.write(path, "1"),
            await_link(name),
            Command(
                ("sh", "-s", "--", folder),
                _AWAIT_VF,
                shown_as="(wait until the VF has its interface)",
            ),
        ),
        undo=(operations.write_setting(path, "0"), operations.await_link_again(name)),
        touches=(name, port.address),
        below_device=True,
    )


def _pool(pf: str) -> HostStep:
    network = Network.of_vfs(LAB_TAP_POOL, pf)
    network.forward_mode = "passthrough"
    network.managed = None
    return HostStep(
        what=f"Make the libvirt network {LAB_TAP_POOL}: macvtaps, each on a VF of {pf} of its own.",
        setting=Setting(f"/run/libvirt/network/{LAB_TAP_POOL}.xml", None, "present"),
        do=(Command(("virsh", "net-create", "/proc/self/fd/0"), network.xml()),),
        undo=(operations.destroy_network(LAB_TAP_POOL),),
        below_device=True,
    )
