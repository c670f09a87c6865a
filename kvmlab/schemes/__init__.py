"""Schemes: the ways to give the test VM a network interface, one file each."""

from kvmlab.schemes import persistence
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.full_emulation import FullEmulation
from kvmlab.schemes.macvtap import Macvtap
from kvmlab.schemes.passthrough import PciPassthrough
from kvmlab.schemes.sriov import SriovVf
from kvmlab.schemes.vfs import VfKnobs
from kvmlab.schemes.virtio import Virtio

__all__ = [
    "FullEmulation",
    "Macvtap",
    "PciPassthrough",
    "Scheme",
    "SriovVf",
    "VfKnobs",
    "Virtio",
    "persistence",
]
