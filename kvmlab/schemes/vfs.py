"""The VFs of a port: their creation, their options, and the choice of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from kvmlab.changes import Command, HostStep, Setting, await_link, keep_port, operations
from kvmlab.domain import PciAddress
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import LinkState, ModuleState, Rule
from kvmlab.facts.interface_users import function_users
from kvmlab.facts.isolation import vf_isolation_problem
from kvmlab.facts.port_kind import switchdev_ports
from kvmlab.facts.rules import unavailable
from kvmlab.facts.sriov import refusals
from kvmlab.schemes.options import check_options

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, NetFunction

#: Drivers with the article's option; others never had it.
TAKES_MAX_VFS: Final = ("igb", "ixgbe")
#: The most that SR-IOV's routing ids allow.
MOST_VFS: Final = 65535
#: VFs that are made where no number is asked for, if the port can have as many.
USUAL_VFS: Final = 7
_SLOT_BITS: Final = 5
_FUNCTION_BITS: Final = 3


@dataclass(frozen=True)
class VfOptions:
    """Options of one VF that its PF sets; None leaves one as the driver has it.

    ``max_tx_rate`` is in Mbit/s.
    """

    mac: str | None = None
    vlan: int | None = None
    spoofchk: bool | None = None
    trust: bool | None = None
    max_tx_rate: int | None = None
    link_state: Literal["auto", "enable", "disable"] | None = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.mac is not None and not _is_unicast(self.mac):
            raise UsageError(
                f"{self.mac!r} is no MAC of an interface.",
                todo="Give six bytes of lower-case hexadecimal digits, the first of them even: "
                "52:54:00:00:00:07.",
            )
        if self.vlan is not None and not 0 < self.vlan < 4095:
            raise UsageError(f"{self.vlan} is no VLAN.", todo="Use 1 to 4094.")

    def commands(self, pf: str, index: int) -> tuple[Command, ...]:
        """Return ``ip link set PF vf N …``, one command for each option that is set."""
        on = {True: "on", False: "off", None: None}
        values = {
            "mac": self.mac,
            "vlan": self.vlan,
            "spoofchk": on[self.spoofchk],
            "trust": on[self.trust],
            "state": self.link_state,
            "max_tx_rate": self.max_tx_rate,
        }
        of_vf = ("ip", "link", "set", "dev", pf, "vf", str(index))
        return tuple(Command((*of_vf, name, str(v))) for name, v in values.items() if v is not None)


def _is_unicast(mac: str) -> bool:
    """Return whether it is a MAC as the kernel writes it, and of a single interface."""
    return re.fullmatch(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", mac) is not None


def physical_function(facts: HostFacts, name: str) -> NetFunction:
    """Return the PF of that interface name, if it can have VFs that a VM can be given.

    Raises:
        Unavailable: there is no such port, it has no SR-IOV, or the IOMMU is off.
    """
    port = facts.port(name)
    if not port.sriov_totalvfs:
        raise Unavailable(
            f"{name} ({port.address}, {port.description or port.driver}) has no SR-IOV.",
            rule=Rule.SRIOV_MISSING,
            todo="Choose a port that has (`kvmlab inspect` says which), and see that SR-IOV is on "
            "in the firmware.",
        )
    link = facts.link(name)
    representors = switchdev_ports(facts, link) if link is not None else ()
    if representors:
        raise unavailable(
            Rule.PORT_KIND,
            f"The switch inside {name} is in switchdev mode: packets of a VF come out at its "
            f"representor ({representors[0].name}), and leave the port only through a bridge or "
            "Open vSwitch that joins the two.",
            todo="Put the representor and the port into a switch of yours, or go back to legacy "
            f"mode: `devlink dev eswitch set pci/{port.address} mode legacy`.",
        )
    if not facts.iommu.on:
        raise Unavailable(
            "The IOMMU is off, so no VF can be given to a VM.",
            rule=Rule.IOMMU_OFF,
            todo="Switch it on in the firmware, and for Intel boot with `intel_iommu=on iommu=pt`.",
        )
    return port


def make_vfs(port: NetFunction, count: int, *also: Command) -> tuple[HostStep, ...]:
    """Return the steps that create ``count`` VFs of ``port``; none where it has some.

    ``also`` are commands that set up the new VFs; their effect ends with the VFs.

    The port loses its link when VFs come or go. Without it, VFs have no link either, igbvf gets no
    MAC from the PF and takes a random one, and a rate, being a share of the link's speed, is
    refused: so the link is awaited, both times.

    Raises:
        Unavailable: the port cannot have so many.
    """
    total, now = port.sriov_totalvfs or 0, port.sriov_numvfs or 0
    name = port.name or port.address
    if count > total:
        raise Unavailable(
            f"{count} VFs were asked for, and {name} can have {total} (sriov_totalvfs). The kernel "
            "would refuse the number with ERANGE.",
            rule=Rule.NUMVFS_REFUSED,
            todo=f"Use 1 to {total}.",
        )
    if now:
        return ()
    path = f"/sys/bus/pci/devices/{port.address}/sriov_numvfs"
    make = HostStep(
        what=f"Make {count} VF{'s' if count > 1 else ''} of {name}.",
        setting=Setting(path, "0", str(count)),
        do=(Command.write(path, str(count)), *_await_link(port), *also),
        undo=(
            operations.write_setting(path, "0"),
            *((operations.await_link_again(port.name),) if port.name else ()),
        ),
        touches=(*port.names, port.address),
        below_device=True,
        meanings=(*refusals(count=count, port=port), _no_link(name)),
    )
    return (*_no_autoprobe(port), make)


def reload_with_vfs(
    facts: HostFacts, port: NetFunction, count: int, *also: Command
) -> tuple[HostStep, ...]:
    """Return the steps that load the port's driver anew with ``max_vfs``, as the article does.

    Every port of that driver disappears and comes back with as many VFs. All of them are
    remembered, and put back after the reload and again after the revert.

    Raises:
        Unavailable: the driver has no such option, is built in, or has VFs already; or one of its
            ports belongs to a bridge or bond.
    """
    if port.driver not in TAKES_MAX_VFS or facts.modules.get(port.driver) != ModuleState.LOADED:
        raise Unavailable(
            f"The driver of {port.name}, {port.driver or 'none'}, takes no max_vfs, or is no "
            "module that could be loaded anew.",
            rule=Rule.VF_OPTION_UNSUPPORTED,
            todo='Use way="sriov_numvfs".',
        )
    total = min(sibling.sriov_totalvfs or 0 for sibling in _siblings(facts, port))
    if count > total or any(sibling.sriov_numvfs for sibling in _siblings(facts, port)):
        raise Unavailable(
            f"max_vfs={count} was asked for: the ports of {port.driver} can have {total} each, and "
            "none may have any before.",
            rule=Rule.NUMVFS_REFUSED,
            todo=f"Use 1 to {total}, and take away the VFs that there are.",
        )
    remembered = tuple(keep_port(facts, sibling) for sibling in _siblings(facts, port))
    driver = str(port.driver)
    unload = operations.unload_module(driver)
    path = f"/sys/bus/pci/devices/{port.address}/sriov_numvfs"
    reload = HostStep(
        what=f"Load {driver} anew with max_vfs={count}: {_names(facts, port)} go and come back.",
        setting=Setting(path, "0", str(count)),
        do=(
            unload,
            Command(("modprobe", driver, f"max_vfs={count}")),
            *(command for step in remembered for command in step.undo),
            *_await_link(port),
            *also,
        ),
        undo=(unload, operations.load_module(driver)),
        touches=tuple(name for step in remembered for name in step.touches),
        settles=True,
        below_device=True,
        meanings=(_no_link(str(port.name)),),
    )
    return (*remembered, *_no_autoprobe(port), reload)


def _await_link(port: NetFunction) -> tuple[Command, ...]:
    """Return a wait for the link; none where the port has no cable: up, and without a link."""
    if port.name is None or port.link is LinkState.NO_CARRIER:
        return ()
    return (await_link(port.name),)


def _no_link(name: str) -> tuple[str, str]:
    return (
        "has no link after",
        f"{name} lost its link when its VFs were made, as it does, and had none 30 s later: its "
        "VFs have none either. Look at its cable, and at the port at the other end.",
    )


def _siblings(facts: HostFacts, port: NetFunction) -> tuple[NetFunction, ...]:
    """Return all functions of the port's driver, itself among them."""
    return tuple(other for other in facts.ports if other.driver == port.driver)


