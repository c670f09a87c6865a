"""Counters inside the VM: packets and interrupts of each queue pair, packets of the interface."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kvmlab.errors import OutputError
from kvmlab.hosts import parse_output, script_text
from kvmlab.measure import procfs
from kvmlab.measure.procfs import DeviceCounters
from kvmlab.results import Metric, Share, Window

if TYPE_CHECKING:
    from kvmlab.measure.subject import Subject

_SEC: Final = 20
# Below the root "mq" the kernel has a queueing discipline for each queue that sends.
_SENT: Final = re.compile(
    r"^qdisc \S+ \S+ parent \S*:([0-9a-f]+) .*\n\s*Sent \d+ bytes (\d+) pkt", re.MULTILINE
)
_NOTHING: Final = DeviceCounters(0, 0, 0, 0)


@dataclass(frozen=True)
class GuestCounters:
    """The VM's own counters so far, or their differences between two readings.

    ``sent`` and ``interrupts`` are packets sent and interrupts by the number of a queue pair, and
    empty where the interface has only one. ``interface`` has the packets of the whole interface,
    and zeros where the host counts them.
    """

    sent: Mapping[int, int] = field(default_factory=dict)
    interrupts: Mapping[int, int] = field(default_factory=dict)
    interface: DeviceCounters = _NOTHING

    def since(self, before: GuestCounters) -> GuestCounters:
        """Return what the counters moved by; a new queue begins at zero."""
        return GuestCounters(
            _moved(self.sent, before.sent),
            _moved(self.interrupts, before.interrupts),
            self.interface.since(before.interface),
        )

    @property
    def shares(self) -> tuple[Share, ...]:
        """Packets and interrupts of each queue pair."""
        return (
            *_shares("sent_packets", "packets", self.sent),
            *_shares("queue_interrupts", "interrupts", self.interrupts),
        )

    def window(self, seconds: float, counted_at: str) -> Window:
        """Return packets and bytes of the interface as a window."""
        moved = self.interface
        return Window(
            float(seconds),
            moved.rx_packets + moved.tx_packets,
            moved.rx_bytes + moved.tx_bytes,
            counted_at,
        )

    def sent_pps(self, seconds: float) -> Metric:
        """Return the packets a second that left the VM, where nobody counts their arrival."""
        rate = self.interface.tx_packets / seconds
        return Metric("udp_received_pps", rate, "packets/s", "higher")


def read_guest(subject: Subject) -> GuestCounters:
    """Read the VM's counters now: of queues if there are several, of packets if nobody else does.

    Raises:
        OutputError: the VM's answer cannot be understood.
        DomainError: the VM does not answer.
    """
    nic, agent = subject.nic, subject.vm.agent
    timeout_sec = subject.host.clock.wall_timeout(_SEC)
    queues = GuestCounters()
    if nic.queues > 1 and nic.guest_driver == "virtio_net":
        script = script_text("kvmlab.measure", "guest_queues.sh")
        argv = ("sh", "-s", "--", nic.guest_interface)
        queues = parse_queues(agent.run(argv, timeout_sec=timeout_sec, input_text=script).stdout)
    if subject.is_counted:
        return queues
    text = agent.run(("cat", "/proc/net/dev"), timeout_sec=timeout_sec).stdout
    devices = procfs.net_dev(text)
    if nic.guest_interface not in devices:
        raise OutputError(
            f"{subject.vm.name} counts nothing for {nic.guest_interface}.", evidence=text[-2000:]
        )
    return GuestCounters(queues.sent, queues.interrupts, devices[nic.guest_interface])


def parse_queues(text: str) -> GuestCounters:
    """Read what ``guest_queues.sh`` printed.

    ::

        === device
        virtio1
        === packets
        qdisc mq 0: root
         Sent 99 bytes 3 pkt (dropped 0, overlimits 0 requeues 0)
         backlog 0b 0p requeues 0
        qdisc pfifo_fast 0: parent :1 bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1
         Sent 66 bytes 2 pkt (dropped 0, overlimits 0 requeues 0)
         backlog 0b 0p requeues 0
        === interrupts
                   CPU0       CPU1
         34:          0          0  PCI-MSIX-0000:04:00.0   0-edge      virtio1-config
         35:       1714          0  PCI-MSIX-0000:04:00.0   1-edge      virtio1-input.0
         36:         12          0  PCI-MSIX-0000:04:00.0   2-edge      virtio1-output.0
        === end

    Interrupts of a pair are those of both its directions. There are no packets where the VM's
    kernel has no such statistics.

    Raises:
        OutputError: it broke off.
    """
    output = parse_output(text)
    device = re.escape(output.text("device").strip())
    interrupts: dict[int, int] = {}
    for name, count in procfs.per_cpu_table(output.text("interrupts")).items():
        if match := re.fullmatch(rf"{device}-(?:input|output)\.(\d+)", name):
            queue = int(match[1])
            interrupts[queue] = interrupts.get(queue, 0) + count
    # The kernel numbers the places below "mq" from 1, in hexadecimal.
    sent = {
        int(place, 16) - 1: int(count) for place, count in _SENT.findall(output.text("packets"))
    }
    return GuestCounters(sent, interrupts)


def busiest(shares: Sequence[Share]) -> tuple[Metric, ...]:
    """Return the share of the busiest queue, worker and vCPU, in percent: 100 if one did it all."""
    metrics = []
    for what, name in (
        ("queue", "sent_packets"),
        ("worker", "worker_us"),
        ("vcpu", "vcpu_us"),
    ):
        values = [share.value for share in shares if share.name == name]
        if sum(values) > 0:
            percent = 100 * max(values) / sum(values)
            metrics.append(Metric(f"busiest_{what}_percent", percent, "%", "lower"))
    return tuple(metrics)


def _moved(after: Mapping[int, int], before: Mapping[int, int]) -> dict[int, int]:
    return {queue: count - before.get(queue, 0) for queue, count in after.items()}


def _shares(name: str, unit: str, counts: Mapping[int, int]) -> Iterator[Share]:
    for number, count in sorted(counts.items()):
        yield Share(name, number, float(count), unit)
