"""What somebody needs a VM's network for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kvmlab.errors import UsageError

MOST_VMS = 100_000


class GuestOs(StrEnum):
    """The guest, by the drivers that it brings."""

    LINUX = "linux"
    #: A kernel for clouds: virtio, and often neither e1000, e1000e nor igbvf.
    LINUX_CLOUD = "linux-cloud"
    WINDOWS = "windows"
    #: Without a virtio driver.
    LEGACY = "legacy"


class Load(StrEnum):
    """What the network is loaded with."""

    LIGHT = "light"
    BULK = "bulk"
    LATENCY = "latency"
    PACKETS = "packets"


@dataclass(frozen=True)
class Need:
    """What is asked of the adviser. ``density`` is how many VMs share the port."""

    guest_os: GuestOs = GuestOs.LINUX
    load: Load = Load.BULK
    density: int = 1
    migration: bool = False

    @classmethod
    def of(cls, guest_os: str, load: str, density: int, migration: bool) -> Need:
        """The same from words.

        Raises:
            UsageError: a word or number that the adviser does not know.
        """
        try:
            guest, what = GuestOs(guest_os), Load(load)
        except ValueError as error:
            raise UsageError(
                f"The adviser knows no guest {guest_os!r} with the load {load!r}.",
                todo=f"Guests: {', '.join(GuestOs)}; loads: {', '.join(Load)}.",
            ) from error
        if type(density) is not int or not 1 <= density <= MOST_VMS:
            raise UsageError(
                f"A density of {density!r} VMs was given.",
                todo=f"Give a whole number from 1 to {MOST_VMS}.",
            )
        return cls(guest, what, density, bool(migration))

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "guest_os": str(self.guest_os),
            "load": str(self.load),
            "density": self.density,
            "migration": self.migration,
        }

    def __str__(self) -> str:
        vms = "one VM" if self.density == 1 else f"{self.density} VMs"
        moves = "that must migrate" if self.migration else "that stay where they are"
        stay = moves.replace("stay", "stays").replace("they are", "it is")
        load = {
            Load.LIGHT: "little traffic",
            Load.BULK: "much traffic in large packets",
            Load.LATENCY: "traffic that has to be answered quickly",
            Load.PACKETS: "many small packets",
        }[self.load]
        return f"{vms} ({self.guest_os}) {stay if self.density == 1 else moves}, with {load}"
