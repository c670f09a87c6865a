"""PCI passthrough: a whole function of the host, given to the VM (the article's third scheme)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmlab.changes import VFIO, HostStep, keep_port, protected_interfaces, take_port
from kvmlab.domain import HostDevice, PciAddress, alias_for
from kvmlab.errors import Unavailable
from kvmlab.facts import ModuleState, Rule
from kvmlab.facts.interface_users import function_users
from kvmlab.facts.port_kind import unfit_reason
from kvmlab.facts.rules import unavailable
from kvmlab.schemes.base import Scheme, mac_for
from kvmlab.schemes.options import check_options

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, NetFunction
    from kvmlab.hosts import Cable


@dataclass(frozen=True)
class PciPassthrough(Scheme):
    """A whole network function of the host, which the VM alone uses meanwhile.

    ``port`` is its name or PCI address; left out, the second cable of the host where there is one
    (on the embedded host 0000:04:00.0), else the port under test. ``managed`` lets libvirt bind
    the function to vfio-pci and back; without it kvmlab does, in steps of the plan. ``group``
    decides about other functions of its IOMMU group that the host uses: "refuse" the plan, or
    "take" them from the host as well, to VFIO, where they are unused until the plan is reverted.
    """

    port: str | None = None
    managed: bool = True
    group: Literal["refuse", "take"] = "refuse"

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def id(self) -> str:
        """A stable name: "passthrough", "passthrough-unmanaged"."""
        return "passthrough" if self.managed else "passthrough-unmanaged"

    @property
    def label(self) -> str:
        """The name in figures."""
        return "PCI passthrough" if self.managed else "PCI passthrough, unmanaged"

    @property
    def backend(self) -> str:
        """The NIC itself: no program of the host sees a packet."""
        return "hardware"

    def cable(self, facts: HostFacts) -> Cable | None:
        """Return the cable of the port that is named, else the second one, else the first."""
        if self.port is not None:
            names = facts.port(self.port).names
            return next((cable for cable in facts.cables if cable.port in names), None)
        return facts.cables[1] if len(facts.cables) > 1 else facts.cable

    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Take the rest of the group from the host, where allowed; take or remember the port.

        Raises:
            Unavailable: there is no such port, no IOMMU or no VFIO; its group is not viable; or
                it cannot be reset between two users.
        """
        port = self._function(facts, cable)
        _refuse_unsuitable(facts, port)
        others = _rest_of_group(facts, port)
        for function in (port, *others):
            _refuse_users(facts, function)
            _refuse_vfs(function)
        if others and self.group == "refuse":
            raise Unavailable(
                f"{port.address} cannot be given away alone: group is not viable. "
                f"{port.handover.reason}",
                rule=Rule.GROUP_NOT_VIABLE,
                todo='Take them from the host as well: PciPassthrough(group="take"); or move the '
                "card to a slot with a group of its own; or use a VF.",
            )
        own = keep_port(facts, port) if self.managed else take_port(facts, port)
        return (*(take_port(facts, other) for other in others), own)

    def interface(self, facts: HostFacts, cable: Cable, mac: str) -> HostDevice:
        """Return the function as a PCI host device."""
        address = PciAddress.parse(self._function(facts, cable).address)
        return HostDevice.of(address, alias=alias_for(mac), managed=self.managed)

    def nic_mac(self, facts: HostFacts, cable: Cable) -> str:
        """Return the NIC's own MAC, which no <hostdev> can change."""
        return self._function(facts, cable).mac or mac_for(self.id)

    def touches(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Return the port and its function."""
        port = self._function(facts, cable)
        return (*port.names, port.address)

    def notes(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Name the interfaces that the host loses meanwhile, and what is not put back."""
        port = self._function(facts, cable)
        lost = [
            *port.names,
            *(name for other in _rest_of_group(facts, port) for name in other.names),
        ]
        notes = [
            f"The host has no {' and no '.join(lost)} meanwhile. Afterwards name, MTU, MAC, "
            "addresses and up or down are put back; routes and settings made by ethtool are not.",
            "A VM that has a PCI device cannot be migrated as it is.",
        ]
        if lost[1:]:
            notes.append(
                f"IOMMU group {port.iommu_group} is handed over as a whole: {', '.join(lost[1:])} "
                f"goes to {VFIO} too, where it stays unused."
            )
        return notes

    def _function(self, facts: HostFacts, cable: Cable) -> NetFunction:
        return facts.port(self.port or cable.port)


def _rest_of_group(facts: HostFacts, port: NetFunction) -> tuple[NetFunction, ...]:
    """Return the network functions of the port's IOMMU group that the host's own drivers hold.

    Raises:
        Unavailable: a device that is no network function is among them.
    """
    known = {function.address: function for function in facts.ports}
    foreign = [address for address in port.handover.in_the_way if address not in known]
    if foreign:
        raise Unavailable(
            f"{port.address} shares IOMMU group {port.iommu_group} with {', '.join(foreign)}, "
            "which is no network card: kvmlab does not take it from the host.",
            rule=Rule.GROUP_NOT_VIABLE,
            todo="Move the card to a slot with a group of its own, or use a VF.",
        )
    return tuple(known[address] for address in port.handover.in_the_way)


def _refuse_users(facts: HostFacts, port: NetFunction) -> None:
    """Raise where something but the lab uses the function; the guard checks the rest."""
    users = function_users(facts, port.address)
    if users.in_use and not {port.address, *port.names} & protected_interfaces(facts).keys():
        raise unavailable(Rule.PORT_IN_USE, users.reason, evidence=str(users))


def _refuse_vfs(port: NetFunction) -> None:
    if port.sriov_numvfs:
        raise Unavailable(
            f"{port.name} has {port.sriov_numvfs} VFs: they would go with it.",
            rule=Rule.PORT_IN_USE,
            todo="Take the VFs away first, or hand over one of them.",
        )


def _refuse_unsuitable(facts: HostFacts, port: NetFunction) -> None:
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
    if rule is Rule.GROUP_NOT_VIABLE and not port.handover.in_the_way:
        raise unavailable(rule, f"{port.address} cannot be given to a VM. {port.handover.reason}")
    for name in port.names:
        link = facts.link(name, netns=port.netns)
        unfit = unfit_reason(facts, link) if link is not None else ""
        if unfit:
            raise unavailable(Rule.PORT_KIND, unfit)
    if facts.modules.get("vfio_pci") is ModuleState.MISSING:
        raise Unavailable(
            f"The kernel {facts.kernel.release} of {facts.label} has no vfio-pci.",
            rule=Rule.MODULE_MISSING,
            todo="Install the kernel package that has it.",
        )
