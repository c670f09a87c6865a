"""The proof that counters count: a zero in a trial means something only after it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from kvmlab.errors import MeasureError
from kvmlab.measure.counters import costs
from kvmlab.measure.counters.packets import window
from kvmlab.measure.subject import counted_at, counted_device

if TYPE_CHECKING:
    from kvmlab.measure.meters import Meters
    from kvmlab.measure.subject import Subject

ECHOES: Final = 3
# Only QEMU can answer a read of a PCI device's configuration: it leaves guest and kernel.
_CONFIG_SPACE: Final = "/sys/bus/pci/devices/0000:00:00.0/config"
_MUST_COUNT: Final = ("vm_exits", "userspace_exits", "context_switches", "cpu_us")


def self_check(subject: Subject, meters: Meters) -> dict[str, Any]:
    """Provoke exits, exits to QEMU, context switches, CPU time and packets, and see them counted.

    The VM sends a few echoes to the peer and reads a PCI device's configuration space, which only
    QEMU can answer. ``meters`` are set up for the subject. Returns the total of each cost and the
    costs that cannot be counted here, for the result's metadata.

    Raises:
        MeasureError: a counter stayed at zero, so a zero of it in a trial would mean nothing.
    """
    host, agent = subject.host, subject.vm.agent
    timeout_sec = host.clock.wall_timeout(15)
    begin = meters.snapshot("begin")
    agent.run(("wc", "-c", _CONFIG_SPACE), timeout_sec=timeout_sec)
    echoes = ("ping", "-c", str(ECHOES), "-i", "0.02", subject.nic.peer_ip)
    agent.run(echoes, timeout_sec=timeout_sec)
    pair = meters.pair(begin, meters.snapshot("end"))
    cable = subject.cable
    totals = defaultdict[str, float](float)
    totals["packets"] = window(pair, counted_device(cable), counted_at(cable)).packets
    for cost in costs(pair):
        totals[cost.name] += cost.value
    must_count = (name for name in _MUST_COUNT if name not in meters.missing_costs)
    silent = [name for name in must_count if totals[name] <= 0]
    if totals["packets"] < 2 * ECHOES:
        silent.append(f"packets (at least {2 * ECHOES} were sent)")
    if silent:
        raise MeasureError(
            f"On {host.label} these counters did not count what was provoked: {', '.join(silent)}.",
            todo="A zero of theirs would mean nothing, so nothing is measured with them.",
            evidence="\n".join(f"{name}: {value:g}" for name, value in totals.items()),
        )
    return {
        "provoked_by": ["PCI configuration read", f"{ECHOES} echoes"],
        "counted": dict(totals),
    }
