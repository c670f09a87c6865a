"""An exclusive NIC: a whole PCI function of the host, handed to the VM (the third scheme)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from kvmlab.changes import VFIO, HostStep, keep_port, take_port
from kvmlab.domain import HostDevice, PciAddress, alias_for
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import ModuleState, Rule
from kvmlab.schemes.base import Scheme, mac_for

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, NetFunction
    from kvmlab.hosts import Wire

_GROUPS: Final = ("refuse", "take")


@dataclass(frozen=True)
class PciPassthrough(Scheme):
    """A port of the host that belongs to the VM alone while it has it.

    ``port`` is its name or PCI address; left out, the second cable of the host where there is one
    (on the embedded host 0000:04:00.0), else the port under test. ``managed`` lets libvirt change
    the driver and back; without it kvmlab does, in steps of the plan. ``group`` says what happens
    to other functions of its IOMMU group that the host uses: "refuse" the plan, or "take" them
    from the host as well, to VFIO, where nobody uses them until everything is put back.
    """

    port: str | None = None
    managed: bool = True
    group: Literal["refuse", "take"] = "refuse"

    def __post_init__(self) -> None:
        if self.group not in _GROUPS:
            raise UsageError(
                f"{self.group!r} is nothing that can be done with an IOMMU group.",
                todo=f"Use one of {', '.join(_GROUPS)}.",
            )

    @property
    def id(self) -> str:
        """Short and stable: "passthrough", "passthrough-unmanaged"."""
        return "passthrough" if self.managed else "passthrough-unmanaged"

    @property
    def label(self) -> str:
        """The name for figures."""
        return "exclusive NIC" if self.managed else "exclusive NIC, unmanaged"

    @property
    def backend(self) -> str:
        """The card itself: no program of the host sees a packet."""
        return "hardware"

    def cable(self, facts: HostFacts) -> Wire | None:
        """The cable of the port that is named, else the second one, else the first."""
        if self.port is not None:
            names = facts.port(self.port).names
            return next((wire for wire in facts.wires if wire.port in names), None)
        return facts.wires[1] if len(facts.wires) > 1 else facts.wire

    def host_steps(self, facts: HostFacts, wire: Wire) -> Sequence[HostStep]:
        """The rest of the group away from the host, where asked; the port too, or remembered.

        Raises:
            Unavailable: no such port, no IOMMU, no VFIO; its group is not viable; or it cannot be
                reset between two users.
        """
        port = self._function(facts, wire)
        _refuse_what_cannot_be(facts, port)
        others = _in_the_way(facts, port)
        if others and self.group == "refuse":
            raise Unavailable(
                f"{port.address} cannot be given away alone: group is not viable. "
                f"{port.handover.reason}",
                rule=Rule.GROUP_NOT_VIABLE,
                todo='Take them from the host as well: PciPassthrough(group="take"); or move the '
                "card to a slot with a group of its own; or use a VF.",
            )
        own = keep_port(facts, port) if self.managed else take_port(facts, port)
        return (*(take_port(facts, one) for one in others), own)

    def interface(self, facts: HostFacts, wire: Wire, mac: str) -> HostDevice:
        """The function as it is."""
        address = PciAddress.parse(self._function(facts, wire).address)
        return HostDevice.of(address, alias=alias_for(mac), managed=self.managed)

    def card_mac(self, facts: HostFacts, wire: Wire) -> str:
        """The card's own, which no <hostdev> can change."""
        return self._function(facts, wire).mac or mac_for(self.id)

    def touches(self, facts: HostFacts, wire: Wire) -> Sequence[str]:
        """The port and its function."""
        port = self._function(facts, wire)
        return (*port.names, port.address)

    def notes(self, facts: HostFacts, wire: Wire) -> Sequence[str]:
        """What the host is without meanwhile."""
        port = self._function(facts, wire)
        lost = [*port.names, *(name for one in _in_the_way(facts, port) for name in one.names)]
        notes = [
            f"The host has no {' and no '.join(lost)} meanwhile. Afterwards name, MTU, MAC, "
            "addresses and up or down are put back; routes and settings made by ethtool are not.",
            "A VM that has a PCI device cannot be migrated as it is.",
        ]
        if lost[1:]:
            notes.append(
                f"IOMMU group {port.iommu_group} is handed over as a whole: {', '.join(lost[1:])} "
                f"goes to {VFIO} too, and nobody uses it there."
            )
        return notes

    def _function(self, facts: HostFacts, wire: Wire) -> NetFunction:
        return facts.port(self.port or wire.port)


def _in_the_way(facts: HostFacts, port: NetFunction) -> tuple[NetFunction, ...]:
    """The network functions of the port's group that the host's own drivers hold.

    Raises:
        Unavailable: something that is no network function is among them.
    """
    known = {function.address: function for function in facts.ports}
    strange = [address for address in port.handover.in_the_way if address not in known]
    if strange:
        raise Unavailable(
            f"{port.address} shares IOMMU group {port.iommu_group} with {', '.join(strange)}, "
            "which is no network card: kvmlab does not take it from the host.",
            rule=Rule.GROUP_NOT_VIABLE,
            todo="Move the card to a slot with a group of its own, or use a VF.",
        )
    return tuple(known[address] for address in port.handover.in_the_way)


def _refuse_what_cannot_be(facts: HostFacts, port: NetFunction) -> None:
    rule = port.handover.rule
    if rule in (Rule.IOMMU_OFF, Rule.NO_RESET):
        raise Unavailable(
            f"{port.address} cannot be given to a VM. {port.handover.reason}",
            rule=rule,
            todo="Switch the IOMMU on in the firmware, and for Intel boot with `intel_iommu=on "
            "iommu=pt`."
            if rule is Rule.IOMMU_OFF
            else "Use a VF, or another card: without a reset the next user would find its state.",
        )
    if facts.modules.get("vfio_pci") is ModuleState.MISSING:
        raise Unavailable(
            f"The kernel {facts.kernel.release} of {facts.label} has no vfio-pci.",
            rule=Rule.MODULE_MISSING,
            todo="Install the kernel package that has it.",
        )
    if port.sriov_numvfs:
        raise Unavailable(
            f"{port.name} has {port.sriov_numvfs} VFs: they would go with it.",
            rule=Rule.PORT_IN_USE,
            todo="Take the VFs away first, or hand over one of them.",
        )
