"""SR-IOV: a virtual function of the port, given to the VM (the article's fourth scheme)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.domain import LAB_POOL, HostDevice, Interface, Network, alias_for
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import LinkState, ModuleState, Rule
from kvmlab.schemes.base import Scheme, mac_for
from kvmlab.schemes.options import check_options
from kvmlab.schemes.port import free_port, switched_on
from kvmlab.schemes.vfs import (
    MOST_VFS,
    USUAL_VFS,
    VfOptions,
    free_vf,
    make_vfs,
    physical_function,
    reload_with_vfs,
    vf_address,
)

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, NetFunction
    from kvmlab.hosts import Cable

_POOL_FILE: Final = f"/run/libvirt/network/{LAB_POOL}.xml"


@dataclass(frozen=True)
class SriovVf(Scheme):
    """One VF of the port under test, driven in the VM by igbvf or the like.

    ``how`` is the form of its XML: "interface" (<interface type='hostdev'>: libvirt sets MAC and
    VLAN through the PF), "hostdev" (a bare <hostdev> without either: kvmlab sets them through the
    PF), "network" (a hostdev network, which picks a free VF).

    ``vfs`` is the number of VFs that are created where there are none (left out: seven, or as many
    as the port can have); existing VFs stay as they are. ``way`` is "sriov_numvfs", or the
    article's "max_vfs", which loads the driver anew and takes all of its ports away for a moment.
    ``vf`` is the index of the VF to use; left out, the first that is free. The other options are
    as in `VfOptions`; ``max_tx_rate`` is in Mbit/s.
    """

    how: Literal["interface", "hostdev", "network"] = "interface"
    vfs: int | None = None
    vf: int | None = None
    way: Literal["sriov_numvfs", "max_vfs"] = "sriov_numvfs"
    mac: str | None = None
    vlan: int | None = None
    spoofchk: bool | None = None
    trust: bool | None = None
    max_tx_rate: int | None = None
    link_state: Literal["auto", "enable", "disable"] | None = None

    def __post_init__(self) -> None:
        check_options(self)
        _ = self._all_options  # refuses values of its own
        most = self.vfs if self.vfs is not None else MOST_VFS
        if most < 1 or (self.vf is not None and not 0 <= self.vf < most):
            raise UsageError(
                f"VF {self.vf or 0} of {most} was asked for; the first is VF 0.",
                todo="Give vfs=N to make N of them, and vf=0 to N-1 to choose one.",
            )
        if self.how == "network" and (self.vf is not None or self._beyond_libvirt.commands("", 0)):
            raise UsageError(
                "A hostdev network chooses the VF itself, and sets its MAC and VLAN only.",
                todo='Use how="interface" to choose one and to set more.',
            )

    @property
    def id(self) -> str:
        """A stable name: "sriov-vf", "sriov-vf-hostdev", "sriov-vf-network-vlan7"."""
        words = ["sriov-vf"] + ([self.how] if self.how != "interface" else [])
        words += ["max_vfs"] if self.way == "max_vfs" else []
        on = {True: "on", False: "off"}
        words += [f"vlan{self.vlan}"] if self.vlan is not None else []
        words += [f"spoofchk-{on[self.spoofchk]}"] if self.spoofchk is not None else []
        words += [f"trust-{on[self.trust]}"] if self.trust is not None else []
        words += [f"rate{self.max_tx_rate}"] if self.max_tx_rate is not None else []
        words += [f"link-{self.link_state}"] if self.link_state is not None else []
        return "-".join(words)

    @property
    def label(self) -> str:
        """The name in figures."""
        on = {True: "on", False: "off"}
        words = {
            "bare hostdev": self.how == "hostdev",
            "from a pool": self.how == "network",
            "by max_vfs": self.way == "max_vfs",
            f"VLAN {self.vlan}": self.vlan is not None,
            f"spoof check {on[bool(self.spoofchk)]}": self.spoofchk is not None,
            f"trust {on[bool(self.trust)]}": self.trust is not None,
            f"at most {self.max_tx_rate} Mbit/s": self.max_tx_rate is not None,
            f"link state {self.link_state}": self.link_state is not None,
        }
        return ", ".join(("SR-IOV VF", *(word for word, applies in words.items() if applies)))

    @property
    def backend(self) -> str:
        """The NIC itself: no program of the host sees a packet."""
        return "hardware"

    @property
    def _all_options(self) -> VfOptions:
        return VfOptions(
            mac=self.mac,
            vlan=self.vlan,
            spoofchk=self.spoofchk,
            trust=self.trust,
            max_tx_rate=self.max_tx_rate,
            link_state=self.link_state,
        )

    @property
    def _beyond_libvirt(self) -> VfOptions:
        """The options that libvirt does not set."""
        return replace(self._all_options, mac=None, vlan=None)

    @property
    def must_answer(self) -> bool:
        """False with its link off, or in a VLAN that the peer is not in."""
        return self.vlan is None and self.link_state != "disable"

    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Set the port up, create its VFs, set what libvirt does not, and define the pool.

        Raises:
            Unavailable: there is no SR-IOV, IOMMU or VFIO, too many VFs are wanted, none is free,
                or the port is in a bridge, which VFs break.
        """
        link = free_port(facts, cable.port)
        port = physical_function(facts, cable.port)
        if facts.modules.get("vfio_pci") is ModuleState.MISSING:
            raise Unavailable(
                f"The kernel {facts.kernel.release} of {facts.label} has no vfio-pci.",
                rule=Rule.MODULE_MISSING,
                todo="Install the kernel package that has it.",
            )
        count = self._count(port)
        index = free_vf(facts, port, self.vf, count)
        options = self._options().commands(cable.port, index)
        if port.sriov_numvfs and options:
            raise Unavailable(
                f"{cable.port} has VFs that kvmlab did not make; of these it changes nothing that "
                "libvirt does not put back.",
                rule=Rule.PORT_IN_USE,
                todo="Leave spoofchk, trust, max_tx_rate and link_state out, use "
                'how="interface", or take the VFs away first.',
            )
        _refuse_link_state(port, self.link_state)
        _refuse_rate(port, self.max_tx_rate)
        vfs = (
            make_vfs(port, count, *options)
            if self.way == "sriov_numvfs"
            else reload_with_vfs(facts, port, count, *options)
        )
        steps = (*switched_on(link, linked=True), *vfs)
        return (*steps, vf_pool(cable.port)) if self.how == "network" else steps

    def interface(self, facts: HostFacts, cable: Cable, mac: str) -> Interface | HostDevice:
        """Return the VF in the form that ``how`` names."""
        if self.how == "network":
            return Interface.from_pool(LAB_POOL, mac=mac, vlan=self.vlan)
        port = physical_function(facts, cable.port)
        address = vf_address(port, free_vf(facts, port, self.vf, self._count(port)))
        if self.how == "hostdev":
            return HostDevice.of(address, alias=alias_for(mac))
        return Interface.on_vf(address, mac=mac, vlan=self.vlan)

    def nic_mac(self, facts: HostFacts, cable: Cable) -> str:
        """Return the MAC that was chosen, or the scheme's own."""
        return self.mac or mac_for(self.id)

    def touches(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Return the PF's interface, and the VF where there is one already."""
        port = facts.port(cable.port)
        if self.how == "network" or not port.vfs:
            return (cable.port,)
        return (cable.port, port.vfs[free_vf(facts, port, self.vf, self._count(port))])

    def notes(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Warn of what a VF costs: migration, the link of its port, trust."""
        notes = [
            "A VM that has a VF cannot be migrated as it is; the conclusion names the ways out.",
        ]
        if not facts.port(cable.port).sriov_numvfs:
            notes.append(f"{cable.port} loses its link for a second when VFs come or go.")
        if self.how == "hostdev":
            notes.append(
                "A bare <hostdev> carries neither MAC nor VLAN: libvirt sets nothing through the "
                "PF. kvmlab gives the VF its MAC by hand, else the VM would see a random one."
            )
        if self.max_tx_rate and facts.emulated:
            notes.append(
                "The card of this host is emulated: it notes the rate, and does not keep to it. A "
                "real 82576 does."
            )
        if self.trust:
            notes.append(
                "A trusted VF may change its MAC and see packets that are not for it: trust only "
                "a VM that you would trust with the port."
            )
        return tuple(notes)

    def _count(self, port: NetFunction) -> int:
        """Return the number of VFs to make, where the port has none."""
        if self.vfs is not None:
            return self.vfs
        return min(max(USUAL_VFS, (self.vf or 0) + 1), port.sriov_totalvfs or 1)

    def _options(self) -> VfOptions:
        if self.how != "hostdev":
            return self._beyond_libvirt
        return replace(self._all_options, mac=self.mac or mac_for(self.id))


def _refuse_link_state(port: NetFunction, wanted: str | None) -> None:
    if wanted is not None and port.driver == "igb":
        raise Unavailable(
            f"The driver of {port.name}, igb, cannot set the link state of a VF: the kernel would "
            'answer "Operation not supported".',
            rule=Rule.VF_OPTION_UNSUPPORTED,
            todo="Leave link_state out; ixgbe, i40e, ice and mlx5 can.",
        )


def _refuse_rate(port: NetFunction, wanted: int | None) -> None:
    if wanted is not None and port.link is LinkState.NO_CARRIER:
        raise Unavailable(
            f"{port.name} has no link, and a rate is a share of the link's speed: its driver would "
            'answer "Invalid argument".',
            rule=Rule.PF_DOWN,
            todo="Plug in its cable, or leave max_tx_rate out.",
        )


def vf_pool(pf: str) -> HostStep:
    """Return the step that makes the pool of the VFs of ``pf``."""
    network = Network.of_vfs(LAB_POOL, pf)
    return HostStep(
        what=f"Make the libvirt network {LAB_POOL}: a pool of the VFs of {pf}.",
        setting=Setting(_POOL_FILE, None, "present"),
        # Not /dev/stdin: hosts without udev lack it.
        do=(Command(("virsh", "net-create", "/proc/self/fd/0"), network.xml()),),
        undo=(operations.destroy_network(LAB_POOL),),
        below_device=True,
    )
