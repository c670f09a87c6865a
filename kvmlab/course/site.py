"""The site of a task: what its check sees of the host, the test VM and the answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from lxml import etree

from kvmlab.domain.description import Domain
from kvmlab.domain.interface import Interface

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.domain import TestVM
    from kvmlab.domain.threads import VmThreads
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host
    from kvmlab.migration import SecondHost
    from kvmlab.process import Completed
    from kvmlab.schemes import Scheme

#: Real seconds for one line; under emulation and a busy machine a ping takes its time.
LINE_SEC: Final = 180


class CourseHost(Protocol):
    """The parts of a `Lab` that tasks need."""

    @property
    def host(self) -> Host:
        """The connection to the host."""

    @property
    def vm(self) -> TestVM:
        """The test VM, running."""

    def inspect(self) -> HostFacts:
        """Read the host anew."""

    def plan(self, scheme: Scheme) -> Plan:
        """Return what a scheme would change."""

    def plan_migratable(self, kind: str) -> Plan:
        """Return what a NIC that can migrate would change."""

    def second_host(self) -> SecondHost:
        """Return host B, not made yet."""


@dataclass
class Site:
    """A host during one check. What was read is kept, so that a check reads everything once.

    ``mac`` is that of the NIC that the task began with, or empty. ``notes`` are values that were
    read at the start.
    """

    lab: CourseHost
    answer: str = ""
    mac: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> Completed:
        """Run a shell line on the host as root, whatever its exit code is."""
        return self.lab.host.run(("sh", "-c", line), timeout_sec=LINE_SEC, check=False, root=True)

    def read(self, line: str) -> str:
        """Return what a shell line prints on the host, without blanks at its ends."""
        return self.run(line).stdout.strip()

    def in_vm(self, *words: str) -> Completed:
        """Run a command inside the VM, whatever its exit code is."""
        return self.lab.vm.agent.run(words, timeout_sec=LINE_SEC, check=False)

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces of the running VM, from its live XML."""
        nodes = Domain.parse(self.lab.vm.xml()).node.iterfind("devices/interface")
        return tuple(Interface(node) for node in nodes)

    @cached_property
    def devices(self) -> tuple[etree._Element, ...]:
        """The ``<hostdev>`` elements of the running VM."""
        return tuple(Domain.parse(self.lab.vm.xml()).node.iterfind("devices/hostdev"))

    @property
    def interface(self) -> Interface | None:
        """The VM's interface: the only one, or None where there is none or are several."""
        return self.interfaces[0] if len(self.interfaces) == 1 else None

    @cached_property
    def links(self) -> dict[str, dict[str, Any]]:
        """``ip -j -d link show`` of the host, by name."""
        return {link["ifname"]: link for link in json.loads(self.read("ip -j -d link show"))}

    @cached_property
    def threads(self) -> VmThreads:
        """The threads of the VM's QEMU process."""
        return self.lab.vm.threads()

    def pings(self, *, from_peer: bool = True) -> bool:
        """Return whether the peer reaches the VM, or the other way round."""
        words = "ping -n -q -c 2 -i 0.2 -W 1"
        if from_peer:
            inside = f"ip netns exec {self.notes['peer_netns']} {words}"
            return self.run(f"{inside} {self.notes['vm_address']}").returncode == 0
        return self.in_vm(*words.split(), self.notes["peer_address"]).returncode == 0