def _names(facts: HostFacts, port: NetFunction) -> str:
    return " and ".join(sibling.name or sibling.address for sibling in _siblings(facts, port))


def _no_autoprobe(port: NetFunction) -> tuple[HostStep, ...]:
    if not port.sriov_drivers_autoprobe:
        return ()
    path = f"/sys/bus/pci/devices/{port.address}/sriov_drivers_autoprobe"
    return (
        HostStep(
            what="Keep the host's own drivers away from VFs that appear.",
            setting=Setting(path, "1", "0"),
            do=(Command.write(path, "0"),),
            undo=(operations.write_setting(path, "1"),),
            touches=(*port.names, port.address),
        ),
    )


def vf_address(port: NetFunction, index: int) -> PciAddress:
    """Return the PCI address of VF ``index`` of a PF, also of one that is yet to be created.

    Raises:
        Unavailable: the kernel does not say where the VFs will be.
    """
    if index < len(port.vfs):
        return PciAddress.parse(port.vfs[index])
    if not port.sriov_offset or (index and not port.sriov_stride):
        raise Unavailable(
            f"The kernel does not say at which addresses the VFs of {port.address} will appear.",
            rule=Rule.NUMVFS_REFUSED,
            todo=f"Make them first: `echo N > /sys/bus/pci/devices/{port.address}/sriov_numvfs`, "
            "then inspect the host again.",
        )
    pf = PciAddress.parse(port.address)
    routing_id = (pf.bus << 8) | (pf.slot << _FUNCTION_BITS) | pf.function
    routing_id += port.sriov_offset + index * (port.sriov_stride or 0)
    return PciAddress(
        pf.domain,
        routing_id >> 8,
        (routing_id >> _FUNCTION_BITS) & ((1 << _SLOT_BITS) - 1),
        routing_id & ((1 << _FUNCTION_BITS) - 1),
    )


