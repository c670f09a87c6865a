"""One trial: counters up, server up, client in the VM, the window inside its traffic, all down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from kvmlab.errors import (
    CommandFailed,
    GuestCommandFailed,
    KvmlabError,
    MeasureError,
    OutputError,
)
from kvmlab.measure.machine_load import HOST, OURS, Surroundings
from kvmlab.measure.meters import Meters, Watch, patience, wire_of
from kvmlab.measure.queues import (
    QueueCounters,
    busiest,
    queue_shares,
    read_queues,
    thread_shares,
)
from kvmlab.measure.serving import PeerServer
from kvmlab.measure.settings import Trials
from kvmlab.measure.snapshot import Snapshot, arrived_pps, costs, others_percent, window
from kvmlab.measure.split import GUEST, idle_percent
from kvmlab.measure.subject import Subject
from kvmlab.measure.uncounted import is_counted, uncounted_trial
from kvmlab.measure.workloads import SPARE_SEC, Workload
from kvmlab.results import Condition, Cost, Metric, Raw, Share, Trial, Window

if TYPE_CHECKING:
    from kvmlab.hosts import Wire

_FLAG_STEAL = 0.10
# The costs' window opens in the middle of the warm-up, since on a busy host what opens it is late;
# it closes before the client's last moments.
_WARM_SHARE = 0.5
_TAIL_SEC = 0.4
_LEAST_SEC = 0.5
_ATTEMPTS = 3


@dataclass(frozen=True)
class _Attempt:
    """One run of the client: what it printed, and the window inside its traffic if there was."""

    client: str
    server_log: str
    window: Window | None
    spent: tuple[Cost, ...]
    counted: tuple[Metric, ...] = ()
    flags: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()
    conditions: tuple[Condition, ...] = ()


def run_trial(
    subject: Subject,
    work: Workload,
    trials: Trials,
    *,
    number: int,
    block: int,
    meters: Meters | None = None,
) -> tuple[Trial, tuple[Raw, ...]]:
    """Run ``work`` once, with every meter around it; with ``meters`` those of the trials before.

    The order: counters set, server started and seen listening, client started in the VM; on the
    host a watcher stands by that sees the traffic come, takes a snapshot in the warm-up, waits the
    length of the trial and takes another; then the client's end is awaited, and server and
    counters are removed, whatever happened.

    Where the traffic was over before the window opened (a very busy host), or the client's report
    cannot be read (it came cut short), the trial is repeated, and flagged.

    Raises:
        MeasureError: no traffic came, the client failed, or something stayed behind.
        OutputError: the client's report could not be understood, however often.
        HostError, DomainError: host or VM do not answer.
    """
    if not is_counted(subject):
        return uncounted_trial(subject, work, trials, number=number, block=block)
    if meters is None:
        with Meters(subject) as own:
            return run_trial(subject, work, trials, number=number, block=block, meters=own)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    found, counted, metrics, repeated = _seen(subject, meters, work, trials)
    raw = _raw(work, number, found)
    again = (f"repeated: {', '.join(repeated)}",) if repeated else ()
    trial = Trial(
        workload=work.name,
        number=number,
        block=block,
        metrics=(*found.counted, *metrics, *busiest(found.shares)),
        costs=found.spent,
        window=counted,
        started=started,
        flags=(*again, *found.flags),
        shares=found.shares,
        conditions=found.conditions,
    )
    return trial, raw


def _seen(
    subject: Subject, meters: Meters, work: Workload, trials: Trials
) -> tuple[_Attempt, Window, tuple[Metric, ...], list[str]]:
    """The first attempt that saw its traffic and whose report can be read; why others were none."""
    repeated: list[str] = []
    while True:
        found = _attempt(subject, meters, work, trials)
        last = len(repeated) == _ATTEMPTS - 1
        if found.window is None or not found.window.packets:
            if last:
                raise _unseen(meters, work, found)
            repeated.append("an attempt missed the traffic")
            continue
        try:
            return found, found.window, _read(work, found), repeated
        except OutputError:
            if last:
                raise
            repeated.append("the client's report could not be read")


def _unseen(meters: Meters, work: Workload, found: _Attempt) -> MeasureError:
    return MeasureError(
        f"The counters of {meters.counted_at} saw no traffic of the workload "
        f"`{work.name}` in {_ATTEMPTS} attempts.",
        todo=(
            "Is that the port that carries the traffic? On a very busy machine give trials more "
            "seconds."
        ),
        evidence=found.client[-2000:],
    )


def _attempt(subject: Subject, meters: Meters, work: Workload, trials: Trials) -> _Attempt:
    around = Surroundings(subject.host)
    cable = wire_of(subject.host, subject.nic)
    with PeerServer(subject.host, cable, work) as there:
        meters.prepare(
            work.server,
            work.listens,
            work.port,
            _watch(trials),
            stream=work.tool == "iperf3",
            full=trials.full_costs,
        )
        queues = read_queues(subject)
        began_sec = monotonic()
        client, found = _client(subject, meters, work, trials)
        took = Condition("client_sec", OURS, monotonic() - began_sec, "s")
        around.ended()
        then = read_queues(subject)
        meters.rest()
    server_log = there.log or meters.server_log
    if found is None:
        return _Attempt(client, server_log, None, ())
    everything = costs(*found, meters.roles, meters.interrupt_devices)
    spent = _told(work, everything)
    counted = window(*found, meters.device, meters.counted_at)
    others = Condition("others_cpu_percent", HOST, others_percent(*found, spent), "%")
    return _Attempt(
        client,
        server_log,
        counted,
        (*spent, *around.costs),
        (arrived_pps(*found, meters.device, at_peer=not meters.peer_is_elsewhere),)
        if work.arrives
        else (),
        (*_flags(spent, counted), *around.flags),
        _shares(subject, found, queues, then),
        (took, others, *_idle(found, everything), *around.conditions),
    )


def _client(
    subject: Subject, meters: Meters, work: Workload, trials: Trials
) -> tuple[str, tuple[Snapshot, Snapshot] | None]:
    """Run the client: what it printed, and the snapshots of the window inside its traffic."""
    agent = subject.vm.agent
    handle = agent.start(work.client)
    found = meters.window()
    try:
        client = agent.wait(
            handle,
            work.client,
            timeout_sec=patience(subject.host, trials.total_sec + SPARE_SEC),
            check=False,
            # A stream's server has ended with the client. Others go on for a moment in peace.
            quiet_sec=0.0 if work.listens == "tcp" or found is None else _TAIL_SEC,
        )
        if client.returncode not in work.accepted:
            raise GuestCommandFailed(client)
    except (GuestCommandFailed, CommandFailed) as error:
        raise MeasureError(
            f"The client of the workload `{work.name}` failed in {subject.vm.name}.",
            todo=_peer_hint(wire_of(subject.host, subject.nic), work),
            evidence=(error.completed.stdout + error.completed.stderr)[-2000:],
        ) from error
    return client.stdout, found


def _idle(found: tuple[Snapshot, Snapshot], everything: tuple[Cost, ...]) -> tuple[Condition, ...]:
    if not any(cost.name == "instructions" for cost in everything):
        return ()
    return (Condition("idle_percent", HOST, idle_percent(*found, everything), "%"),)


def _told(work: Workload, spent: tuple[Cost, ...]) -> tuple[Cost, ...]:
    if not work.spins:
        return spent
    return tuple(cost for cost in spent if not cost.part.startswith(GUEST))


def _shares(
    subject: Subject,
    found: tuple[Snapshot, Snapshot],
    queues: QueueCounters | None,
    then: QueueCounters | None,
) -> tuple[Share, ...]:
    if queues is None or then is None:
        return ()
    threads = subject.threads
    return (
        *queue_shares(queues, then),
        *thread_shares(*found, threads.vcpus, threads.vhost),
    )


def _watch(trials: Trials) -> Watch:
    return Watch(trials.omitted_sec * _WARM_SHARE, max(trials.seconds - _TAIL_SEC, _LEAST_SEC))


def _read(work: Workload, found: _Attempt) -> tuple[Metric, ...]:
    try:
        return work.read(found.client)
    except KvmlabError as error:
        # What the server said explains most of what a client could not.
        error.evidence = f"{error.evidence}\n{found.server_log[-1000:]}".strip()
        raise


def _raw(work: Workload, number: int, found: _Attempt) -> tuple[Raw, ...]:
    stem = f"{work.name}-{number:02d}"
    client = Raw(f"{stem}-client.{work.suffix}", found.client)
    server = Raw(f"{stem}-server.txt", found.server_log)
    return (client, server) if found.server_log.strip() else (client,)


def _peer_hint(cable: Wire, work: Workload) -> str:
    if work.listens == "none" or cable.peer_netns is not None:
        return "Does the VM reach the peer? Is the tool in the VM?"
    way = f"{work.tool}, port {work.port} of {cable.peer_address.partition('/')[0]}"
    if cable.peer_ssh is not None:
        return (
            f"The server was seen listening on {cable.peer_ssh.shown}: does a firewall there or on "
            f"the way let the VM in ({way}, TCP and UDP)? Is the tool in the VM?"
        )
    return (
        f"The peer is another machine, on which the server has to run ({way}: "
        f"`{' '.join(work.server[2:])}`). With its login in the cable, `,ssh://USER@MACHINE`, "
        "kvmlab starts and ends it there."
    )


def _flags(spent: tuple[Cost, ...], counted: Window) -> tuple[str, ...]:
    stolen_us = sum(cost.value for cost in spent if cost.name == "steal_us")
    share = stolen_us / (counted.seconds * 1e6)
    return (f"steal on the host {share:.0%} of one CPU",) if share > _FLAG_STEAL else ()
