"""The MTU of the whole path: guest, tap, bridge, port and peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.changes import HostStep, Setting, operations
from kvmlab.tunings.base import Target, Tuning, TuningPlace

if TYPE_CHECKING:
    from kvmlab.domain import Interface


@dataclass(frozen=True)
class Mtu(Tuning):
    """An MTU end to end; the bridge and the tap follow their ports."""

    id = "mtu"
    values = ("1500", "9000")
    default = "1500"
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return the reason where the other end is not the host's to change."""
        if not target.has_bridge:
            return "The path of this scheme is not one of tap, bridge and port."
        if target.cable.peer_netns is None or target.cable.peer_port is None:
            return "The peer is another machine, whose MTU is not this host's to change."
        return ""

    def _paths(self, target: Target) -> dict[str, tuple[str, str]]:
        """Return the paths of the two MTUs, each with its interface and namespace."""
        cable = target.cable
        ours = f"/sys/class/net/{cable.port}/mtu"
        theirs = f"/sys/class/net/{cable.peer_port}/mtu@{cable.peer_netns}"
        return {
            theirs: (str(cable.peer_port), str(cable.peer_netns)),
            ours: (cable.port, "-"),
        }

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return the MTUs of the port and of the peer's port."""
        return tuple(self._paths(target))

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Set both ports; each loses its link for a moment."""
        steps = []
        for path, (name, netns) in self._paths(target).items():
            before = target.settings.get(path, self.default)
            if before is None or before == self.value:
                continue
            steps.append(
                HostStep(
                    what=f"Give {name} an MTU of {self.value}.",
                    setting=Setting(path, before, self.value),
                    do=(operations.set_mtu(name, self.value, netns),),
                    undo=(operations.set_mtu(name, before, netns),),
                    touches=(name,) if netns == "-" else (),
                )
            )
        return tuple(steps)

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Have the tap and the guest's NIC take it."""
        interface.mtu = int(self.value)
