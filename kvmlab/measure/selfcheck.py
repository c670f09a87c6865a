"""A counter that reads zero has to be proven to count: this provokes what each of them counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmlab.errors import MeasureError
from kvmlab.measure.meters import Meters, patience
from kvmlab.measure.snapshot import costs, window
from kvmlab.measure.workloads import holder

if TYPE_CHECKING:
    from kvmlab.measure.subject import Subject

ECHOES = 3
# Only QEMU can answer a read of a PCI device's configuration: it leaves guest and kernel.
_CONFIG_SPACE = "/sys/bus/pci/devices/0000:00:00.0/config"
_MUST_COUNT = ("vm_exits", "userspace_exits", "context_switches", "cpu_us")


def self_check(
    subject: Subject, meters: Meters | None = None, *, full: bool = True
) -> dict[str, Any]:
    """Provoke exits, exits to QEMU, context switches, CPU time and packets, and see them counted.

    The VM sends a few echoes to the peer and reads a PCI device's configuration space, which only
    QEMU can answer. Returns what each counter saw, for the result's metadata. ``full`` as in
    `Meters.prepare`: counters set as the first stream will have them need not be set twice.

    Raises:
        MeasureError: a counter stayed at zero, so a zero of it in a trial would mean nothing.
    """
    if meters is None:
        with Meters(subject) as own:
            return self_check(subject, own, full=full)
    host, agent = subject.host, subject.vm.agent
    meters.prepare(holder(120), "none", 0, full=full)
    begin = meters.read("begin")
    timeout_sec = patience(host, 15)
    agent.run(("wc", "-c", _CONFIG_SPACE), timeout_sec=timeout_sec)
    echoes = ("ping", "-c", str(ECHOES), "-i", "0.02", subject.nic.peer_ip)
    agent.run(echoes, timeout_sec=timeout_sec)
    end = meters.read("end")
    meters.rest()
    counted = window(begin, end, meters.device, meters.counted_at)
    totals: dict[str, float] = {"packets": counted.packets}
    for cost in costs(begin, end, meters.roles, meters.interrupt_devices):
        totals[cost.name] = totals.get(cost.name, 0.0) + cost.value
    silent = [name for name in _MUST_COUNT if totals.get(name, 0.0) <= 0]
    if counted.packets < 2 * ECHOES:
        silent.append(f"packets (at least {2 * ECHOES} were sent)")
    if silent:
        raise MeasureError(
            f"On {host.label} these counters did not count what was provoked: {', '.join(silent)}.",
            todo="A zero of theirs would mean nothing, so nothing is measured with them.",
            evidence="\n".join(f"{name}: {value:g}" for name, value in totals.items()),
        )
    return {
        "provoked_by": ["PCI configuration read", f"{ECHOES} echoes"],
        "counted": totals,
        "vcpus_counted_by": meters.vcpus_counted_by,
    }
