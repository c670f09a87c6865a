"""All that the rules are judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kvmlab.doctor.desk import Desk
from kvmlab.doctor.domains import Card, RunningVm
from kvmlab.doctor.guest import Guest
from kvmlab.doctor.model import Finding
from kvmlab.doctor.symptoms import Symptoms
from kvmlab.facts import HostFacts, NetFunction
from kvmlab.schemes.catalogue import wire_for


@dataclass(frozen=True)
class Case:
    """One host, read; judging it asks nothing more.

    ``vms_unread`` says why the running VMs are not known, ``guest`` is the VM whose inside was
    read, ``leftovers`` are sentences about what runs that died left behind.
    """

    facts: HostFacts
    symptoms: Symptoms
    vms: tuple[RunningVm, ...] = ()
    vms_unread: str = ""
    guest: Guest | None = None
    desk: Desk | None = None
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
        wire = wire_for(self.facts)
        here = (port for port in self.facts.ports if port.netns is None)
        return next((port for port in here if wire is not None and wire.port in port.names), None)

    def cards(self, kind: str | None = None) -> tuple[tuple[RunningVm, Card], ...]:
        """The cards of all running VMs, of one kind or of all."""
        return tuple(
            (vm, card) for vm in self.vms for card in vm.cards if kind is None or card.kind == kind
        )

    def holders(self, address: str) -> tuple[str, ...]:
        """The running VMs that hold the host's function ``address``."""
        return tuple(vm.name for vm in self.vms if address in vm.devices)


Judge = Callable[[Case], Finding]


def named(port: NetFunction) -> str:
    """``p2p1 (0000:0b:00.0)``, or the address alone where it has no interface."""
    return f"{port.name} ({port.address})" if port.name else port.address


def listed(words: tuple[str, ...] | list[str]) -> str:
    """Words with commas; "none" for none."""
    return ", ".join(words) or "none"
