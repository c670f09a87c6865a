"""The base class of all schemes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kvmlab.changes import AttachInterface, ConfigureGuest, HostStep, Plan, check
from kvmlab.domain import LAB_VM_NAME, Domain, HostDevice, Interface, diff_of_attaching
from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable

#: Seconds of the VM's clock: an emulated card on a crowded emulated host needs half of them.
_CONFIGURE_SEC: Final = 60


class Scheme(ABC):
    """One way to give the test VM a network interface. Frozen; `plan` reads facts, never a host.

    A subclass gives its names (`id`, `label`), the steps on the host (`host_steps`) and the device
    that is plugged into the VM (`interface`); the rest of the plan is the same for all.
    """

    @property
    @abstractmethod
    def id(self) -> str:
        """A short and stable name for files and tables: "e1000e", "virtio-qemu"."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The name in figures: "virtio, QEMU back end"."""

    @property
    @abstractmethod
    def backend(self) -> str:
        """The part of the host that moves packets: "qemu", "vhost" or "hardware"."""

    @abstractmethod
    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Return the changes of the host that are made before the interface is plugged in.

        Raises:
            Unavailable: this host cannot do that; the rule id says why.
        """

    @abstractmethod
    def interface(self, facts: HostFacts, cable: Cable, mac: str) -> Interface | HostDevice:
        """Return the device that is plugged into the VM."""

    def notes(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Return sentences that a person should read before applying the scheme."""
        return ()

    @property
    def queues(self) -> int:
        """Number of queue pairs that the host offers."""
        return 1

    def nic_mac(self, facts: HostFacts, cable: Cable) -> str:
        """Return the MAC of the interface in the VM: each scheme has its own."""
        return mac_for(self.id)

    @property
    def channels(self) -> int:
        """Number of queue pairs that the VM shall use; 0 leaves it to the driver inside."""
        return 0

    def touches(self, facts: HostFacts, cable: Cable) -> Sequence[str]:
        """Return the interfaces and PCI addresses of the host that the device in the VM uses."""
        return (cable.port,)

    @property
    def must_answer(self) -> bool:
        """True where the change fails unless the peer can be reached through the interface."""
        return True

    def cable(self, facts: HostFacts) -> Cable | None:
        """Return the cable that this scheme uses where none is named."""
        return facts.cable

    def notes_on_vm(self, domain: Domain) -> Sequence[str]:
        """Return sentences about this scheme in that VM."""
        return ()

    def plan(
        self, facts: HostFacts, *, cable: Cable | None = None, vm: TestVM | None = None
    ) -> Plan:
        """Return everything that applying this scheme would change; change nothing.

        Args:
            facts: an inspection of the host.
            cable: the cable under test; the host's own when left out.
            vm: the test VM, for the XML diff; without it the diff shows the interface alone.

        Raises:
            Unavailable: this host cannot do that; the rule id says why.
            UsageError: no cable was given and the host has none of its own.
        """
        cable = cable or self.cable(facts)
        if cable is None:
            raise UsageError(
                "This host has no cable under test: the plan needs a port and two addresses.",
                todo='Give one: cable=Cable(port="eth1", vm_address="192.0.2.10/24", '
                'peer_address="192.0.2.1/24").',
            )
        cable = with_own_name(facts, cable)
        mac = self.nic_mac(facts, cable)
        interface = self.interface(facts, cable, mac)
        steps = (
            *self.host_steps(facts, cable),
            AttachInterface(
                what=f"Plug the interface into the VM: {self.label}.",
                domain=vm.name if vm is not None else LAB_VM_NAME,
                mac=mac,
                interface_xml=interface.xml(),
                vhost_workers=self.queues if self.backend == "vhost" else 0,
                touches=tuple(self.touches(facts, cable)),
            ),
            self._configure(mac, cable),
        )
        domain_xml = vm.xml() if vm is not None else None
        notes = [*self.notes(facts, cable)]
        if facts.cuts:
            notes.append(f"It may cut, as you said: {', '.join(facts.cuts)}.")
        if domain_xml is not None:
            notes += self.notes_on_vm(Domain.parse(domain_xml))
        return Plan(
            scheme=self.id,
            label=self.label,
            backend=self.backend,
            steps=steps,
            interface_xml=interface.xml(),
            domain_diff=diff_of_attaching(domain_xml, interface),
            mac=mac,
            vm_address=cable.vm_address,
            peer_address=cable.peer_address,
            queues=self.queues,
            notes=tuple(notes),
            refusals=check(steps, facts, vm),
        )

    def _configure(self, mac: str, cable: Cable) -> ConfigureGuest:
        what = "Give it its address inside the VM"
        if self.must_answer:
            what += ", and wait until the peer answers a ping"
        if self.channels:
            pairs = "queue pair" if self.channels == 1 else "queue pairs"
            what = f"Use {self.channels} {pairs} inside the VM. " + what
        return ConfigureGuest(
            what=f"{what}.",
            mac=mac,
            vm_address=cable.vm_address,
            peer_address=cable.peer_address,
            timeout_sec=_CONFIGURE_SEC,
            channels=self.channels,
            must_answer=self.must_answer,
        )


def with_own_name(facts: HostFacts, cable: Cable) -> Cable:
    """Return ``cable`` with the kernel's name of its port, where an altname was given."""
    link = facts.link(cable.port)
    return cable if link is None else replace(cable, port=link.name)


def mac_for(scheme: str) -> str:
    """Return the MAC of a scheme, in QEMU's range: always the same, and another for each scheme.

    Switches and bridges learn at which port a MAC is; with MACs of their own, schemes that follow
    one another do not meet stale entries.

    >>> mac_for("e1000")
    '52:54:00:72:57:24'
    """
    digest = hashlib.sha256(scheme.encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])
