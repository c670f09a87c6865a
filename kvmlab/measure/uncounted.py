"""Trials whose packets nobody on the host sees: a card of the VM's own, the peer another machine.

A function that was given away takes its packets past the host. Where the peer is in a namespace of
the host they are counted there; where it is another machine, neither packets nor the costs of each
can be counted on the host. What the tools say, and what the VM's card counts, is measured all the
same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure.meters import patience, wire_of
from kvmlab.measure.parsing import net_dev
from kvmlab.measure.serving import PeerServer
from kvmlab.measure.workloads import SPARE_SEC, Workload
from kvmlab.results import Metric, Raw, Trial, Window

if TYPE_CHECKING:
    from kvmlab.measure.parsing import Counters
    from kvmlab.measure.settings import Trials
    from kvmlab.measure.subject import Subject

_READ_SEC = 15


def is_counted(subject: Subject) -> bool:
    """Whether an interface of the host or of a namespace of it sees the subject's packets."""
    cable = wire_of(subject.host, subject.nic)
    return subject.nic.backend != "hardware" or cable.peer_netns is not None


def uncounted_trial(
    subject: Subject, work: Workload, trials: Trials, *, number: int, block: int
) -> tuple[Trial, tuple[Raw, ...]]:
    """Run ``work`` once, without a cost: the window is the whole run, as the VM's card counts it.

    Raises:
        MeasureError: the client or the server failed.
        HostError, DomainError: host, VM or peer do not answer.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    agent = subject.vm.agent
    deadline_sec = patience(subject.host, trials.total_sec + SPARE_SEC)
    with PeerServer(subject.host, wire_of(subject.host, subject.nic), work) as there:
        before = _card(subject)
        client = agent.run(work.client, timeout_sec=deadline_sec, check=False)
        after = _card(subject)
    if client.returncode not in work.accepted:
        raise MeasureError(
            f"The client of the workload `{work.name}` failed in {subject.vm.name}.",
            todo="Does the VM reach the peer? Does a firewall there let it in?",
            evidence=(client.stdout + client.stderr + there.log)[-2000:],
        )
    moved = _Moved.between(before, after)
    metrics = work.read(client.stdout)
    if work.arrives:
        rate = moved.sent / trials.total_sec
        metrics = (Metric("udp_received_pps", rate, "packets/s", "higher"), *metrics)
    trial = Trial(
        workload=work.name,
        number=number,
        block=block,
        metrics=metrics,
        costs=(),
        window=Window(
            float(trials.total_sec),
            moved.packets,
            moved.bytes,
            f"{subject.nic.guest_interface} in the VM",
        ),
        started=started,
    )
    raw = [Raw(f"{work.name}-{number:02d}-client.{work.suffix}", client.stdout)]
    if there.log:
        raw.append(Raw(f"{work.name}-{number:02d}-server.txt", there.log))
    return trial, tuple(raw)


@dataclass(frozen=True)
class _Moved:
    """What a card's counters moved by."""

    sent: int
    packets: int
    bytes: int

    @classmethod
    def between(cls, before: Counters, after: Counters) -> _Moved:
        sent = after.tx_packets - before.tx_packets
        return cls(
            sent,
            sent + after.rx_packets - before.rx_packets,
            after.tx_bytes - before.tx_bytes + after.rx_bytes - before.rx_bytes,
        )


def _card(subject: Subject) -> Counters:
    done = subject.vm.agent.run(
        ("cat", "/proc/net/dev"), timeout_sec=patience(subject.host, _READ_SEC)
    )
    try:
        return net_dev(done.stdout)[subject.nic.guest_interface]
    except KeyError as error:
        raise OutputError(
            f"{subject.vm.name} counts nothing for {subject.nic.guest_interface}.",
            evidence=done.stdout[-2000:],
        ) from error
