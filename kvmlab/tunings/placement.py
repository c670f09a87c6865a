"""Placement: which CPUs and which kind of thread the VM and its back end have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.hosts import script_text
from kvmlab.tunings.base import Target, Tuning, TuningPlace


@dataclass(frozen=True)
class VhostModule(Tuning):
    """A parameter of the modules of vhost, which they take when they are loaded."""

    place = TuningPlace.HOST
    module: ClassVar[str]
    parameter: ClassVar[str]
    #: The text of the parameter by value.
    texts: ClassVar[dict[str, str]]

    def refusal(self, target: Target) -> str:
        """Return the reason where vhost does not serve the NIC, or other VMs would lose it."""
        if target.scheme.backend != "vhost":
            return "vhost does not serve this scheme."
        if target.facts.emulated is None and not self.is_default:
            return "vhost would have to be loaded anew, for which no VM of the host may use it."
        if target.settings.get(self._path, self.texts[self.default]) is None:
            return f"This kernel's {self.module} has no parameter {self.parameter}."
        return ""

    @property
    def _path(self) -> str:
        return f"/sys/module/{self.module}/parameters/{self.parameter}"

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return the parameter."""
        return (self._path,)

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Load the modules anew, with the parameter."""
        before = target.settings.get(self._path, self.texts[self.default])
        after = self.texts[self.value]
        if before == after or before is None:
            return ()
        own = f"{self.parameter}={after}"
        first = (Command(("modprobe", self.module, own)),)
        then = () if self.module == "vhost_net" else (Command(("modprobe", "vhost_net")),)
        unload = operations.unload_module("vhost_net")
        return (
            HostStep(
                what=f"Load vhost anew with {own}.",
                setting=Setting(self._path, before, after),
                do=(unload, *first, *then),
                undo=(unload, operations.load_module("vhost_net")),
                below_device=True,
            ),
        )


@dataclass(frozen=True)
class ZeroCopy(VhostModule):
    """Sent packets taken from the guest's memory without a copy."""

    id = "zerocopy"
    values = ("off", "on")
    default = "off"
    module = "vhost_net"
    parameter = "experimental_zcopytx"
    texts: ClassVar[dict[str, str]] = {"off": "0", "on": "1"}


@dataclass(frozen=True)
class VhostThread(VhostModule):
    """The kind of thread that a vhost worker is: a task of QEMU, or a thread of the kernel."""

    id = "vhost-thread"
    values = ("task", "kernel")
    default = "task"
    module = "vhost"
    parameter = "fork_from_owner_default"
    texts: ClassVar[dict[str, str]] = {"task": "Y", "kernel": "N"}


@dataclass(frozen=True)
class Pinning(Tuning):
    """CPUs of vCPU, emulator and vhost worker: all on one, or the vCPUs apart from the others."""

    id = "pinning"
    values = ("none", "together", "apart")
    default = "none"
    surveyed = ("apart",)
    place = TuningPlace.HOST
    needs_wall_clock = True

    def refusal(self, target: Target) -> str:
        """Return the reason where there is one CPU only."""
        if self.is_default:
            return ""
        if target.facts.cpu.logical_cpus < _LEAST_CPUS:
            return (
                "The host has one CPU. Under the virtual clock it has no second one, since that "
                "clock adds up the work of all; use clock='wall'."
            )
        return ""

    def tap_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Move the threads once the interface, and with it vhost's worker, is there."""
        if self.is_default:
            return ()
        words = ("sh", "-s", "--", "pin", target.vm_name, self.value)
        return (
            HostStep(
                what=f"Put the threads of the VM and its back end {self.value} on CPUs 0 and 1.",
                setting=Setting(f"pinning:{target.vm_name}", "none", self.value),
                do=(
                    Command(
                        words,
                        script_text("kvmlab.changes", "pin_threads.sh"),
                        shown_as=f"taskset: vCPUs on CPU 0, the others on CPU "
                        f"{'0' if self.value == 'together' else '1'}",
                    ),
                ),
                undo=(operations.unpin_threads(target.vm_name),),
            ),
        )


_LEAST_CPUS = 2
