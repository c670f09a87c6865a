"""Interrupts and sleep: how soon an event is noticed, and who spins meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.tunings.base import Target, Tuning, TuningPlace
from kvmlab.tunings.boot import with_kernel_words

if TYPE_CHECKING:
    from kvmlab.domain import Domain

_HALT_POLL = "/sys/module/kvm/parameters/halt_poll_ns"


@dataclass(frozen=True)
class InterruptThrottling(Tuning):
    """Microseconds between interrupts of the port (``ethtool -C PORT rx-usecs``)."""

    id = "port-rx-usecs"
    values = ("3", "0", "100", "500")
    default = "3"
    surveyed = ("500",)
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return the reason where the port cannot say how it throttles."""
        if not target.has_bridge:
            return "The path of this scheme is not one of tap, bridge and port."
        now = target.settings.get(self._path(target), self.default)
        if now is None or not now.isdecimal():
            return f"{target.cable.port} cannot be told how to throttle its interrupts."
        return ""

    def _path(self, target: Target) -> str:
        return f"coalesce:{target.cable.port}/rx-usecs"

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return the present number."""
        return (self._path(target),)

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Write it; 3 stands for igb's own adaptive choice."""
        port, path = target.cable.port, self._path(target)
        before = target.settings.get(path, self.default) or self.default
        if before == self.value:
            return ()
        return (
            HostStep(
                what=f"Set the interrupt throttling of {port} to {self.value} µs.",
                setting=Setting(path, before, self.value),
                do=(operations.set_coalescing(port, "rx-usecs", self.value),),
                undo=(operations.set_coalescing(port, "rx-usecs", before),),
                touches=(port,),
            ),
        )


@dataclass(frozen=True)
class HostHaltPoll(Tuning):
    """Nanoseconds for which KVM spins before it lets a halted vCPU sleep."""

    id = "halt-poll-host"
    values = ("0", "50000", "200000")
    default = "0"
    surveyed = ("200000",)
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return the reason where other VMs would notice."""
        if target.facts.emulated is None and not self.is_default:
            return "It is one setting for all VMs of the host."
        return ""

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return KVM's parameter."""
        return (_HALT_POLL,)

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Write KVM's parameter."""
        before = target.settings.get(_HALT_POLL, self.default) or self.default
        if before == self.value:
            return ()
        return (
            HostStep(
                what=f"Let KVM spin for {self.value} ns before a halted vCPU sleeps.",
                setting=Setting(_HALT_POLL, before, self.value),
                do=(Command.write(_HALT_POLL, self.value),),
                undo=(operations.write_setting(_HALT_POLL, before),),
            ),
        )


@dataclass(frozen=True)
class GuestHaltPoll(Tuning):
    """Nanoseconds for which the guest's own kernel spins before it halts the vCPU."""

    id = "halt-poll-guest"
    values = ("off", "50000", "200000")
    default = "off"
    surveyed = ("200000",)
    place = TuningPlace.GUEST
    restarts_vm = True

    def edit_domain(self, domain: Domain) -> None:
        """Have the guest's kernel take the driver cpuidle-haltpoll."""
        if not self.is_default:
            words = ("cpuidle_haltpoll.force=1", f"haltpoll.guest_halt_poll_ns={self.value}")
            with_kernel_words(domain, *words)

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look at the driver of the idle loop."""
        driver = "none" if self.is_default else "haltpoll"
        return ((("cat", "/sys/devices/system/cpu/cpuidle/current_driver"), rf"^{driver}$"),)
