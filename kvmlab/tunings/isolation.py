"""Isolation of the VM's memory from its devices: a vIOMMU, bounce buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lxml import etree

from kvmlab.tunings.base import Target, Tuning, TuningPlace
from kvmlab.tunings.boot import with_kernel_words
from kvmlab.tunings.virtqueues import platform_check

if TYPE_CHECKING:
    from kvmlab.domain import Domain, Interface


@dataclass(frozen=True)
class Viommu(Tuning):
    """An IOMMU inside the VM, through which the NIC's addresses go.

    "lazy" is the guest kernel's own choice: it collects invalidations. "strict" sends each. So does
    a guest whose IOMMU has a caching mode ("caching"), which tells of new mappings as well: devices
    that are handed on (VFIO) need it, vhost does not. "ats" lets the device keep translations,
    "passthrough" leaves the guest's own devices out.
    """

    id = "viommu"
    values = ("off", "lazy", "strict", "caching", "ats", "passthrough")
    default = "off"
    place = TuningPlace.VM
    restarts_vm = True

    def edit_domain(self, domain: Domain) -> None:
        """Add the device, and the guest kernel's words for it."""
        if self.is_default:
            return
        iommu = etree.Element("iommu", model="intel")
        driver = etree.SubElement(iommu, "driver")
        # With it Linux collects nothing, whatever its words say (drivers/iommu/intel/iommu.c).
        driver.set("caching_mode", "on" if self.value == "caching" else "off")
        driver.set("iotlb", "on" if self.value == "ats" else "off")
        domain.node.find("devices").append(iommu)  # type: ignore[union-attr]
        words = {"strict": ["iommu.strict=1"], "passthrough": ["iommu=pt"]}.get(self.value, [])
        with_kernel_words(domain, "intel_iommu=on", *words)

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Put the NIC behind it."""
        if not self.is_default:
            interface.iommu = True
            interface.ats = True if self.value == "ats" else None

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look for the NIC's feature, and at what the guest's kernel does to its translations."""
        if self.is_default:
            return ()
        look = 'cat "/sys/class/net/$1/device/../iommu_group/type"'
        kind = _GROUP_TYPES[self.value]
        group = (("sh", "-c", look, "look", "ethN"), rf"^{kind}$")
        return (group, *platform_check(is_set=True))


#: The type of an IOMMU group in the guest's /sys; "DMA-FQ" has a queue of invalidations.
_GROUP_TYPES: Final = {
    "lazy": "DMA-FQ",
    "strict": "DMA",
    "caching": "DMA",
    "ats": "DMA-FQ",
    "passthrough": "identity",
}


@dataclass(frozen=True)
class Swiotlb(Tuning):
    """Bounce buffers for every DMA, as confidential guests need them."""

    id = "swiotlb"
    values = ("default", "force")
    default = "default"
    place = TuningPlace.GUEST
    restarts_vm = True

    def edit_domain(self, domain: Domain) -> None:
        """Tell the guest's kernel."""
        if not self.is_default:
            with_kernel_words(domain, "swiotlb=force")

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Have the NIC's addresses go through the DMA layer, else nothing bounces."""
        if not self.is_default:
            interface.iommu = True

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look at the command line and the NIC's feature."""
        if self.is_default:
            return ()
        return ((("cat", "/proc/cmdline"), "swiotlb=force"), *platform_check(is_set=True))
