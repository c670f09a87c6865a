"""Drivers that hand a device to user space: VFIO's own, its variants of vendors, and UIO."""

from __future__ import annotations

import re
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.facts.types import VfioHolder

#: "vfio-pci", "mlx5_vfio_pci", "hisi_acc_vfio_pci", "nvgrace-gpu-vfio-pci", …
_VFIO: Final = re.compile(r"(?:.*[-_])?vfio[-_]pci(?:[-_].*)?")
#: Printed first where the reader is root.
_COMPLETE: Final = "complete"
#: Drivers of DPDK that do without an IOMMU.
_UIO: Final = frozenset({"uio_pci_generic", "igb_uio", "uio_pci_dma"})


def is_vfio_driver(driver: str | None) -> bool:
    """Return whether ``driver`` is VFIO's for PCI, or a vendor's variant of it.

    >>> is_vfio_driver("mlx5_vfio_pci"), is_vfio_driver("mlx5_core")
    (True, False)
    """
    return driver is not None and _VFIO.fullmatch(driver) is not None


def is_userspace_driver(driver: str | None) -> bool:
    """Return whether a program or a VM drives the device while it is bound to ``driver``."""
    return is_vfio_driver(driver) or driver in _UIO


def parse_vfio_holders(text: str) -> tuple[VfioHolder, ...] | None:
    """Parse nodes, processes and programs; None where not all processes could be looked into.

    ::

        complete
        /dev/vfio/60 4711 ovs-vswitchd

    The node /dev/vfio/vfio is no group and is left out.

    Raises:
        OutputError: a line of another shape.
    """
    holders = []
    for line in text.split("\n"):
        if line in ("", _COMPLETE):
            continue
        words = line.split(" ", 2)
        if len(words) != 3 or not words[0].startswith("/dev/vfio/") or not words[1].isdecimal():
            raise OutputError("A holder of a VFIO group could not be understood.", evidence=line)
        group = words[0].removeprefix("/dev/vfio/")
        if group != "vfio":
            holders.append(VfioHolder(group, int(words[1]), words[2]))
    return tuple(holders) if holders or _COMPLETE in text.split("\n") else None
