"""The bridge below several schemes: a tap of the VM and a port of the host, in one switch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kvmlab.changes import BRIDGE_MAC_PREFIX, Command, HostStep, Setting
from kvmlab.domain import Interface
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.port import BRIDGE, switched_on, usable_port
from kvmlab.schemes.vfs import make_vfs, physical_function

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Wire

#: Set when the bridge is made: left to itself a bridge takes the lowest MAC among its ports, and
#: changes it when a tap comes or goes. It also tells this bridge from one of the user's.
BRIDGE_MAC: Final = f"{BRIDGE_MAC_PREFIX}:6d:6c:00"


class BridgeScheme(Scheme):
    """A scheme whose packets cross a Linux bridge: a card model, and who serves it."""

    @property
    @abstractmethod
    def model(self) -> str:
        """The card the VM sees, in libvirt's word."""

    @property
    def with_vfs(self) -> int:
        """So many VFs on the port below the bridge: the trap, set on purpose."""
        return 0

    @property
    def learning(self) -> bool:
        """Whether the bridge learns from what comes in at the port; without, the trap is open."""
        return True

    @property
    def trap(self) -> str:
        """For ids: "" without VFs, "-on-vfs", "-on-vfs-cured"."""
        return "" if not self.with_vfs else "-on-vfs" if self.learning else "-on-vfs-cured"

    @property
    def trap_words(self) -> str:
        """For labels."""
        words = {"": "", "-on-vfs": ", port with VFs", "-on-vfs-cured": ", port with VFs, cured"}
        return words[self.trap]

    @property
    def must_answer(self) -> bool:
        """The trap is there to be looked at."""
        return not self.with_vfs or not self.learning

    @property
    def driver(self) -> str | None:
        """The back end to write into the XML; None where the card has no choice."""
        return None

    def host_steps(self, facts: HostFacts, wire: Wire) -> Sequence[HostStep]:
        """The bridge, the port in it, the port up: what of it is not so already."""
        if not self.with_vfs:
            return bridge_steps(facts, wire.port)
        vfs = make_vfs(physical_function(facts, wire.port), self.with_vfs)
        return (*vfs, *bridge_steps(facts, wire.port, allow_vfs=True, learning=self.learning))

    def interface(self, facts: HostFacts, wire: Wire, mac: str) -> Interface:
        """A tap on the bridge."""
        return Interface.on_bridge(
            BRIDGE, mac=mac, model=self.model, driver=self.driver, queues=self.queues
        )

    def notes(self, facts: HostFacts, wire: Wire) -> Sequence[str]:
        """Addresses of the port do not answer while it is in a bridge."""
        notes = []
        if self.with_vfs:
            notes.append(
                "A port with VFs switches inside the card: a broadcast of the VM comes back to the "
                "port, the bridge learns the VM's MAC there, and answers to the VM are dropped. "
                + (
                    "The peer will not answer, and nobody waits for it."
                    if self.learning
                    else "Learning is off on the port, which cures it."
                )
            )
        port = facts.link(wire.port)
        if port is not None and port.addresses:
            notes.append(
                f"{wire.port} carries {', '.join(port.addresses)}: while the port is in the "
                "bridge, the host cannot be reached there. The addresses stay and work again "
                "afterwards."
            )
        return notes


def bridge_steps(
    facts: HostFacts, port_name: str, *, allow_vfs: bool = False, learning: bool = True
) -> tuple[HostStep, ...]:
    """What has to change for ``port_name`` to be in the lab's bridge, and up.

    Raises:
        Unavailable: no such port; or it has VFs, or belongs to another bridge; or a bridge of the
            lab's name is somebody else's.
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
            f"{name} has {function.sriov_numvfs} VFs. A bridge on a port with VFs loses the VM's "
            "packets: its switch learns the VM's MAC outside and never sends its packets in.",
            rule=Rule.BRIDGE_ON_PORT_WITH_VFS,
            todo=f"Take the VFs away first: `echo 0 > /sys/class/net/{name}/device/sriov_numvfs`.",
        )


def _make_bridge() -> HostStep:
    words = ("name", BRIDGE, "address", BRIDGE_MAC, "type", "bridge")
    # Spanning tree would hold back packets for 30 s; snooping would add queries of its own.
    quiet = ("stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
    ipv6 = "/proc/sys/net/ipv6/conf/{}/disable_ipv6"
    return HostStep(
        what=f"Make the bridge {BRIDGE}: a switch in the kernel, without spanning tree.",
        setting=Setting(f"/sys/class/net/{BRIDGE}/address", None, BRIDGE_MAC),
        do=(
            Command(("ip", "link", "add", *words, *quiet)),
            # Where the host uses IPv6, a router behind the port would give the bridge an address
            # and the host a second default route.
            Command.write(ipv6.format(BRIDGE), "1", only_when=(ipv6.format("default"), "0")),
            Command(("ip", "link", "set", "dev", BRIDGE, "up")),
        ),
        undo=(Command(("ip", "link", "delete", "dev", BRIDGE)),),
        touches=(BRIDGE,),
    )


def _join(port: str, *, learning: bool) -> HostStep:
    deaf = Command(("bridge", "link", "set", "dev", port, "learning", "off"))
    return HostStep(
        what=f"Put the port {port} into the bridge.",
        setting=Setting(f"/sys/class/net/{port}/master", None, BRIDGE),
        do=(
            Command(("ip", "link", "set", "dev", port, "master", BRIDGE)),
            *(() if learning else (deaf,)),
        ),
        undo=(Command(("ip", "link", "set", "dev", port, "nomaster")),),
        touches=(port,),
    )
