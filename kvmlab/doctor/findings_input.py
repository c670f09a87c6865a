"""All that the rules are judged by."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kvmlab.doctor.guest import Guest
from kvmlab.doctor.local_environment import LocalEnvironment
from kvmlab.doctor.model import Finding
from kvmlab.doctor.running_vms import RunningVm, VirtualNic
from kvmlab.doctor.symptoms import Symptoms
from kvmlab.facts import HostFacts, NetFunction
from kvmlab.facts.pci import ADDRESS
from kvmlab.schemes.feasibility import cable_for

#: Drivers of devices that are no network cards, as they begin their lines.
_OTHER_DRIVERS: Final = re.compile(
    r"\b(amdgpu|nvidia|nouveau|i915|xe|radeon|nvme|xhci_hcd|ahci|ata\d+|mpt3sas|megaraid_sas|qla2xxx"
    r"|lpfc|snd_hda_intel|qxl|usb \d[\d.-]*|sd [\d:]+):? "
)


@dataclass(frozen=True)
class FindingsInput:
    """One host, read; judging it asks nothing more.

    ``vms_unread`` says why the running VMs are not known, ``guest`` is the VM whose inside was
    read, ``leftovers`` are sentences about what runs that died left behind.
    """

    facts: HostFacts
    symptoms: Symptoms
    vms: tuple[RunningVm, ...] = ()
    vms_unread: str = ""
    guest: Guest | None = None
    environment: LocalEnvironment | None = None
    leftovers: tuple[str, ...] = ()

    @property
    def pfs(self) -> tuple[NetFunction, ...]:
        """Functions that can have VFs."""
        return tuple(port for port in self.facts.ports if port.sriov_totalvfs)

    @property
    def pfs_with_vfs(self) -> tuple[NetFunction, ...]:
        """Functions that have VFs now."""
        return tuple(port for port in self.pfs if port.sriov_numvfs)

    @property
    def tested(self) -> NetFunction | None:
        """The port under test, or the one that schemes would take; None where there is none."""
        cable = cable_for(self.facts)
        candidates = (port for port in self.facts.ports if port.netns is None)
        return next(
            (port for port in candidates if cable is not None and cable.port in port.names), None
        )

    def cards(self, kind: str | None = None) -> tuple[tuple[RunningVm, VirtualNic], ...]:
        """Return the cards of all running VMs, of one kind or of all."""
        return tuple(
            (vm, card) for vm in self.vms for card in vm.cards if kind is None or card.kind == kind
        )

    def says(
        self, pattern: str, *, unless: Callable[[str], bool] | None = None, since: float = 0
    ) -> str | None:
        """Return the newest line of a log that matches, counts, and is of no other kind of device.

        Lines about functions of the host that are no network functions do not count. The other
        arguments are those of `Symptoms.says`.
        """
        return self.symptoms.says(
            pattern,
            unless=lambda line: (
                self._is_of_another_kind(line) or (unless is not None and unless(line))
            ),
            since=since,
        )

    def named_in(self, line: str) -> tuple[NetFunction, ...]:
        """Return the network functions that a line of a log names by address or interface."""
        words = set(re.findall(r"[\w.:-]+[\w]", line)) | set(re.findall(ADDRESS, line))
        return tuple(port for port in self.facts.ports if words & {port.address, *port.names})

    def _is_of_another_kind(self, line: str) -> bool:
        addresses = set(re.findall(ADDRESS, line))
        others = addresses & self.facts.other_functions.keys()
        if others and not addresses & {port.address for port in self.facts.ports}:
            return True
        return _OTHER_DRIVERS.search(line) is not None

    def holders(self, address: str) -> tuple[str, ...]:
        """Return the running VMs that hold the host's function ``address``."""
        return tuple(vm.name for vm in self.vms if address in vm.devices)


Judge = Callable[[FindingsInput], Finding]


def named(port: NetFunction) -> str:
    """Return ``p2p1 (0000:0b:00.0)``, or the address alone where it has no interface."""
    return f"{port.name} ({port.address})" if port.name else port.address


def listed(words: tuple[str, ...] | list[str]) -> str:
    """Join words with commas; "none" for none."""
    return ", ".join(words) or "none"
