"""VFs of a port: making them, and finding the one to use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from kvmlab.changes import Command, HostStep, Setting, await_link, await_link_again, keep_port
from kvmlab.domain import PciAddress
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import LinkState, ModuleState, Rule
from kvmlab.facts.sriov import refusals

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, NetFunction

#: Drivers with the article's option; others never had it.
TAKES_MAX_VFS: Final = ("igb", "ixgbe")
_SLOT_BITS: Final = 5
_FUNCTION_BITS: Final = 3


@dataclass(frozen=True)
class VfKnobs:
    """What a PF can decide about one of its VFs; None leaves it as the driver has it.

    ``max_tx_rate`` is in Mbit/s.
    """

    mac: str | None = None
    vlan: int | None = None
    spoofchk: bool | None = None
    trust: bool | None = None
    max_tx_rate: int | None = None
    link_state: Literal["auto", "enable", "disable"] | None = None

    def __post_init__(self) -> None:
        if self.vlan is not None and not 0 < self.vlan < 4095:
            raise UsageError(f"{self.vlan} is no VLAN.", todo="Use 1 to 4094.")
        if self.max_tx_rate is not None and self.max_tx_rate < 0:
            raise UsageError(
                f"A rate of {self.max_tx_rate} Mbit/s was asked for.", todo="0 is no limit."
            )

    def commands(self, pf: str, index: int) -> tuple[Command, ...]:
        """``ip link set PF vf N …``, one command for each knob that is set."""
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


def physical_function(facts: HostFacts, name: str) -> NetFunction:
    """The PF of that interface name, able to have VFs that a VM can be given.

    Raises:
        Unavailable: there is none; or it has no SR-IOV; or no device can be isolated.
    """
    port = facts.port(name)
    if not port.sriov_totalvfs:
        raise Unavailable(
            f"{name} ({port.address}, {port.description or port.driver}) has no SR-IOV.",
            rule=Rule.SRIOV_MISSING,
            todo="Choose a port that has (`kvmlab inspect` says which), and see that SR-IOV is on "
            "in the firmware.",
        )
    if not facts.iommu.on:
        raise Unavailable(
            "The IOMMU is off, so no VF can be given to a VM.",
            rule=Rule.IOMMU_OFF,
            todo="Switch it on in the firmware, and for Intel boot with `intel_iommu=on iommu=pt`.",
        )
    return port


def make_vfs(port: NetFunction, count: int, *also: Command) -> tuple[HostStep, ...]:
    """What has to change for ``port`` to have ``count`` VFs; nothing where it has some.

    ``also`` are commands that set up the new VFs; what they set goes with the VFs.

    The port loses its link when VFs come or go. Its VFs have none meanwhile, a VF that is asked
    for its MAC gets no answer and takes a random one, and no rate is taken, which is a share of the
    link's speed: so the link is awaited, both times.

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
        do=(Command.write(path, str(count)), *_link_comes(port), *also),
        undo=(Command.write(path, "0"), *((await_link_again(port.name),) if port.name else ())),
        touches=(*port.names, port.address),
        below_device=True,
        meanings=(*refusals(wanted=count, port=port), _no_link(name)),
    )
    return (*_no_autoprobe(port), make)


def reload_with_vfs(
    facts: HostFacts, port: NetFunction, count: int, *also: Command
) -> tuple[HostStep, ...]:
    """The article's way to VFs: the driver unloaded, and loaded again with ``max_vfs``.

    Every port of that driver goes away and comes back with as many VFs: all of them are
    remembered, and put back at once and once more at the end.

    Raises:
        Unavailable: the driver has no such option, is built in, or has VFs already; or a port of
            it belongs to a bridge or bond.
    """
    if port.driver not in TAKES_MAX_VFS or facts.modules.get(port.driver) != ModuleState.LOADED:
        raise Unavailable(
            f"The driver of {port.name}, {port.driver or 'none'}, takes no max_vfs, or is no "
            "module that could be loaded anew.",
            rule=Rule.SRIOV_MISSING,
            todo='Use way="sriov_numvfs".',
        )
    total = min(one.sriov_totalvfs or 0 for one in _siblings(facts, port))
    if count > total or any(one.sriov_numvfs for one in _siblings(facts, port)):
        raise Unavailable(
            f"max_vfs={count} was asked for: the ports of {port.driver} can have {total} each, and "
            "none may have any before.",
            rule=Rule.NUMVFS_REFUSED,
            todo=f"Use 1 to {total}, and take away the VFs that there are.",
        )
    kept = tuple(keep_port(facts, one) for one in _siblings(facts, port))
    driver = str(port.driver)
    unload = Command(("modprobe", "-r", driver))
    path = f"/sys/bus/pci/devices/{port.address}/sriov_numvfs"
    reload = HostStep(
        what=f"Load {driver} anew with max_vfs={count}: {_names(facts, port)} go and come back.",
        setting=Setting(path, "0", str(count)),
        do=(
            unload,
            Command(("modprobe", driver, f"max_vfs={count}")),
            *(command for step in kept for command in step.undo),
            *_link_comes(port),
            *also,
        ),
        undo=(unload, Command(("modprobe", driver))),
        touches=tuple(name for step in kept for name in step.touches),
        settles=True,
        below_device=True,
        meanings=(_no_link(str(port.name)),),
    )
    return (*kept, *_no_autoprobe(port), reload)


def _link_comes(port: NetFunction) -> tuple[Command, ...]:
    """Wait for the link, unless there was none before although the port is up: no cable."""
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
    """All functions of the port's driver, itself among them."""
    return tuple(one for one in facts.ports if one.driver == port.driver)


def _names(facts: HostFacts, port: NetFunction) -> str:
    return " and ".join(one.name or one.address for one in _siblings(facts, port))


def _no_autoprobe(port: NetFunction) -> tuple[HostStep, ...]:
    if not port.sriov_drivers_autoprobe:
        return ()
    path = f"/sys/bus/pci/devices/{port.address}/sriov_drivers_autoprobe"
    return (
        HostStep(
            what="Keep the host's own drivers away from VFs that appear.",
            setting=Setting(path, "1", "0"),
            do=(Command.write(path, "0"),),
            undo=(Command.write(path, "1"),),
            touches=(*port.names, port.address),
        ),
    )


def vf_address(port: NetFunction, index: int) -> PciAddress:
    """Where VF ``index`` of a PF is, or will be once it is made.

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
    """The index of the VF to use: ``wanted``, else the first that no VM has.

    Raises:
        Unavailable: that VF is not among those that there are, or a VM has it; or all are taken.
    """
    there = port.sriov_numvfs or count
    taken = {
        index
        for index, address in enumerate(port.vfs)
        if any(f.address == address and f.driver == "vfio-pci" for f in facts.ports)
    }
    if wanted is not None and wanted >= there:
        raise Unavailable(
            f"VF {wanted} was asked for, and {port.name} has {there} VFs, counted from 0. Their "
            "number cannot be changed while there are some (EBUSY).",
            rule=Rule.NUMVFS_REFUSED,
            todo="Take one of those, or take all away first: "
            f"`echo 0 > /sys/bus/pci/devices/{port.address}/sriov_numvfs`.",
        )
    free = [index for index in range(there) if index not in taken]
    if (wanted is not None and wanted in taken) or not free:
        raise Unavailable(
            f"VF {wanted} of {port.name} is held by vfio-pci."
            if wanted is not None
            else f"All {there} VFs of {port.name} are held by vfio-pci.",
            rule=Rule.PORT_IN_USE,
            todo="Find the VM that has it (`virsh dumpxml`), or take another VF.",
        )
    return free[0] if wanted is None else wanted
