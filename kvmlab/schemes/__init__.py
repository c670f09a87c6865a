"""Schemes: each gives the test VM a network interface in one way, and has a module of its own."""

from kvmlab.schemes import persistence
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.full_emulation import FullEmulation
from kvmlab.schemes.macvtap import Macvtap
from kvmlab.schemes.passthrough import PciPassthrough
from kvmlab.schemes.sriov import SriovVf
from kvmlab.schemes.vfs import VfOptions
from kvmlab.schemes.virtio import Virtio

__all__ = [
    "FullEmulation",
    "Macvtap",
    "PciPassthrough",
    "Scheme",
    "SriovVf",
    "VfOptions",
    "Virtio",
    "persistence",
]
