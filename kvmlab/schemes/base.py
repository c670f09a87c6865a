"""What every scheme is: one way to give the test VM a network interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kvmlab.changes import Plan

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Wire


class Scheme(ABC):
    """One way to give the test VM a network interface. Frozen; `plan` reads facts, never a host."""

    @property
    @abstractmethod
    def id(self) -> str:
        """Short and stable, for files and tables: "e1000e", "virtio-qemu"."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The name for figures: "virtio, QEMU back end"."""

    @property
    @abstractmethod
    def backend(self) -> str:
        """Who moves packets on the host: "qemu", "vhost" or "hardware"."""

    def plan(self, facts: HostFacts, *, wire: Wire | None = None, vm: TestVM | None = None) -> Plan:
        """Say everything that applying this scheme would change, and change nothing.

        Args:
            facts: an inspection of the host.
            wire: the cable under test; the host's own when left out.
            vm: the test VM, for the XML diff; without it the diff shows the interface alone.

        Raises:
            Unavailable: this host cannot do that; the rule id says why.
        """
        raise NotImplementedError
