"""Offloads: who cuts TCP into frames, merges frames and sums them up, in guest, tap and port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.tunings.base import TAP, Target, Tuning, TuningPlace

if TYPE_CHECKING:
    from kvmlab.domain import Interface


@dataclass(frozen=True)
class GuestFeature(Tuning):
    """An offload that ``ethtool -K`` switches off inside the VM."""

    values = ("on", "off")
    default = "on"
    place = TuningPlace.GUEST
    is_local = True
    #: The word after ``ethtool -K``, and the line of ``ethtool -k`` that tells.
    feature: ClassVar[str]
    shown_as: ClassVar[str]

    def guest_commands(self) -> tuple[tuple[str, ...], ...]:
        """Switch it."""
        return (("ethtool", "-K", "ethN", self.feature, self.value),)

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look whether the driver took it."""
        return ((("ethtool", "-k", "ethN"), rf"^\s*{self.shown_as}: {self.value}\b"),)


@dataclass(frozen=True)
class GuestTso(GuestFeature):
    """TSO of the VM's NIC: up to 64 KiB of TCP in one buffer of the virtqueue."""

    id = "guest-tso"
    feature = "tso"
    shown_as = "tcp-segmentation-offload"


@dataclass(frozen=True)
class GuestGso(GuestFeature):
    """GSO in the VM: its kernel cuts late what the NIC does not cut."""

    id = "guest-gso"
    feature = "gso"
    shown_as = "generic-segmentation-offload"


@dataclass(frozen=True)
class GuestGro(GuestFeature):
    """GRO in the VM: its kernel merges frames before TCP sees them."""

    id = "guest-gro"
    feature = "gro"
    shown_as = "generic-receive-offload"


@dataclass(frozen=True)
class GuestTxChecksum(GuestFeature):
    """Checksums of what the VM sends; without them TSO goes as well."""

    id = "guest-tx-checksum"
    feature = "tx"
    shown_as = "tx-checksumming"


@dataclass(frozen=True)
class DeviceFeature(Tuning):
    """A feature that the virtio NIC itself has, or has not, from the moment it is plugged in."""

    values = ("on", "off")
    default = "on"
    place = TuningPlace.VM
    is_local = True
    #: The attributes of `Interface` that are switched together.
    attributes: ClassVar[tuple[str, ...]]
    #: A line of ``ethtool -k`` that tells, or none.
    shown_as: ClassVar[str] = ""

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Write the attributes."""
        for name in self.attributes:
            setattr(interface, name, self.value == "on")

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look at the line of ethtool."""
        if not self.shown_as:
            return ()
        return ((("ethtool", "-k", "ethN"), rf"^\s*{self.shown_as}: {self.value}\b"),)


_RECEIVE = ("guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo")
_SEND = ("host_gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo")


@dataclass(frozen=True)
class GuestRxChecksum(DeviceFeature):
    """Checksums of what the VM receives; without them large packets go as well."""

    id = "guest-rx-checksum"
    attributes = ("guest_csum", *_RECEIVE)
    _BIT: ClassVar[int] = 1

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look whether it was negotiated: ethtool calls it fixed on in any case."""
        return feature_check(self._BIT, is_set=self.value == "on")


@dataclass(frozen=True)
class LargeReceive(DeviceFeature):
    """Large TCP packets to the VM: the host passes on what it merged, uncut."""

    id = "large-receive"
    attributes = _RECEIVE
    shown_as = "rx-gro-hw"


@dataclass(frozen=True)
class MergeableBuffers(DeviceFeature):
    """Receive buffers that the device may join (``mrg_rxbuf``)."""

    id = "mrg-rxbuf"
    attributes = ("host_mrg_rxbuf",)
    _BIT: ClassVar[int] = 15

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look whether it was negotiated."""
        return feature_check(self._BIT, is_set=self.value == "on")


@dataclass(frozen=True)
class AllOffloads(DeviceFeature):
    """Every offload of the virtio NIC at once."""

    id = "offloads"
    attributes = ("host_csum", *_SEND, "guest_csum", *_RECEIVE, "host_mrg_rxbuf")
    shown_as = "tx-checksumming"


