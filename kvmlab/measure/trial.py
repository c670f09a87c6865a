"""One trial: counters up, server up, client in the VM, the window inside its traffic, all down."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kvmlab.errors import CommandFailed, GuestCommandFailed, KvmlabError, MeasureError
from kvmlab.measure.machine_load import StealMeter
from kvmlab.measure.meters import Meters, patience
from kvmlab.measure.settings import Trials
from kvmlab.measure.snapshot import Snapshot, costs, window
from kvmlab.measure.workloads import SPARE_SEC, Workload
from kvmlab.results import Cost, Metric, Raw, Trial, Window

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM, VmThreads
    from kvmlab.hosts import Host

_FLAG_STEAL = 0.10
# Two snapshots take time as well, and the client's last moments stay out of the window.
_TAIL_SEC = 0.4


def run_trial(
    host: Host,
    vm: TestVM,
    nic: Nic,
    threads: VmThreads,
    work: Workload,
    trials: Trials,
    *,
    number: int,
    block: int,
) -> tuple[Trial, tuple[Raw, ...]]:
    """Run ``work`` once, with every meter around it.

    The order: counters set, server started and seen listening, client started in the VM; on the
    host one script waits for the traffic and the warm-up, takes a snapshot, waits the length of the
    trial and takes another; then the client's end is awaited, and server and counters are removed,
    whatever happened.

    Raises:
        MeasureError: no traffic came, the client failed, or something stayed behind.
        HostError, DomainError: host or VM do not answer.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    steal = StealMeter(host)
    meters = Meters(host, threads, nic)
    with meters:
        meters.prepare(work.server, work.listens, work.port)
        handle = vm.agent.start(work.client)
        found = meters.window(trials.warmup_sec, max(trials.seconds - _TAIL_SEC, 0.5))
        try:
            client = vm.agent.wait(
                handle, work.client, timeout_sec=patience(host, trials.total_sec + SPARE_SEC)
            )
        except (GuestCommandFailed, CommandFailed) as error:
            raise MeasureError(
                f"The client of the workload `{work.name}` failed in {vm.name}.",
                todo=_peer_hint(meters, work),
                evidence=(error.completed.stdout + error.completed.stderr)[-2000:],
            ) from error
    raw = _raw(work, number, client.stdout, meters.server_log)
    if found is None:
        raise MeasureError(
            f"No traffic of the workload `{work.name}` arrived at {meters.counted_at}.",
            todo="Does the VM reach the peer through the interface under test? Try a ping.",
            evidence=client.stdout[-2000:],
        )
    counted, spent = _count(meters, *found)
    metrics = _read(work, client.stdout, raw)
    trial = Trial(
        workload=work.name,
        number=number,
        block=block,
        metrics=metrics,
        costs=(*spent, *steal.costs()),
        window=counted,
        started=started,
        flags=(*_flags(spent, counted), *steal.flags(_FLAG_STEAL)),
    )
    return trial, raw


def _count(meters: Meters, begin: Snapshot, end: Snapshot) -> tuple[Window, tuple[Cost, ...]]:
    counted = window(begin, end, meters.device, meters.counted_at)
    if not counted.packets:
        raise MeasureError(
            f"The interface counters of {meters.counted_at} stood still during a trial.",
            todo="Costs per packet need packets: is that the port that carries the traffic?",
        )
    return counted, costs(begin, end, meters.roles, meters.interrupt_devices)


def _read(work: Workload, text: str, raw: tuple[Raw, ...]) -> tuple[Metric, ...]:
    try:
        return work.read(text)
    except KvmlabError as error:
        # What the server said explains most of what a client could not.
        server = "".join(item.text for item in raw[1:])
        error.evidence = f"{error.evidence}\n{server[-1000:]}".strip()
        raise


def _raw(work: Workload, number: int, client: str, server: str) -> tuple[Raw, ...]:
    stem = f"{work.name}-{number:02d}"
    found = [Raw(f"{stem}-client.{work.suffix}", client)]
    if server.strip():
        found.append(Raw(f"{stem}-server.txt", server))
    return tuple(found)


def _peer_hint(meters: Meters, work: Workload) -> str:
    if meters.peer_is_elsewhere and work.listens != "none":
        return (
            f"The peer is another machine: `{work.tool}` has to serve there on port {work.port} "
            f"({' '.join(work.server[2:])})."
        )
    return "Does the VM reach the peer? Is the tool in the VM?"


def _flags(spent: tuple[Cost, ...], counted: Window) -> tuple[str, ...]:
    stolen_us = sum(cost.value for cost in spent if cost.name == "steal_us")
    share = stolen_us / (counted.seconds * 1e6)
    return (f"steal on the host {share:.0%} of one CPU",) if share > _FLAG_STEAL else ()
