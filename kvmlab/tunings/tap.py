"""The tap of the VM: its send buffer, its queue, its queueing discipline, its coalescing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.changes import Command, HostStep, Setting
from kvmlab.tunings.base import TAP, Target, Tuning, TuningPlace

if TYPE_CHECKING:
    from kvmlab.domain import Interface

_TAP_FOLDER = f"/sys/class/net/{TAP}"


@dataclass(frozen=True)
class OfTap(Tuning):
    """A tuning of the tap, with which it ends."""

    place = TuningPlace.HOST
    is_local = True

    def refusal(self, target: Target) -> str:
        """Return the reason where there is no tap on a bridge."""
        return "" if target.has_bridge else "This scheme has no tap on a bridge."


@dataclass(frozen=True)
class SendBuffer(OfTap):
    """Bytes that the VM may have on their way through the tap."""

    id = "tap-sndbuf"
    values = ("unlimited", "65536", "1048576")
    default = "unlimited"
    surveyed = ("65536",)

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Write it into the XML."""
        interface.sndbuf = None if self.is_default else int(self.value)


@dataclass(frozen=True)
class QueueLength(OfTap):
    """Packets that wait in the tap for the VM (``txqueuelen``)."""

    id = "tap-txqueuelen"
    values = ("1000", "100", "10000")
    default = "1000"
    surveyed = ("100",)

    def tap_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Set it."""
        return (
            HostStep(
                what=f"Let {self.value} packets wait in the VM's tap.",
                setting=Setting(f"{_TAP_FOLDER}/tx_queue_len", None, self.value),
                do=(Command(("ip", "link", "set", "dev", TAP, "txqueuelen", self.value)),),
                undo=(),
            ),
        )


@dataclass(frozen=True)
class QueueingDiscipline(OfTap):
    """The queueing discipline of packets to the VM; libvirt's taps have none."""

    id = "tap-qdisc"
    values = ("noqueue", "fq_codel", "pfifo")
    default = "noqueue"
    surveyed = ("fq_codel", "pfifo")

    def tap_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Replace it."""
        return (
            HostStep(
                what=f"Give the VM's tap the queueing discipline {self.value}.",
                setting=Setting(f"qdisc:{TAP}", None, self.value),
                do=(Command(("tc", "qdisc", "replace", "dev", TAP, "root", self.value)),),
                undo=(),
            ),
        )


@dataclass(frozen=True)
class TapCoalescing(OfTap):
    """Frames that the tap collects before it wakes the back end."""

    id = "tap-coalescing"
    values = ("0", "32")
    default = "0"

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Write it into the XML; libvirt sets it at the tap."""
        interface.coalesced_frames = None if self.is_default else int(self.value)

    def tap_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Read it back: libvirt has set it."""
        return (
            HostStep(
                what=f"Have the VM's tap collect {self.value} frames.",
                setting=Setting(f"coalesce:{TAP}/rx-frames", None, self.value),
                do=(Command(("true",)),),
                undo=(),
            ),
        )
