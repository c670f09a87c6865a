"""The guest kernel's command line and CPU: what a VM has from its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.domain.description import LabVm
from kvmlab.tunings.base import Target, Tuning, TuningPlace

if TYPE_CHECKING:
    from kvmlab.domain import Domain


_AVIC = "/sys/module/kvm_amd/parameters/avic"
_HUGE_PAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
_HUGE_KIB = 2048


def with_kernel_words(domain: Domain, *words: str) -> None:
    """Add words to the guest kernel's command line."""
    domain.kernel_arguments = " ".join(filter(None, (domain.kernel_arguments, *words)))


@dataclass(frozen=True)
class GuestMitigations(Tuning):
    """The guest kernel's mitigations of CPU bugs."""

    id = "mitigations-guest"
    values = ("off", "auto")
    default = "off"
    place = TuningPlace.GUEST
    restarts_vm = True

    def edit_domain(self, domain: Domain) -> None:
        """Replace the word on its command line."""
        words = (domain.kernel_arguments or "").split()
        others = [word for word in words if not word.startswith("mitigations=")]
        domain.kernel_arguments = " ".join([*others, f"mitigations={self.value}"])

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look at what the guest's kernel says of one of them."""
        path = "/sys/devices/system/cpu/vulnerabilities/spectre_v2"
        return ((("cat", path), "^Mitigation" if self.value == "auto" else "^Vulnerable"),)


@dataclass(frozen=True)
class HostMitigations(Tuning):
    """The host kernel's mitigations of CPU bugs."""

    id = "mitigations-host"
    values = ("off", "auto")
    default = "off"
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return why this host's are as they are."""
        if self.value == "off":
            return ""
        return (
            "A kernel decides on them at boot, and kvmlab starts no host anew; the embedded host's "
            "kernel has mitigations=off."
        )


@dataclass(frozen=True)
class Avic(Tuning):
    """AMD's interrupt controller in hardware (``avic`` of kvm_amd)."""

    id = "avic"
    values = ("off", "on")
    default = "off"
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return why it cannot be: no such CPU, or VMs would have to end."""
        if self.value == "off":
            return ""
        if target.facts.emulated is not None:
            return "The CPU is emulated, and QEMU emulates no AVIC."
        if target.settings and target.settings.get(_AVIC) is None:
            return "AVIC is AMD's, and kvm_amd is not loaded."
        return (
            "Whether KVM uses it is decided when kvm_amd is loaded, for which no VM of the host "
            "may run: `options kvm_amd avic=1` in /etc/modprobe.d."
        )

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return kvm_amd's parameter."""
        return (_AVIC,)


@dataclass(frozen=True)
class X2apic(Tuning):
    """The guest's interrupt controller by MSRs in place of memory."""

    id = "x2apic"
    values = ("on", "off")
    default = "on"
    place = TuningPlace.VM
    restarts_vm = True

    def edit_domain(self, domain: Domain) -> None:
        """Take the CPU flag away."""
        cpu = domain.node.find("cpu")
        if cpu is not None:
            feature = etree.SubElement(cpu, "feature")
            feature.set("policy", "require" if self.value == "on" else "disable")
            feature.set("name", "x2apic")

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Look at the guest's flags."""
        pattern = r"(?s)^flags.*\bx2apic\b" if self.value == "on" else r"(?s)\A(?!.*\bx2apic\b)"
        return ((("cat", "/proc/cpuinfo"), pattern),)


@dataclass(frozen=True)
class SerialPorts(Tuning):
    """Ports of the virtio-serial controller, of which the agent's channel needs one."""

    id = "serial-ports"
    values = ("2", "31")
    default = "2"
    place = TuningPlace.VM
    restarts_vm = True

    def edit_domain(self, domain: Domain) -> None:
        """Write the number of ports; libvirt's own is 31."""
        for controller in domain.controllers:
            if controller.type == "virtio-serial":
                controller.ports = int(self.value)


@dataclass(frozen=True)
class GuestPages(Tuning):
    """Pages behind the guest's memory: of 2 MiB, reserved or found by the kernel, or small."""

    id = "huge-pages"
    values = ("transparent", "reserved", "none")
    default = "transparent"
    place = TuningPlace.VM
    restarts_vm = True

    def refusal(self, target: Target) -> str:
        """Return the reason where the kernel has no such pages."""
        if self.value == "reserved" and target.settings.get(_HUGE_PAGES, "0") is None:
            return "This kernel has no huge pages of 2 MiB."
        return ""

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return the number of reserved pages."""
        return (_HUGE_PAGES,)

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Reserve as many pages as the lab's VM has memory."""
        before = target.settings.get(_HUGE_PAGES, "0") or "0"
        needed = str(int(before) + LabVm().memory_mib * 1024 // _HUGE_KIB)
        if self.value != "reserved":
            return ()
        return (
            HostStep(
                what=f"Reserve {needed} huge pages of 2 MiB.",
                setting=Setting(_HUGE_PAGES, before, needed),
                do=(Command.write(_HUGE_PAGES, needed),),
                undo=(operations.write_setting(_HUGE_PAGES, before),),
                below_device=True,
            ),
        )

    def edit_domain(self, domain: Domain) -> None:
        """Put the VM's memory on pages of that kind."""
        if self.value == "reserved":
            # Of a size that is named, and without a path: libvirt needs no mounted hugetlbfs then.
            backing = etree.SubElement(domain.node, "memoryBacking")
            pages = etree.SubElement(backing, "hugepages")
            etree.SubElement(pages, "page", size=str(_HUGE_KIB), unit="KiB")
            etree.SubElement(backing, "source").set("type", "memfd")
        if self.value == "none":
            # Pages of a memfd are small ones, unless shmem_enabled of the host says otherwise.
            backing = etree.SubElement(domain.node, "memoryBacking")
            etree.SubElement(backing, "source").set("type", "memfd")
