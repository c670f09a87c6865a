"""macvtap: the VM's card straight on a port of the host, without tap and bridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmlab.changes import HostStep, keep_port
from kvmlab.domain import Interface
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import ModuleState, Rule
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.port import free_port, switched_on
from kvmlab.schemes.queues import check_queues, name_of_queues, notes_on_queues, words_on_queues
from kvmlab.schemes.vhost import load_vhost

if TYPE_CHECKING:
    from kvmlab.domain import Domain
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Wire

_MODES = {
    "bridge": "VMs on the same port reach each other inside the host",
    "vepa": "VMs on the same port reach each other only through a switch that sends packets back "
    "out of the port they came in by (reflective relay)",
    "private": "VMs on the same port never reach each other",
    "passthrough": "the port belongs to one VM, and takes its MAC meanwhile",
}


@dataclass(frozen=True)
class Macvtap(Scheme):
    """A macvtap on the port under test.

    ``mode`` is one of the kernel's four; libvirt's own default is "vepa", so it is always
    written. ``model`` is the card that the VM sees; with "virtio" ``backend`` says who moves the
    packets: macvtap leaves the bridge out, vhost leaves QEMU out, and each can be had alone.
    ``trust_guest_rx_filters`` lets the VM change its MAC and its multicast groups.
    """

    mode: Literal["bridge", "vepa", "private", "passthrough"] = "bridge"
    model: Literal["virtio", "e1000", "e1000e"] = "virtio"
    backend: Literal["vhost", "qemu"] = "vhost"
    trust_guest_rx_filters: bool = False
    queues: int = 1
    channels: int = 0

    def __post_init__(self) -> None:
        check_queues(self.queues, self.channels)
        if self.mode not in _MODES:
            raise UsageError(
                f"There is no macvtap mode {self.mode!r}.", todo=f"Use one of {', '.join(_MODES)}."
            )
        if self.model != "virtio":
            if self.queues > 1 or self.trust_guest_rx_filters:
                raise UsageError(
                    f"Queues and trusted filters belong to virtio; {self.model} has neither.",
                    todo='Use model="virtio".',
                )
            # An emulated card has no choice.
            object.__setattr__(self, "backend", "qemu")

    @property
    def id(self) -> str:
        """Short and stable: "macvtap", "macvtap-vepa", "macvtap-e1000", "macvtap-qemu"."""
        words = ["macvtap"]
        if self.mode != "bridge":
            words.append(self.mode)
        if self.model != "virtio":
            words.append(self.model)
        elif self.backend == "qemu":
            words.append("qemu")
        if self.trust_guest_rx_filters:
            words.append("trust")
        return "-".join(words) + name_of_queues(self.queues, self.channels)

    @property
    def label(self) -> str:
        """The name for figures."""
        mode = "" if self.mode == "bridge" else f" {self.mode}"
        if self.model != "virtio":
            return f"macvtap{mode}, {self.model}"
        who = "vhost" if self.backend == "vhost" else "QEMU back end"
        trust = ", filters trusted" if self.trust_guest_rx_filters else ""
        return f"macvtap{mode}, {who}{trust}{words_on_queues(self.queues, self.channels)}"

    def host_steps(self, facts: HostFacts, wire: Wire) -> Sequence[HostStep]:
        """The port out of the lab's bridge, and up; vhost_net. libvirt makes the macvtap itself.

        Raises:
            Unavailable: no such port, or somebody else's; or the kernel has no macvtap or no
                vhost_net.
        """
        port = free_port(facts, wire.port)
        if facts.modules.get("macvtap") is ModuleState.MISSING:
            raise Unavailable(
                f"The kernel {facts.kernel.release} of {facts.label} has no macvtap.",
                rule=Rule.MODULE_MISSING,
                todo="Install the kernel package that has it.",
            )
        steps = (*self._kept(facts, wire), *switched_on(port))
        return (*steps, *load_vhost(facts)) if self.backend == "vhost" else steps

    def _kept(self, facts: HostFacts, wire: Wire) -> tuple[HostStep, ...]:
        """In mode "passthrough" libvirt gives the port the VM's MAC, and leaves it down."""
        found = (f for f in facts.ports if wire.port in f.names and f.netns is None)
        function = next(found, None)
        if self.mode != "passthrough" or function is None:
            return ()
        return (keep_port(facts, function),)

    def interface(self, facts: HostFacts, wire: Wire, mac: str) -> Interface:
        """A macvtap on the port."""
        return Interface.on_port(
            wire.port,
            mac=mac,
            mode=self.mode,
            model=self.model,
            driver=self.backend if self.model == "virtio" else None,
            queues=self.queues,
            trust_guest_filters=self.trust_guest_rx_filters or None,
        )

    def notes(self, facts: HostFacts, wire: Wire) -> Sequence[str]:
        """What macvtap is not made for."""
        return (
            "The host and the VM cannot reach each other through this port, by design: what a "
            "macvtap sends goes out of the port and is never handed to the host, and the other "
            "way round. A second interface of the VM on a bridge gives them a way.",
            f"Mode {self.mode}: {_MODES[self.mode]}.",
        )

    def notes_on_vm(self, domain: Domain) -> Sequence[str]:
        """Queues that no vCPU of this VM can serve."""
        return notes_on_queues(self.queues, domain)
