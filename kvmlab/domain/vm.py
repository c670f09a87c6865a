"""The test VM: its life, its XML, its interfaces, its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.domain.agent import GuestAgent
from kvmlab.domain.threads import VmThreads

if TYPE_CHECKING:
    from kvmlab.hosts import Host

LAB_VM_NAME = "kvmlab-vm"


class TestVM:
    """One domain of a host, the lab's own or one that the user named."""

    __test__ = False  # pytest: not a test class

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name

    @classmethod
    def find(cls, host: Host, name: str = LAB_VM_NAME) -> TestVM:
        """The domain of that name.

        Raises:
            DomainNotFound: there is none; the message lists those there are.
        """
        raise NotImplementedError

    @classmethod
    def ensure(
        cls,
        host: Host,
        name: str = LAB_VM_NAME,
        *,
        vcpus: int = 2,
        memory_mib: int = 512,
        timeout_sec: float = 180,
    ) -> TestVM:
        """The lab's own VM, defined, running and its agent answering; made where it is missing.

        Raises:
            Refused: a domain of that name exists and is not the lab's.
            AgentTimeout: the VM's agent did not answer in time.
        """
        raise NotImplementedError

    @property
    def agent(self) -> GuestAgent:
        """Commands inside the VM."""
        raise NotImplementedError

    @property
    def is_lab(self) -> bool:
        """Whether the domain carries the lab's mark in its metadata."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """libvirt's word for the domain's state: "running", "paused", "shut off", …"""
        raise NotImplementedError

    def xml(self, *, inactive: bool = False) -> str:
        """The domain's XML: the running one, or with ``inactive`` the persistent one."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the domain where it is shut off, resume it where it is paused."""
        raise NotImplementedError

    def suspend(self) -> None:
        """Stop its vCPUs; needed before the state of a host is saved with the VM inside."""
        raise NotImplementedError

    def resume(self) -> None:
        """Let its vCPUs run again; nothing where they do."""
        raise NotImplementedError

    def stop(self) -> None:
        """Switch it off at once (it has no disk); nothing where it is off."""
        raise NotImplementedError

    def attach(self, device_xml: str, *, timeout_sec: float = 60) -> str:
        """Hot-plug a device; returns its alias once libvirt's event says it is in.

        Raises:
            HotplugFailed: libvirt refused, or no event came in time.
        """
        raise NotImplementedError

    def detach(self, mac_or_alias: str, *, timeout_sec: float = 60) -> None:
        """Unplug an interface and wait until it is gone; nothing where it is gone already.

        Raises:
            HotplugFailed: the guest refused, or no event came in time.
        """
        raise NotImplementedError

    def host_device(self, mac: str) -> str | None:
        """The tap or macvtap that carries the interface with this MAC, read from the live XML."""
        raise NotImplementedError

    def pid(self) -> int:
        """The QEMU process on the host."""
        raise NotImplementedError

    def threads(self) -> VmThreads:
        """The threads of the QEMU process, in one round trip to the host."""
        raise NotImplementedError
