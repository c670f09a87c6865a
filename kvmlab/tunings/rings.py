"""The sizes of the virtqueues that carry packets to and from the VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.tunings.base import Target, Tuning, TuningPlace

if TYPE_CHECKING:
    from kvmlab.domain import Interface

#: The smallest ring that libvirt and QEMU accept; smaller ones are the guest's to set.
_LEAST_IN_XML: Final = 256


@dataclass(frozen=True)
class Ring(Tuning):
    """The size of one virtqueue, set inside the VM by ``ethtool -G``."""

    values = ("64", "128", "256", "512", "1024")
    default = "1024"
    surveyed = ("64",)
    place = TuningPlace.GUEST
    is_local = True

    @property
    def side(self) -> str:
        """The word of ethtool: "rx" or "tx"."""
        return self.id.partition("-")[0]

    def guest_commands(self) -> tuple[tuple[str, ...], ...]:
        """Resize the virtqueue, which is reset alone for that."""
        return (("ethtool", "-G", "ethN", self.side, self.value),)

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look at the current size, the second number of its kind."""
        side = self.side.upper()
        pattern = rf"(?s)Current.*?^{side}:\s+{self.value}$"
        return ((("ethtool", "-g", "ethN"), pattern),)


@dataclass(frozen=True)
class ReceiveRing(Ring):
    """The virtqueue of packets to the VM."""

    id = "rx-ring"

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Ask QEMU for it as well, where it accepts the size; not every QEMU obeys."""
        if int(self.value) >= _LEAST_IN_XML:
            interface.rx_queue_size = int(self.value)


@dataclass(frozen=True)
class TransmitRing(Ring):
    """The virtqueue of packets from the VM."""

    id = "tx-ring"
