"""A plan: everything that a scheme will change, complete before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmlab.changes import display
from kvmlab.changes.change import Change
from kvmlab.changes.guard import Refusal, refuse
from kvmlab.changes.nic import Nic
from kvmlab.changes.steps import Step

if TYPE_CHECKING:
    from kvmlab.domain import TestVM


@dataclass(frozen=True)
class Plan:
    """The changes of one scheme: steps on the host in order, and the VM's XML.

    In a notebook a plan displays as a table of steps and a coloured unified diff;
    ``str(plan)`` is the same in plain text.
    """

    scheme: str
    label: str
    backend: str
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
    """Notes to read before applying, such as an address that will not answer."""
    refusals: tuple[Refusal, ...] = ()
    """The guard's refusals; with any of them the plan cannot be applied."""
    heading: str = ""
    """A title other than the usual one."""

    @property
    def title(self) -> str:
        """The plan's title, one line."""
        return self.heading or f"Plan: give the test VM an interface, {self.label}"

    def apply(self, vm: TestVM) -> Change:
        """Apply the plan; the caller reverts it with ``change.revert()`` (exit of Python does too).

        Raises:
            Refused: the guard refuses it, or an earlier run left something behind; nothing was
                changed.
            HostBusy: another lab has the host's lock.
            StepFailed: a step failed; the steps before it have been undone.
            Unavailable: something that the scheme needs is missing; undone as well.
            RevertFailed: a step failed, and something could not be put back.
        """
        refuse(self.refusals)
        change = Change(self, vm)
        change.apply()
        return change

    @contextmanager
    def applied(self, vm: TestVM) -> Iterator[Nic]:
        """Apply the plan for the length of a ``with`` block; it is reverted in any case.

        Raises: as `apply`, and RevertFailed at the end of the block.
        """
        change = self.apply(vm)
        try:
            yield change.nic
        finally:
            change.revert()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return {
            "scheme": self.scheme,
            "label": self.label,
            "backend": self.backend,
            "steps": [
                {
                    "what": step.what,
                    "before": step.before,
                    "after": step.after,
                    "do": step.do_text,
                    "undo": step.undo_text,
                }
                for step in self.steps
            ],
            "interface_xml": self.interface_xml,
            "domain_diff": self.domain_diff,
            "mac": self.mac,
            "vm_address": self.vm_address,
            "peer_address": self.peer_address,
            "queues": self.queues,
            "notes": self.notes,
            "refusals": [{"rule": r.rule, "message": r.message} for r in self.refusals],
        }

    def __str__(self) -> str:
        return display.as_text(self)

    def _repr_html_(self) -> str:
        return display.as_html(self)