def free_vf(facts: HostFacts, port: NetFunction, wanted: int | None, count: int) -> int:
    """Return the index of the VF to use: ``wanted``, else the first that can be handed over.

    Raises:
        Unavailable: that VF is not among those that there are; somebody uses it; its IOMMU group
            cannot be handed over; or this is so for all.
    """
    present = port.sriov_numvfs or count
    if wanted is not None and wanted >= present:
        raise Unavailable(
            f"VF {wanted} was asked for, and {port.name} has {present} VFs, counted from 0. Their "
            "number cannot be changed while there are some (EBUSY).",
            rule=Rule.NUMVFS_REFUSED,
            todo="Take one of those, or take all away first: "
            f"`echo 0 > /sys/bus/pci/devices/{port.address}/sriov_numvfs`.",
        )
    if not port.sriov_numvfs:
        problem = vf_isolation_problem(facts, port)
        if problem:
            raise unavailable(
                Rule.GROUP_NOT_VIABLE,
                problem,
                todo="Use a slot whose bridge isolates (ACS), or switch ACS on in the firmware.",
            )
        return wanted or 0
    reasons = {
        index: reason
        for index, address in enumerate(port.vfs)
        if (reason := _why_not(facts, index, address))
    }
    free = [index for index in range(present) if index not in reasons]
    if wanted is not None and wanted not in reasons:
        return wanted
    if wanted is None and free:
        return free[0]
    rule, text = reasons[wanted if wanted is not None else min(reasons)]
    raise unavailable(
        rule,
        text if wanted is not None else f"None of the VFs of {port.name} is free. {text}",
        todo=""
        if rule is not Rule.PORT_IN_USE
        else "Take another VF, or free this one: `kvmlab inspect` shows who uses it.",
    )


def _why_not(facts: HostFacts, index: int, address: str) -> tuple[Rule, str] | None:
    """Return why VF ``index`` cannot be handed over; None where it can, or is not known."""
    vf = next((port for port in facts.ports if port.address == address), None)
    if vf is None:
        return None
    users = function_users(facts, address)
    if users.in_use:
        return Rule.PORT_IN_USE, f"VF {index}: {users.reason}"
    if vf.handover.possible or vf.handover.rule is None:
        return None
    return vf.handover.rule, f"VF {index} ({address}): {vf.handover.reason}"
