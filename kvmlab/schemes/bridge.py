"""Schemes on a Linux bridge, which joins a tap of the VM and a port of the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kvmlab.changes import BRIDGE_MAC_PREFIX, Command, HostStep, Setting, operations
from kvmlab.domain import Interface
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.port import BRIDGE, switched_on, usable_port
from kvmlab.schemes.vfs import make_vfs, physical_function

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable

#: Set when the bridge is created: by default a bridge has the lowest MAC among its ports, which
#: changes when a tap comes or goes. It also marks the bridge as the lab's.
BRIDGE_MAC: Final = f"{BRIDGE_MAC_PREFIX}:6d:6c:00"


class BridgeScheme(Scheme):
    """A scheme whose packets cross a Linux bridge: a NIC model and its back end."""

    @property
    @abstractmethod
    def model(self) -> str:
        """The NIC model that the VM sees, in libvirt's term."""

    @property
    def with_vfs(self) -> int:
        """Number of VFs on the port below the bridge, which break it: the trap, set on purpose."""
        return 0

    @property
    def learning(self) -> bool:
        """True where the bridge learns MACs at the port; without learning the trap does no harm."""
        return True

    @property
    def trap(self) -> str:
        """The suffix of the id: "" without VFs, "-on-vfs", "-on-vfs-cured"."""
        return "" if not self.with_vfs else "-on-vfs" if self.learning else "-on-vfs-cured"

    @property
    def trap_label(self) -> str:
        """The suffix of the label."""
        suffixes = {"": "", "-on-vfs": ", port with VFs", "-on-vfs-cured": ", port with VFs, cured"}
        return suffixes[self.trap]

    @property
    def must_answer(self) -> bool:
        """True unless the trap is set: then the peer cannot answer."""
        return not self.with_vfs or not self.learning

    @property
    def driver(self) -> str | None:
        """The back end in the XML; None where the NIC model has no choice."""
        return None

    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Create the bridge, put the port into it, set it up: the steps that are still needed."""
        if not self.with_vfs:
            return bridge_steps(facts, cable.port)
        vfs = make_vfs(physical_function(facts, cable.port), self.with_vfs)
        return (*vfs, *bridge_steps(facts, cable.port, allow_vfs=True, learning=self.learning))

    def interface(self, facts: HostFacts, cable: Cable, mac: str) -> Interface:
        """Return a tap on the bridge."""
        return Interface.on_bridge(
            BRIDGE, mac=mac, model=self.model, driver=self.driver, queues=self.queues
        )

    def notes(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Warn of the trap of VFs below a bridge."""
        notes = []
        if self.with_vfs:
            notes.append(
                "Ports with VFs switch inside the NIC. QEMU's 82576 returns broadcasts of the VM "
                "to the port, so the bridge learns the VM's MAC there and drops answers to the VM. "
                + (
                    "The peer will not answer, and its answer is not waited for."
                    if self.learning
                    else "Learning is off on the port, which cures it."
                )
            )
        return notes


def bridge_steps(
    facts: HostFacts, port_name: str, *, allow_vfs: bool = False, learning: bool = True
) -> tuple[HostStep, ...]:
    """Return the steps that put ``port_name`` into the lab's bridge, up; none where it is there.

    Raises:
        Unavailable: there is no such port, it has VFs or belongs to another bridge; or a bridge
            of the lab's name exists that is not the lab's.
    """
    port = usable_port(facts, port_name)
    if not allow_vfs:
        _refuse_vfs(facts, port_name)
    steps = []
    bridge = facts.link(BRIDGE)
    if bridge is None:
        steps.append(_make_bridge())
    elif bridge.mac != BRIDGE_MAC:
        raise Unavailable(
            f"There is a {BRIDGE} on this host already, and kvmlab did not make it.",
            rule=Rule.BRIDGE_NAME_TAKEN,
            todo=f"Rename it or remove it: `ip link delete {BRIDGE}`.",
        )
    if port.master != BRIDGE:
        steps.append(_join(port_name, learning=learning))
    return (*steps, *switched_on(port))


def _refuse_vfs(facts: HostFacts, name: str) -> None:
    function = next((f for f in facts.ports if name in f.names and f.netns is None), None)
    if function is not None and function.sriov_numvfs:
        raise Unavailable(
            f"{name} has {function.sriov_numvfs} VFs. A bridge on a port with VFs loses packets of "
            "its VMs: the switch in the NIC does not know their MACs.",
            rule=Rule.BRIDGE_ON_PORT_WITH_VFS,
            todo=f"Take the VFs away first: `echo 0 > /sys/class/net/{name}/device/sriov_numvfs`.",
        )


def _make_bridge() -> HostStep:
    arguments = ("name", BRIDGE, "address", BRIDGE_MAC, "type", "bridge")
    # Spanning tree would hold back packets for 30 s; snooping would add queries of its own.
    quiet = ("stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
    ipv6 = "/proc/sys/net/ipv6/conf/{}/disable_ipv6"
    return HostStep(
        what=f"Make the bridge {BRIDGE}: a switch in the kernel, without spanning tree.",
        setting=Setting(f"/sys/class/net/{BRIDGE}/address", None, BRIDGE_MAC),
        do=(
            Command(("ip", "link", "add", *arguments, *quiet)),
            # Where the host uses IPv6, a router behind the port would give the bridge an address
            # and the host a second default route.
            Command.write(ipv6.format(BRIDGE), "1", only_when=(ipv6.format("default"), "0")),
            Command(("ip", "link", "set", "dev", BRIDGE, "up")),
        ),
        undo=(operations.delete_link(BRIDGE),),
        touches=(BRIDGE,),
    )


def _join(port: str, *, learning: bool) -> HostStep:
    no_learning = Command(("bridge", "link", "set", "dev", port, "learning", "off"))
    return HostStep(
        what=f"Put the port {port} into the bridge.",
        setting=Setting(f"/sys/class/net/{port}/master", None, BRIDGE),
        do=(
            Command(("ip", "link", "set", "dev", port, "master", BRIDGE)),
            *(() if learning else (no_learning,)),
        ),
        undo=(operations.leave_master(port),),
        touches=(port,),
    )
