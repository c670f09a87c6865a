"""The XML of the two ways in which a VM with a VF can migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.domain import Interface
from kvmlab.schemes.base import mac_for

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts

STANDBY_ALIAS: Final = "ua-kvmlab-standby"


def teaming_xml(standby_xml: str, vf_xml: str) -> str:
    """Two interfaces with one MAC: a virtio card that stays, and a VF that leaves to migrate.

    libvirt unplugs the transient one before a migration and plugs it in again at its end; the
    guest's virtio_net (Linux 4.18) moves the traffic to the persistent one in the meantime.
    """
    mac = mac_for("vf-teaming")
    standby = Interface.parse(standby_xml)
    standby.mac = mac
    standby.queues = None
    standby.teaming_type = "persistent"
    standby.alias = STANDBY_ALIAS
    vf = Interface.parse(vf_xml)
    vf.mac = mac
    vf.teaming_type = "transient"
    vf.teaming_persistent = STANDBY_ALIAS
    vf.alias = None
    return f"{standby.xml().rstrip()}\n{vf.xml().rstrip()}\n"


def macvtap_on_vf_xml(facts: HostFacts) -> str:
    """A virtio card over a macvtap that has a VF for itself; the host's driver keeps the VF."""
    return Interface.on_port(
        vf_interface(facts),
        mac=mac_for("macvtap-on-vf"),
        mode="passthrough",
        model="virtio",
        driver="vhost",
        trust_guest_filters=True,
    ).xml()


def vf_interface(facts: HostFacts) -> str:
    """The host's own interface of a VF, or the name that udev would give to the first one."""
    for port in facts.ports:
        if port.vf_of is not None and port.name and port.netns is None:
            return port.name
    pf = next((port for port in facts.ports if port.sriov_totalvfs and port.name), None)
    return f"{pf.name}v0" if pf is not None else "VF0"
