"""Needs: the guest, the load, the density and whether VMs migrate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kvmlab.errors import UsageError
from kvmlab.language import _

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
    """The traffic on the network."""

    LIGHT = "light"
    BULK = "bulk"
    LATENCY = "latency"
    PACKETS = "packets"


@dataclass(frozen=True)
class Need:
    """The question to the adviser. ``density`` is how many VMs share the port."""

    guest_os: GuestOs = GuestOs.LINUX
    load: Load = Load.BULK
    density: int = 1
    migration: bool = False

    @classmethod
    def of(cls, guest_os: str, load: str, density: int, migration: bool) -> Need:
        """Return a need from the words of the command line.

        Raises:
            UsageError: a word or number that the adviser does not know.
        """
        try:
            guest, what = GuestOs(guest_os), Load(load)
        except ValueError as error:
            raise UsageError(
                f"The adviser knows no guest '{guest_os}' with the load '{load}'.",
                todo=f"Guests: {', '.join(GuestOs)}; loads: {', '.join(Load)}.",
            ) from error
        if type(density) is not int or not 1 <= density <= MOST_VMS:
            raise UsageError(
                f"A density of {density!r} VMs was given.",
                todo=f"Give a whole number from 1 to {MOST_VMS}.",
            )
        return cls(guest, what, density, bool(migration))

    def __str__(self) -> str:
        if self.density == 1:
            vms = _("one VM ({guest}) that must migrate, with {load}")
            stays = _("one VM ({guest}) that stays where it is, with {load}")
        else:
            vms = _("{count} VMs ({guest}) that must migrate, with {load}")
            stays = _("{count} VMs ({guest}) that stay where they are, with {load}")
        load = {
            Load.LIGHT: "little traffic",
            Load.BULK: "much traffic in large packets",
            Load.LATENCY: "traffic that has to be answered quickly",
            Load.PACKETS: "many small packets",
        }[self.load]
        return (vms if self.migration else stays).format(
            count=self.density, guest=self.guest_os, load=_(load)
        )
