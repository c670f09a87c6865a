"""macvtap: the VM's NIC directly on a port of the host, without tap and bridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmlab.changes import HostStep, keep_port
from kvmlab.domain import Interface
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import ModuleState, Rule
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.options import check_options
from kvmlab.schemes.port import free_port, switched_on
from kvmlab.schemes.queues import check_queues, name_of_queues, notes_on_queues, words_on_queues
from kvmlab.schemes.vhost import load_vhost

if TYPE_CHECKING:
    from kvmlab.domain import Domain
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable

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
    written. ``model`` is the NIC that the VM sees; with "virtio", ``backend`` is what moves the
    packets: macvtap leaves out the bridge, vhost leaves out QEMU, and each can be used alone.
    ``trust_guest_rx_filters`` lets the VM change its MAC and its multicast groups.
    """

    mode: Literal["bridge", "vepa", "private", "passthrough"] = "bridge"
    model: Literal["virtio", "e1000", "e1000e"] = "virtio"
    backend: Literal["vhost", "qemu"] = "vhost"
    trust_guest_rx_filters: bool = False
    queues: int = 1
    channels: int = 0

    def __post_init__(self) -> None:
        check_options(self)
        check_queues(self.queues, self.channels)
        if self.model != "virtio":
            if self.queues > 1 or self.trust_guest_rx_filters:
                raise UsageError(
                    f"Queues and trusted filters belong to virtio; {self.model} has neither.",
                    todo='Use model="virtio".',
                )
            # QEMU is the only back end of an emulated NIC.
            object.__setattr__(self, "backend", "qemu")

    @property
    def id(self) -> str:
        """A stable name: "macvtap", "macvtap-vepa", "macvtap-e1000", "macvtap-qemu"."""
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
        """The name in figures."""
        mode = "" if self.mode == "bridge" else f" {self.mode}"
        if self.model != "virtio":
            return f"macvtap{mode}, {self.model}"
        backend = "vhost" if self.backend == "vhost" else "QEMU back end"
        trust = ", filters trusted" if self.trust_guest_rx_filters else ""
        return f"macvtap{mode}, {backend}{trust}{words_on_queues(self.queues, self.channels)}"

    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Set the port up and load vhost_net, where needed; libvirt creates the macvtap itself.

        Raises:
            Unavailable: there is no such port, or something else uses it; or the kernel has no
                macvtap or no vhost_net.
        """
        port = free_port(facts, cable.port)
        if facts.modules.get("macvtap") is ModuleState.MISSING:
            raise Unavailable(
                f"The kernel {facts.kernel.release} of {facts.label} has no macvtap.",
                rule=Rule.MODULE_MISSING,
                todo="Install the kernel package that has it.",
            )
        steps = (*self._kept(facts, cable), *switched_on(port))
        return (*steps, *load_vhost(facts)) if self.backend == "vhost" else steps

    def _kept(self, facts: HostFacts, cable: Cable) -> tuple[HostStep, ...]:
        """Remember the port in mode "passthrough": libvirt changes its MAC and leaves it down."""
        functions = (f for f in facts.ports if cable.port in f.names and f.netns is None)
        function = next(functions, None)
        if self.mode != "passthrough" or function is None:
            return ()
        return (keep_port(facts, function),)

    def interface(self, facts: HostFacts, cable: Cable, mac: str) -> Interface:
        """Return a macvtap on the port."""
        return Interface.on_port(
            cable.port,
            mac=mac,
            mode=self.mode,
            model=self.model,
            driver=self.backend if self.model == "virtio" else None,
            queues=self.queues,
            trust_guest_filters=self.trust_guest_rx_filters or None,
        )

    def notes(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Explain that host and VM cannot reach each other, and what the mode does."""
        return (
            "The host and the VM cannot reach each other through this port, by design: what a "
            "macvtap sends goes out of the port and is never handed to the host, and the other "
            "way round. A second interface of the VM, on a bridge, connects them.",
            f"Mode {self.mode}: {_MODES[self.mode]}.",
        )

    def notes_on_vm(self, domain: Domain) -> Sequence[str]:
        """Warn of more queue pairs than the VM has vCPUs."""
        return notes_on_queues(self.queues, domain)