def feature_check(bit: int, *, is_set: bool) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return the check inside the VM that a feature bit was negotiated, or was not.

    The guest's /sys shows the bits as a text of 0 and 1.
    """
    digit = "1" if is_set else "0"
    show = ("sh", "-c", 'cat "/sys/class/net/$1/device/features"', "show", "ethN")
    return ((show, rf"^[01]{{{bit}}}{digit}"),)


@dataclass(frozen=True)
class HostFeature(Tuning):
    """An offload of one of the host's devices: the port, or the tap of the VM.

    ``features`` are switched one by one, each by the name under which ``ethtool -k`` shows it: the
    short names (``tso``) switch on more than they switched off.
    """

    values = ("on", "off")
    default = "on"
    place = TuningPlace.HOST
    features: ClassVar[tuple[str, ...]]
    on_tap: ClassVar[bool] = False

    def refusal(self, target: Target) -> str:
        """Return the reason where packets pass no port or tap of the host."""
        if not target.has_bridge:
            return "The path of this scheme is not one of tap, bridge and port."
        now = [target.settings.get(path, self.default) for path in self.reads(target)]
        if any(each not in self.values for each in now):
            return f"{target.cable.port} has no such offload."
        return ""

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return the port's features."""
        return () if self.on_tap else tuple(self._paths(target.cable.port).values())

    def _paths(self, device: str) -> dict[str, str]:
        return {name: f"feature:{device}/{name}" for name in self.features}

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Switch them at the port."""
        port = target.cable.port
        steps = []
        for name, path in ({} if self.on_tap else self._paths(port)).items():
            before = target.settings.get(path, self.default) or self.default
            if before != self.value:
                steps.append(
                    HostStep(
                        what=f"Switch {name} of {port} {self.value}.",
                        setting=Setting(path, before, self.value),
                        do=(operations.set_feature(port, _word(name), self.value, "-"),),
                        undo=(operations.set_feature(port, _word(name), before, "-"),),
                        touches=(port,),
                    )
                )
        return tuple(steps)

    def tap_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Switch them at the tap, with which they end."""
        return tuple(
            HostStep(
                what=f"Switch {name} of the VM's tap {self.value}.",
                setting=Setting(path, None, self.value),
                do=(Command(("ethtool", "-K", TAP, _word(name), self.value)),),
                undo=(),
            )
            for name, path in (self._paths(TAP) if self.on_tap else {}).items()
        )


#: Names that ``ethtool -k`` shows and ``ethtool -K`` does not take, and their short ones.
_WORDS = {
    "generic-segmentation-offload": "gso",
    "generic-receive-offload": "gro",
    "rx-checksumming": "rx",
}
_TSO = ("tx-tcp-segmentation", "tx-tcp6-segmentation")
_TX_CHECKSUM = ("tx-checksum-ip-generic",)


def _word(name: str) -> str:
    return _WORDS.get(name, name)


@dataclass(frozen=True)
class TapTso(HostFeature):
    """TSO of the tap: large TCP packets from the host to the VM."""

    id = "tap-tso"
    features = _TSO
    on_tap = True


@dataclass(frozen=True)
class TapChecksum(HostFeature):
    """Checksums that the tap leaves to the VM."""

    id = "tap-checksum"
    features = _TX_CHECKSUM
    on_tap = True


@dataclass(frozen=True)
class PortTso(HostFeature):
    """TSO of the port: the NIC cuts what the VM sent in one piece."""

    id = "port-tso"
    features = _TSO


@dataclass(frozen=True)
class PortGso(HostFeature):
    """GSO of the port: the kernel cuts as late as it can."""

    id = "port-gso"
    features = ("generic-segmentation-offload",)


@dataclass(frozen=True)
class PortGro(HostFeature):
    """GRO of the port: frames are merged before they cross bridge and tap."""

    id = "port-gro"
    features = ("generic-receive-offload",)


@dataclass(frozen=True)
class PortTxChecksum(HostFeature):
    """Checksums by the port."""

    id = "port-tx-checksum"
    features = _TX_CHECKSUM


@dataclass(frozen=True)
class PortRxChecksum(HostFeature):
    """Checksums that the port has looked at."""

    id = "port-rx-checksum"
    features = ("rx-checksumming",)
