"""The cards that a panel offers, by name."""

from __future__ import annotations

from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio

CARDS: dict[str, Scheme] = {
    "e1000": FullEmulation("e1000"),
    "e1000e": FullEmulation("e1000e"),
    "virtio": Virtio(),
    "virtio-vhost": Virtio(backend="vhost"),
    "virtio-queues": Virtio(backend="vhost", queues=4),
    "macvtap": Macvtap(),
    "macvtap-e1000": Macvtap(model="e1000"),
    "macvtap-qemu": Macvtap(backend="qemu"),
    "exclusive-nic": PciPassthrough(group="take"),
    "sriov-vf": SriovVf(),
}
