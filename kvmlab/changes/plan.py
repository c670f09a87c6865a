"""A plan: everything that a scheme will change, complete before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.changes.nic import Nic
from kvmlab.changes.steps import Step

if TYPE_CHECKING:
    from kvmlab.changes.change import Change
    from kvmlab.domain import TestVM


@dataclass(frozen=True)
class Plan:
    """What one scheme will change: steps on the host in order, and the VM's XML.

    In a notebook a plan displays itself as a table of steps and a coloured unified diff;
    ``str(plan)`` is the same in plain text.
    """

    scheme: str
    label: str
    backend: str
    title: str
    steps: tuple[Step, ...]
    interface_xml: str
    """The <interface> or <hostdev> element that is attached."""
    domain_diff: str
    """Unified diff of the VM's XML, before against after."""
    mac: str
    vm_address: str
    peer_address: str
    queues: int = 1
    notes: tuple[str, ...] = ()
    """Sentences a reader should know before applying, such as an address that will not answer."""

    def apply(self, vm: TestVM) -> Change:
        """Make the change; the caller reverts it: ``change.revert()`` (again at exit of Python).

        Raises:
            Refused: the guard would not let it happen; nothing was changed.
            HostBusy: another lab holds the host.
            StepFailed: a step failed; the steps before it have been undone.
            RevertFailed: a step failed, and something could not be put back.
        """
        raise NotImplementedError

    @contextmanager
    def applied(self, vm: TestVM) -> Iterator[Nic]:
        """Make the change for the length of a ``with`` block; it is reverted in any case.

        Raises: as `apply`, and RevertFailed at the end of the block.
        """
        raise NotImplementedError
        yield

    def _repr_html_(self) -> str:
        raise NotImplementedError
