"""How the traffic of a card with several queue pairs spread: queues, vhost workers, vCPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from kvmlab.errors import OutputError
from kvmlab.measure import parsing
from kvmlab.measure.meters import patience
from kvmlab.measure.sections import sections
from kvmlab.results import Metric, Share

if TYPE_CHECKING:
    from kvmlab.measure.parsing import Thread
    from kvmlab.measure.snapshot import Snapshot
    from kvmlab.measure.subject import Subject

_SEC: Final = 20
# Below the root "mq" the kernel keeps a queueing discipline for each queue that sends.
_SENT: Final = re.compile(
    r"^qdisc \S+ \S+ parent \S*:([0-9a-f]+) .*\n\s*Sent \d+ bytes (\d+) pkt", re.MULTILINE
)


@dataclass(frozen=True)
class QueueCounters:
    """Packets sent and interrupts of each queue pair since the card came, by the pair's number."""

    sent: Mapping[int, int]
    interrupts: Mapping[int, int]


def parse_queues(text: str) -> QueueCounters:
    """What ``guest_queues.sh`` printed.

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

    Interrupts of a pair are those of both its directions. No packets where the VM's kernel keeps
    no such statistics.

    Raises:
        OutputError: it broke off.
    """
    parts = dict(sections(text))
    if not {"device", "packets", "interrupts"} <= parts.keys():
        raise OutputError("What the VM counts for its queues broke off.", evidence=text[-400:])
    device = re.escape(parts["device"].strip())
    interrupts: dict[int, int] = {}
    for name, count in parsing.per_cpu_table(parts["interrupts"]).items():
        found = re.fullmatch(rf"{device}-(?:input|output)\.(\d+)", name)
        if found:
            interrupts[int(found[1])] = interrupts.get(int(found[1]), 0) + count
    # The kernel numbers the places below "mq" from 1, in hexadecimal.
    sent = {int(place, 16) - 1: int(count) for place, count in _SENT.findall(parts["packets"])}
    return QueueCounters(sent, interrupts)


def read_queues(subject: Subject) -> QueueCounters | None:
    """The counters of the card now; None where it has one queue pair and nothing can spread.

    Raises:
        OutputError: the VM's answer cannot be understood.
        DomainError: the VM does not answer.
    """
    if subject.nic.queues < 2 or subject.nic.guest_driver != "virtio_net":
        return None
    script = files("kvmlab.measure").joinpath("scripts", "guest_queues.sh").read_text("utf-8")
    done = subject.vm.agent.run(
        ("sh", "-s", "--", subject.nic.guest_interface),
        timeout_sec=patience(subject.host, _SEC),
        input_text=script,
    )
    return parse_queues(done.stdout)


def queue_shares(begin: QueueCounters, end: QueueCounters) -> tuple[Share, ...]:
    """What each queue pair carried between two readings."""
    return (
        *_difference("sent_packets", "packets", begin.sent, end.sent),
        *_difference("queue_interrupts", "interrupts", begin.interrupts, end.interrupts),
    )


def thread_shares(
    begin: Snapshot, end: Snapshot, vcpus: Sequence[int], workers: Sequence[int]
) -> tuple[Share, ...]:
    """CPU time of each vCPU and of each vhost worker between two snapshots.

    The kernel starts one worker for each queue pair, in their order.
    """
    return (
        *_spent("worker_us", begin.threads, end.threads, workers),
        *_spent("vcpu_us", begin.threads, end.threads, vcpus),
    )


def busiest(shares: Sequence[Share]) -> tuple[Metric, ...]:
    """What share the busiest queue, worker and vCPU had, in percent: 100 where one did it all."""
    found = []
    for what, name in (
        ("queue", "sent_packets"),
        ("worker", "worker_us"),
        ("vcpu", "vcpu_us"),
    ):
        values = [share.value for share in shares if share.name == name]
        if sum(values) > 0:
            percent = 100 * max(values) / sum(values)
            found.append(Metric(f"busiest_{what}_percent", percent, "%", "lower"))
    return tuple(found)


def _difference(
    name: str, unit: str, begin: Mapping[int, int], end: Mapping[int, int]
) -> Iterator[Share]:
    for number, count in sorted(end.items()):
        yield Share(name, number, float(count - begin.get(number, 0)), unit)


def _spent(
    name: str, begin: Mapping[int, Thread], end: Mapping[int, Thread], tids: Sequence[int]
) -> Iterator[Share]:
    for number, tid in enumerate(tids):
        if tid in end:
            first = begin[tid].run_ns if tid in begin else 0
            yield Share(name, number, (end[tid].run_ns - first) / 1000, "µs")
