"""The XML of the two ways in which a VM with a VF can migrate."""

from __future__ import annotations

from typing import Final

from kvmlab.domain import Interface
from kvmlab.schemes.base import mac_for

STANDBY_ALIAS: Final = "ua-kvmlab-standby"


def teaming_xml(standby_xml: str, vf_xml: str) -> str:
    """Return two interfaces with one MAC: a virtio card that stays, and a VF that leaves.

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


def macvtap_on_vf_xml(vf_interface: str) -> str:
    """Return a virtio card over a macvtap on a VF, which the host's driver keeps."""
    return Interface.on_port(
        vf_interface,
        mac=mac_for("macvtap-on-vf"),
        mode="passthrough",
        model="virtio",
        driver="vhost",
        trust_guest_filters=True,
    ).xml()


def placeholder(index: int) -> str:
    """Return what stands for the name of a VF's interface that cannot be known before it exists."""
    return f"NAME-OF-VF-{index}"
