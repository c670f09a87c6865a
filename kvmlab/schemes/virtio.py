"""virtio: a card made for virtual machines; here with QEMU itself as its back end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kvmlab.schemes.bridge import BridgeScheme


@dataclass(frozen=True)
class Virtio(BridgeScheme):
    """A virtio card on the bridge. ``backend`` names who moves the packets on the host.

    "qemu" must be written into the XML: libvirt's default is vhost wherever the module exists.
    """

    backend: Literal["qemu"] = "qemu"

    @property
    def id(self) -> str:
        """Short and stable, with the back end: "virtio-qemu"."""
        return f"virtio-{self.backend}"

    @property
    def label(self) -> str:
        """The name for figures."""
        return "virtio, QEMU back end"

    @property
    def model(self) -> str:
        """Libvirt's word for the card."""
        return "virtio"

    @property
    def driver(self) -> str:
        """The back end, in libvirt's word."""
        return self.backend
