"""Isolation of the VM's memory from its devices: a vIOMMU, bounce buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from kvmlab.tunings.base import Target, Tuning, TuningPlace
from kvmlab.tunings.boot import with_kernel_words
from kvmlab.tunings.virtqueues import platform_check

if TYPE_CHECKING:
    from kvmlab.domain import Domain, Interface


@dataclass(frozen=True)
class Viommu(Tuning):
    """An IOMMU inside the VM, through which the NIC's addresses go.

    "lazy" is the guest kernel's own choice: it collects invalidations. "strict" sends each, "ats"
    lets the device keep translations, "passthrough" leaves the guest's own devices out.
    """

    id = "viommu"
    values = ("off", "lazy", "strict", "ats", "passthrough")
    default = "off"
    place = TuningPlace.VM
    restarts_vm = True

    def edit_domain(self, domain: Domain) -> None:
        """Add the device, and the guest kernel's words for it."""
        if self.is_default:
            return
        iommu = etree.Element("iommu", model="intel")
        driver = etree.SubElement(iommu, "driver")
        # Caching mode reports new mappings to whoever serves the device; vhost needs none of it.
        driver.set("caching_mode", "on")
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
        """Look for the IOMMU, and for the NIC's feature."""
        if self.is_default:
            return ()
        in_sysfs = (("ls", "/sys/class/iommu"), r"^dmar0$")
        return (in_sysfs, *platform_check(is_set=True))


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
