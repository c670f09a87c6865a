"""The host's own port against the peer, without any VM: the bare metal of this host."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from kvmlab.errors import MeasureError
from kvmlab.measure.counters.packets import arrived_pps, window
from kvmlab.measure.machine_load import OURS
from kvmlab.measure.meters import Meters
from kvmlab.measure.peer_server import PeerServer
from kvmlab.measure.stopping_rule import StoppingRule
from kvmlab.measure.subject import cable_under_test, counted_at, counted_device
from kvmlab.measure.trial_settings import Trials
from kvmlab.measure.workloads import SPARE_SEC, workload
from kvmlab.results import Condition, Raw, Result, RunJournal, Trial

if TYPE_CHECKING:
    from kvmlab.hosts import Host

SCHEME: Final = "host"
LABEL: Final = "the host's port, no VM"


def measure_baseline(host: Host, trials: Trials, *, journal: RunJournal | None = None) -> Result:
    """Run the workloads from the host's own port, which has to have the VM's address.

    ``journal`` gets every trial as soon as it is done.

    Returns a result of the scheme "host": throughput and latency, and no costs, since no VM takes
    part. Figures of schemes are shares of these.

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
        meta={"settings": settings.to_dict(), "port": cable_under_test(host).port},
    )
    if journal is not None:
        journal.begin(0, head)
    done: list[Trial] = []
    raw: list[Raw] = []
    stopping = StoppingRule(settings, host.clock)
    with Meters(host) as meters:
        meters.set_up_without_vm()
        for number in itertools.count(1):
            workloads = stopping.next_workloads(
                lambda name: [[one.metrics[0].value for one in done if one.workload == name]]
            )
            if not workloads:
                break
            for name in workloads:
                trial, report = _trial(host, settings, name, number, meters)
                done.append(trial)
                raw.append(report)
                if journal is not None:
                    journal.add(0, SCHEME, trial, (report,))
    order = {name: place for place, name in enumerate(settings.workloads)}
    done.sort(key=lambda trial: (order[trial.workload], trial.number))
    meta = {**head.meta, "ended": stopping.to_dict()}
    return replace(head, trials=tuple(done), raw=tuple(raw), meta=meta)


def _trial(
    host: Host, settings: Trials, name: str, number: int, meters: Meters
) -> tuple[Trial, Raw]:
    cable = cable_under_test(host)
    device = counted_device(cable)
    work = workload(name, settings, cable.peer_address.partition("/")[0])
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with PeerServer(host, cable, work, meters) as server:
        before = meters.snapshot("begin")
        began_sec = monotonic()
        client = host.run(
            ("sh", "-c", 'exec "$@"', "sh", *work.client),
            timeout_sec=host.clock.wall_timeout(settings.total_sec + SPARE_SEC),
            check=False,
            root=True,
        )
        client_sec = monotonic() - began_sec
        pair = meters.pair(before, meters.snapshot("end"))
    if client.returncode not in work.accepted:
        raise MeasureError(
            f"The client of the workload `{name}` failed on {host.label}.",
            todo="Does the peer answer a ping from the host?",
            evidence=(client.stdout + client.stderr + server.log)[-2000:],
        )
    metrics = work.read(client.stdout)
    if work.arrives:
        at_peer = cable.peer_netns is not None
        metrics = (arrived_pps(pair, device, at_peer=at_peer), *metrics)
    trial = Trial(
        workload=name,
        number=number,
        block=number,
        metrics=metrics,
        costs=(),
        window=window(pair, device, counted_at(cable)),
        started=started,
        conditions=(Condition("client_sec", OURS, client_sec, "s"),),
    )
    return trial, Raw(f"{name}-{number:02d}-client.{work.suffix}", client.stdout)
