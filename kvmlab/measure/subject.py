"""What is measured, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM, VmThreads
    from kvmlab.hosts import Host


@dataclass(frozen=True)
class Subject:
    """What is measured: a VM's interface on a host, and the threads that serve it."""

    host: Host
    vm: TestVM
    nic: Nic
    threads: VmThreads
