"""Features of the virtqueues that host and guest negotiate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.tunings.base import Target, Tuning, TuningPlace
from kvmlab.tunings.offloads import feature_check

if TYPE_CHECKING:
    from kvmlab.domain import Interface

# Numbers of feature bits, from the virtio specification.
_EVENT_IDX: Final = 29
_ACCESS_PLATFORM: Final = 33
_PACKED: Final = 34


@dataclass(frozen=True)
class PackedRing(Tuning):
    """One ring of descriptors in place of three areas."""

    id = "packed"
    values = ("off", "on")
    default = "off"
    place = TuningPlace.VM
    is_local = True

    def refusal(self, target: Target) -> str:
        """Return the reason where the back end does not have it."""
        if target.is_virtio and self.value == "on" and target.scheme.backend == "vhost":
            return (
                "vhost-net in the kernel offers no packed ring (VIRTIO_F_RING_PACKED), and QEMU "
                "drops the wish without a word. Its own back end has one: virtio-qemu."
            )
        return super().refusal(target)

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Ask for it."""
        interface.packed = self.value == "on"

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look whether it was negotiated."""
        return feature_check(_PACKED, is_set=self.value == "on")


@dataclass(frozen=True)
class InOrder(Tuning):
    """Buffers given back in the order in which they came."""

    id = "in-order"
    values = ("off", "on")
    default = "off"
    place = TuningPlace.VM
    is_local = True

    def refusal(self, target: Target) -> str:
        """Return why nobody can have it here."""
        if self.value == "off" or not target.is_virtio:
            return super().refusal(target)
        return (
            "libvirt has no attribute for in_order (QEMU has the property since 9.1), vhost-net "
            "offers it since Linux 6.17 only, and the driver of the lab's guest, Linux 6.12, does "
            "not take it."
        )


@dataclass(frozen=True)
class EventIdx(Tuning):
    """Notifications only past a mark that the other side sets."""

    id = "event-idx"
    values = ("on", "off")
    default = "on"
    place = TuningPlace.VM
    is_local = True

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Leave it out, or ask for it."""
        interface.event_idx = self.value == "on"

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look whether it was negotiated."""
        return feature_check(_EVENT_IDX, is_set=self.value == "on")


@dataclass(frozen=True)
class AccessPlatform(Tuning):
    """Addresses in the virtqueue that go through the guest's DMA layer (``iommu='on'``)."""

    id = "iommu-platform"
    values = ("off", "on")
    default = "off"
    place = TuningPlace.VM
    is_local = True

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Ask for it, without a vIOMMU."""
        interface.iommu = self.value == "on"

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look whether it was negotiated."""
        return platform_check(is_set=self.value == "on")


def platform_check(*, is_set: bool) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return the check inside the VM that the NIC's addresses go through the DMA layer."""
    return feature_check(_ACCESS_PLATFORM, is_set=is_set)


@dataclass(frozen=True)
class NapiTx(Tuning):
    """Completions of sent packets taken in a softirq (``napi_tx`` of virtio_net)."""

    id = "napi-tx"
    values = ("on", "off")
    default = "on"
    place = TuningPlace.GUEST

    def guest_settings(self) -> tuple[tuple[str, str], ...]:
        """Set the driver's parameter, which counts when the NIC appears."""
        text = "Y" if self.value == "on" else "N"
        return (("/sys/module/virtio_net/parameters/napi_tx", text),)

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look at the weight of the transmit side, which ethtool shows as frames."""
        frames = "1" if self.value == "on" else "0"
        return ((("ethtool", "-c", "ethN"), rf"^tx-frames:\s+{frames}$"),)
