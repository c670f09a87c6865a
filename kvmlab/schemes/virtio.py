"""virtio: a card made for virtual machines; its back end is QEMU, or the kernel's vhost_net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmlab.changes import HostStep
from kvmlab.schemes.bridge import BridgeScheme
from kvmlab.schemes.queues import check_queues, name_of_queues, notes_on_queues, words_on_queues
from kvmlab.schemes.vhost import load_vhost

if TYPE_CHECKING:
    from kvmlab.domain import Domain
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Wire


@dataclass(frozen=True)
class Virtio(BridgeScheme):
    """A virtio card on the bridge. ``backend`` names who moves the packets on the host.

    Both must be written into the XML: libvirt's default is vhost wherever the module exists, and
    QEMU without a word where it does not. That vhost serves the card is therefore verified by
    the kernel's worker threads after attaching.

    ``queues`` are the queue pairs that the host offers, ``channels`` those that the VM is told to
    use (``ethtool -L``; 0 leaves it to the driver: one for each vCPU, as far as there are).

    ``with_vfs`` VFs on the port below the bridge show the trap in which they break it, and
    ``learning=False`` its cure.
    """

    backend: Literal["qemu", "vhost"] = "qemu"
    queues: int = 1
    channels: int = 0
    with_vfs: int = 0
    learning: bool = True

    def __post_init__(self) -> None:
        check_queues(self.queues, self.channels)

    @property
    def id(self) -> str:
        """Short and stable, with the back end: "virtio-vhost", "virtio-vhost-q4-c1"."""
        return f"virtio-{self.backend}{name_of_queues(self.queues, self.channels)}{self.trap}"

    @property
    def label(self) -> str:
        """The name for figures."""
        who = "QEMU back end" if self.backend == "qemu" else "vhost"
        queues = words_on_queues(self.queues, self.channels)
        return f"virtio, {who}{queues}{self.trap_words}"

    @property
    def model(self) -> str:
        """Libvirt's word for the card."""
        return "virtio"

    @property
    def driver(self) -> str:
        """The back end, in libvirt's word."""
        return self.backend

    def host_steps(self, facts: HostFacts, wire: Wire) -> Sequence[HostStep]:
        """The bridge, and vhost_net where it is needed and not loaded.

        Raises:
            Unavailable: as for every bridge; or the kernel has no vhost_net.
        """
        bridge = super().host_steps(facts, wire)
        return (*bridge, *load_vhost(facts)) if self.backend == "vhost" else bridge

    def notes_on_vm(self, domain: Domain) -> Sequence[str]:
        """Queues that no vCPU of this VM can serve."""
        return notes_on_queues(self.queues, domain)
