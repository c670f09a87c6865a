"""The host's own port against the peer, without any VM: the bare metal of this host."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from kvmlab.errors import CommandFailed, MeasureError, OutputError
from kvmlab.measure.machine_load import OURS
from kvmlab.measure.meters import patience, wire_of
from kvmlab.measure.serving import PeerServer
from kvmlab.measure.settings import Trials
from kvmlab.measure.watching import Watching
from kvmlab.measure.workloads import SPARE_SEC, Workload, holder, workload
from kvmlab.results import Condition, Journal, Metric, Raw, Result, Trial, Window

if TYPE_CHECKING:
    from kvmlab.hosts import Host

SCHEME: Final = "host"
LABEL: Final = "the host's port, no VM"
# The order of /proc/net/dev: received bytes and packets, then sent ones.
_RX_BYTES, _RX_PACKETS, _TX_BYTES, _TX_PACKETS = 0, 1, 8, 9


@dataclass(frozen=True)
class _Run:
    """What one run printed, and what the counters of the device moved by."""

    client: str
    received: int
    packets: int
    bytes: int
    client_sec: float = 0.0


def measure_baseline(host: Host, trials: Trials, *, journal: Journal | None = None) -> Result:
    """Run the workloads from the host's own port, which has to have the VM's address.

    ``journal`` gets every trial as soon as it is done.

    The result is one of the scheme "host": throughput and latency as any other, and no costs,
    since no VM takes part. What schemes reach, they reach of this.

    Raises:
        MeasureError: a client or server failed, or the host has no cable under test.
    """
    settings = trials.on(host.clock)
    head = Result(
        scheme=SCHEME,
        label=LABEL,
        host=host.label,
        clock=host.clock,
        emulated=host.emulated,
        trials=(),
        meta={"settings": settings.to_dict(), "port": wire_of(host).port},
    )
    if journal is not None:
        journal.begin(0, head)
    found: list[Trial] = []
    raw: list[Raw] = []
    for number in range(1, settings.count + 1):
        for name in settings.workloads:
            trial, said = _trial(host, settings, name, number)
            found.append(trial)
            raw.append(said)
            if journal is not None:
                journal.add(0, SCHEME, trial, (said,))
    order = {name: place for place, name in enumerate(settings.workloads)}
    found.sort(key=lambda trial: (order[trial.workload], trial.number))
    return replace(head, trials=tuple(found), raw=tuple(raw))


def _trial(host: Host, settings: Trials, name: str, number: int) -> tuple[Trial, Raw]:
    wire = wire_of(host)
    work = workload(name, settings, wire.peer_address.partition("/")[0])
    at_peer = wire.peer_netns is not None and wire.peer_port is not None
    device = wire.peer_port if at_peer and wire.peer_port else wire.port
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with PeerServer(host, wire, work):
        run = _run(host, settings, work, device, at_peer=at_peer)
    metrics = work.read(run.client)
    if work.arrives:
        rate = run.received / settings.total_sec
        metrics = (Metric("udp_received_pps", rate, "packets/s", "higher"), *metrics)
    where = f"{device} in namespace {wire.peer_netns}" if at_peer else device
    trial = Trial(
        workload=name,
        number=number,
        block=number,
        metrics=metrics,
        costs=(),
        window=Window(float(settings.total_sec), run.packets, run.bytes, where),
        started=started,
        conditions=(Condition("client_sec", OURS, run.client_sec, "s"),),
    )
    return trial, Raw(f"{name}-{number:02d}-client.{work.suffix}", run.client)


def _run(host: Host, settings: Trials, work: Workload, device: str, *, at_peer: bool) -> _Run:
    wire = wire_of(host)
    # At another machine the server is started through a door of its own, or runs there already.
    server = wire.on_peer(work.server) if at_peer else holder(settings.total_sec + SPARE_SEC)
    listens = work.listens if at_peer else "none"
    words = (device, listens, f"{work.port:04X}", str(len(work.client)), *work.client, *server)
    try:
        running = Watching(
            host.runner, words, ready_sec=patience(host, SPARE_SEC), script="baseline.sh"
        )
        try:
            began_sec = monotonic()
            told = running.told(timeout_sec=patience(host, settings.total_sec + SPARE_SEC))
            client_sec = monotonic() - began_sec
        finally:
            running.end()
    except CommandFailed as error:
        raise MeasureError(
            f"The server of the workload `{work.name}` did not come up on the peer.",
            todo=f"Is {work.tool} installed on the host, and its port free?",
            evidence=error.completed.stdout[-2000:],
        ) from error
    run = parse_run(told, work.name, at_peer=at_peer, accepted=work.accepted)
    return replace(run, client_sec=client_sec)


def parse_run(
    text: str, name: str, *, at_peer: bool, accepted: frozenset[int] = frozenset({0})
) -> _Run:
    """What ``baseline.sh`` printed.

    ::

        === before
          p2p2: 1000 10 0 0 0 0 0 0  2000 20 0 0 0 0 0 0
        === client
        {"start": …}
        === after
          p2p2: 9000 90 0 0 0 0 0 0  2500 25 0 0 0 0 0 0
        === code 0

    Raises:
        OutputError: a part is missing.
        MeasureError: the client failed.
    """
    found = re.fullmatch(
        r"=== before\n(.*)\n=== client\n(.*)\n=== after\n(.*)\n=== code (\d+)\n", text, re.DOTALL
    )
    if found is None:
        raise OutputError("A run without a VM could not be understood.", evidence=text[-2000:])
    if int(found[4]) not in accepted:
        raise MeasureError(
            f"The client of the workload `{name}` failed on the host.",
            todo="Does the peer answer a ping from the host?",
            evidence=found[2][-2000:],
        )
    before, after = (_counters(line) for line in (found[1], found[3]))
    moved = [new - old for old, new in zip(before, after, strict=True)]
    received = moved[_RX_PACKETS] if at_peer else moved[_TX_PACKETS]
    return _Run(
        client=found[2],
        received=received,
        packets=moved[_RX_PACKETS] + moved[_TX_PACKETS],
        bytes=moved[_RX_BYTES] + moved[_TX_BYTES],
    )


def _counters(line: str) -> list[int]:
    words = line.partition(":")[2].split()
    if len(words) <= _TX_PACKETS or not all(word.isdigit() for word in words):
        raise OutputError("The counters of the peer's port could not be read.", evidence=line)
    return [int(word) for word in words]
