"""The kinds of cost: the name in the data, the unit, and the words that people read.

A counter of `kvmlab.measure.counters` yields costs of these kinds; figures and tables take titles
from here. A kind that is missing here is called by its name with blanks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kvmlab.results.model import Cost


@dataclass(frozen=True)
class CostKind:
    """A kind of cost: name, unit and title that all costs of one name share."""

    name: str
    unit: str
    title: str

    def cost(self, part: str, value: float) -> Cost:
        """Return a cost of this kind: ``value`` in its unit, spent by or on ``part``."""
        return Cost(self.name, part, float(value), self.unit)


VM_EXITS: Final = CostKind("vm_exits", "exits", "VM exits")
USERSPACE_EXITS: Final = CostKind("userspace_exits", "exits", "Exits to QEMU")
SYSCALLS: Final = CostKind("syscalls", "syscalls", "System calls of QEMU")
CONTEXT_SWITCHES: Final = CostKind("context_switches", "switches", "Context switches")
CPU_TIME: Final = CostKind("cpu_us", "µs", "CPU time")
CPU_WAIT: Final = CostKind("cpu_wait_us", "µs", "Waiting for a CPU")
SOFTIRQ_TIME: Final = CostKind("softirq_us", "µs", "CPU time in softirqs")
INTERRUPTS: Final = CostKind("interrupts", "interrupts", "Interrupts")
GUEST_INTERRUPTS: Final = CostKind(
    "guest_interrupts", "interrupts", "Interrupts delivered to the VM"
)
SOFTIRQS: Final = CostKind("softirqs", "softirqs", "Softirqs")
INSTRUCTIONS: Final = CostKind("instructions", "instructions", "Instructions, by who ran them")
STEAL: Final = CostKind("steal_us", "µs", "CPU time stolen")
MACHINE_STEAL: Final = CostKind("machine_steal_us", "µs", "CPU time stolen from this machine")

COST_KINDS: Final = {
    kind.name: kind
    for kind in (
        VM_EXITS,
        USERSPACE_EXITS,
        SYSCALLS,
        CONTEXT_SWITCHES,
        CPU_TIME,
        CPU_WAIT,
        SOFTIRQ_TIME,
        INTERRUPTS,
        GUEST_INTERRUPTS,
        SOFTIRQS,
        INSTRUCTIONS,
        STEAL,
        MACHINE_STEAL,
    )
}
"""Every kind by its name, in the order in which tables and menus list them."""
