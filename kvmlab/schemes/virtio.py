"""virtio: a card made for virtual machines; here with QEMU itself as its back end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kvmlab.schemes.base import Scheme


@dataclass(frozen=True)
class Virtio(Scheme):
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
