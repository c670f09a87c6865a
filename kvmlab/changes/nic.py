"""The test VM's interface under test, once a scheme is applied."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Nic:
    """One network interface of the test VM, configured, with a ping answered.

    Seconds in ``attach_sec`` and ``configure_sec`` are wall seconds of the controlling machine.
    """

    scheme: str
    """The scheme's id, such as "virtio-qemu"."""
    label: str
    """The scheme's name for figures, such as "virtio, QEMU back end"."""
    backend: str
    """The back end on the host: "qemu", "vhost" or "hardware"."""
    mac: str
    """The MAC address inside the VM, lower case."""
    guest_interface: str
    """The interface's name inside the VM, such as "eth0"."""
    guest_driver: str
    """Its driver inside the VM, such as "virtio_net"."""
    host_device: str | None
    """The tap or macvtap on the host, such as "vnet3"; None where the host has no device."""
    vm_address: str
    """With prefix length, such as "192.0.2.10/24"."""
    peer_address: str
    """With prefix length, such as "192.0.2.1/24"."""
    queues: int = 1
    """Queue pairs that the host offers."""
    attach_sec: float = 0.0
    """From the attach call to libvirt's event."""
    configure_sec: float = 0.0
    """From there to the peer's first answer to a ping from inside the VM."""

    @property
    def vm_ip(self) -> str:
        """The VM's address without its prefix length."""
        return self.vm_address.partition("/")[0]

    @property
    def peer_ip(self) -> str:
        """The peer's address without its prefix length."""
        return self.peer_address.partition("/")[0]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return asdict(self)
