"""virtio: a NIC made for virtual machines; its back end is QEMU, or the kernel's vhost_net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmlab.changes import HostStep
from kvmlab.schemes.bridge import BridgeScheme
from kvmlab.schemes.options import check_options
from kvmlab.schemes.queues import check_queues, name_of_queues, notes_on_queues, words_on_queues
from kvmlab.schemes.vhost import load_vhost

if TYPE_CHECKING:
    from kvmlab.domain import Domain
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable


@dataclass(frozen=True)
class Virtio(BridgeScheme):
    """A virtio NIC on the bridge; ``backend`` moves the packets on the host.

    The back end is always written into the XML: libvirt's default is vhost where the module
    exists, and silently QEMU where it does not. That vhost serves the NIC is therefore verified
    by the kernel's worker threads after attaching.

    ``queues`` is the number of queue pairs that the host offers, ``channels`` of those that the VM
    uses (``ethtool -L``; 0 leaves it to the driver: one for each vCPU, as far as there are).

    ``with_vfs`` is a number of VFs on the port below the bridge, which break it;
    ``learning=False`` is the cure.
    """

    backend: Literal["qemu", "vhost"] = "qemu"
    queues: int = 1
    channels: int = 0
    with_vfs: int = 0
    learning: bool = True

    def __post_init__(self) -> None:
        check_options(self)
        check_queues(self.queues, self.channels)

    @property
    def id(self) -> str:
        """A stable name with the back end: "virtio-vhost", "virtio-vhost-q4-c1"."""
        return f"virtio-{self.backend}{name_of_queues(self.queues, self.channels)}{self.trap}"

    @property
    def label(self) -> str:
        """The name in figures."""
        backend = "QEMU back end" if self.backend == "qemu" else "vhost"
        queues = words_on_queues(self.queues, self.channels)
        return f"virtio, {backend}{queues}{self.trap_label}"

    @property
    def model(self) -> str:
        """Libvirt's name of the NIC model."""
        return "virtio"

    @property
    def driver(self) -> str:
        """The back end, in libvirt's term."""
        return self.backend

    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Create the bridge, and load vhost_net where it is needed.

        Raises:
            Unavailable: as for every bridge, or the kernel has no vhost_net.
        """
        bridge = super().host_steps(facts, cable)
        return (*bridge, *load_vhost(facts)) if self.backend == "vhost" else bridge

    def notes_on_vm(self, domain: Domain) -> Sequence[str]:
        """Warn of more queue pairs than the VM has vCPUs."""
        return notes_on_queues(self.queues, domain)
