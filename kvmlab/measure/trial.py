"""One trial: server up, client in the VM, a window of counters inside its traffic, server down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from kvmlab.errors import CommandFailed, KvmlabError, MeasureError, OutputError
from kvmlab.measure import counters
from kvmlab.measure.counters import Detail
from kvmlab.measure.counters.cpu_time import GUEST, thread_shares
from kvmlab.measure.counters.packets import arrived_pps, window
from kvmlab.measure.guest_counters import busiest, read_guest
from kvmlab.measure.machine_load import OURS, MachineLoad
from kvmlab.measure.peer_server import PeerServer
from kvmlab.measure.subject import counted_at, counted_device
from kvmlab.measure.workloads import SPARE_SEC
from kvmlab.results import Condition, Cost, Metric, Raw, Trial, Window

if TYPE_CHECKING:
    from kvmlab.hosts import Cable
    from kvmlab.measure.counters import SnapshotPair
    from kvmlab.measure.guest_counters import GuestCounters
    from kvmlab.measure.meters import Meters
    from kvmlab.measure.subject import Subject
    from kvmlab.measure.trial_settings import Trials
    from kvmlab.measure.workloads import Workload
    from kvmlab.process import Completed

_FLAG_STEAL: Final = 0.10
# The costs' window opens in the middle of the warm-up, since on a busy host what opens it is late;
# it closes before the client's last moments.
_WARM_SHARE: Final = 0.5
_TAIL_SEC: Final = 0.4
_LEAST_SEC: Final = 0.5
_ATTEMPTS: Final = 3


class _Discarded(Exception):
    """An attempt that cannot be used: why, for the flag, and the error if it was the last one."""

    def __init__(self, why: str, error: KvmlabError) -> None:
        super().__init__(why)
        self.why, self.error = why, error


def run_trial(
    subject: Subject, work: Workload, trials: Trials, meters: Meters, *, number: int, block: int
) -> tuple[Trial, tuple[Raw, ...]]:
    """Run ``work`` once with every meter around it; return the trial and the tools' raw output.

    Where the traffic was over before the window opened (a very busy host), or the client's report
    cannot be read (it came cut short), the trial is repeated, and flagged.

    Raises:
        MeasureError: no traffic came, or the client or the server failed.
        OutputError: the client's report could not be understood, however often.
        HostError, DomainError: host or VM do not answer.
    """
    flags: list[str] = []
    while True:
        try:
            trial, raw = _run_once(subject, work, trials, meters, number=number, block=block)
        except _Discarded as discarded:
            flags.append(f"repeated: {discarded.why}")
            if len(flags) == _ATTEMPTS:
                raise discarded.error from discarded
        else:
            return replace(trial, flags=(*flags, *trial.flags)), raw


def _run_once(
    subject: Subject, work: Workload, trials: Trials, meters: Meters, *, number: int, block: int
) -> tuple[Trial, tuple[Raw, ...]]:
    """Make one attempt at a trial.

    A subject whose packets nobody on the host sees (`Subject.is_counted`) has no costs, and the
    whole run as its window.

    Raises:
        _Discarded: the attempt cannot be used, and another may.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    load = MachineLoad(subject.host)
    if subject.is_counted:
        meters.set_up(subject, detail(work, trials))
    with PeerServer(subject.host, subject.cable, work, meters) as server:
        before = read_guest(subject)
        if subject.is_counted:
            meters.arm(*_window_times(trials), await_server=work.is_stream)
        began_sec = monotonic()
        handle = subject.vm.agent.start(work.client)
        pair = meters.window() if subject.is_counted else None
        client = _client_end(subject, work, trials, handle, is_window_over=pair is not None)
        client_time = Condition("client_sec", OURS, monotonic() - began_sec, "s")
        load.end()
        guest = read_guest(subject).since(before)
    if client.returncode not in work.accepted:
        raise _client_failed(subject, work, client, server.log)
    counted, arrived = _counted(subject, work, trials, pair, guest)
    if subject.is_counted and not counted.packets:
        raise _Discarded("an attempt missed the traffic", _no_traffic(counted, work, client))
    metrics = _report(work, client, server.log)
    costs = () if pair is None else _without_spinning(work, counters.costs(pair))
    shares = (*guest.shares, *(() if pair is None else thread_shares(pair)))
    conditions = () if pair is None else counters.conditions(pair)
    trial = Trial(
        workload=work.name,
        number=number,
        block=block,
        metrics=(*((arrived,) if work.arrives else ()), *metrics, *busiest(shares)),
        costs=(*costs, *load.costs),
        window=counted,
        started=started,
        flags=(*_steal_flags(costs, counted), *load.flags),
        conditions=(client_time, *conditions, *load.conditions),
        shares=shares,
    )
    return trial, _raw(work, number, client, server.log)


def detail(work: Workload, trials: Trials) -> Detail:
    """Return how much is counted around a workload: a round trip bears less than a stream."""
    if not work.is_stream:
        return Detail.ROUND_TRIP
    return Detail.FULL if trials.full_costs else Detail.STREAM


def _window_times(trials: Trials) -> tuple[float, float]:
    return trials.omitted_sec * _WARM_SHARE, max(trials.seconds - _TAIL_SEC, _LEAST_SEC)


def _client_end(
    subject: Subject, work: Workload, trials: Trials, handle: int, *, is_window_over: bool
) -> Completed:
    try:
        return subject.vm.agent.wait(
            handle,
            work.client,
            timeout_sec=subject.host.clock.wall_timeout(trials.total_sec + SPARE_SEC),
            check=False,
            # A stream's server has ended with the client. Others go on for a moment in peace.
            quiet_sec=_TAIL_SEC if is_window_over and not work.is_stream else 0.0,
        )
    except CommandFailed as error:
        raise _client_failed(subject, work, error.completed, "") from error


def _counted(
    subject: Subject,
    work: Workload,
    trials: Trials,
    pair: SnapshotPair | None,
    guest: GuestCounters,
) -> tuple[Window, Metric]:
    """Return the window, and the packets a second that reached the peer's port."""
    cable = subject.cable
    if pair is not None:
        device, at_peer = counted_device(cable), cable.peer_netns is not None
        arrived = arrived_pps(pair, device, at_peer=at_peer)
        return window(pair, device, counted_at(cable)), arrived
    at = counted_at(cable) if subject.is_counted else f"{subject.nic.guest_interface} in the VM"
    return guest.window(trials.total_sec, at), guest.sent_pps(trials.total_sec)


def _no_traffic(counted: Window, work: Workload, client: Completed) -> MeasureError:
    return MeasureError(
        f"The counters of {counted.counted_at} saw no traffic of the workload `{work.name}` in "
        f"{_ATTEMPTS} attempts.",
        todo="Is that the port that carries the traffic? On a very busy machine give trials more "
        "seconds.",
        evidence=client.stdout[-2000:],
    )


def _report(work: Workload, client: Completed, server_log: str) -> tuple[Metric, ...]:
    try:
        return work.read(client.stdout)
    except KvmlabError as error:
        # What the server printed explains most of what a client could not.
        error.evidence = f"{error.evidence}\n{server_log[-1000:]}".strip()
        if isinstance(error, OutputError):
            raise _Discarded("the client's report could not be read", error) from error
        raise


def _without_spinning(work: Workload, costs: tuple[Cost, ...]) -> tuple[Cost, ...]:
    """Leave out the guest's CPU time where the client spins until its next packet."""
    return tuple(cost for cost in costs if not (work.spins and cost.part.startswith(GUEST)))


def _raw(work: Workload, number: int, client: Completed, server_log: str) -> tuple[Raw, ...]:
    stem = f"{work.name}-{number:02d}"
    report = Raw(f"{stem}-client.{work.suffix}", client.stdout)
    return (report, Raw(f"{stem}-server.txt", server_log)) if server_log.strip() else (report,)


def _client_failed(
    subject: Subject, work: Workload, client: Completed, server_log: str
) -> MeasureError:
    return MeasureError(
        f"The client of the workload `{work.name}` failed in {subject.vm.name}.",
        todo=peer_hint(subject.cable, work),
        evidence=(client.stdout + client.stderr + server_log)[-2000:],
    )


def peer_hint(cable: Cable, work: Workload) -> str:
    """Return what to look at where a client did not reach its server."""
    if work.listens == "none" or cable.peer_netns is not None:
        return "Does the VM reach the peer? Is the tool in the VM?"
    server = f"{work.tool}, port {work.port} of {cable.peer_address.partition('/')[0]}"
    if cable.peer_ssh is not None:
        return (
            f"The server was listening on {cable.peer_ssh.shown}: does a firewall there or on the "
            f"path let the VM in ({server}, TCP and UDP)? Is the tool in the VM?"
        )
    return (
        f"The peer is another machine, on which the server has to run ({server}: "
        f"`{' '.join(work.server[2:])}`). With its login in the cable, `,ssh://USER@MACHINE`, "
        "kvmlab starts and ends it there."
    )


def _steal_flags(costs: tuple[Cost, ...], counted: Window) -> tuple[str, ...]:
    stolen_us = sum(cost.value for cost in costs if cost.name == "steal_us")
    share = stolen_us / (counted.seconds * 1e6)
    return (f"steal on the host {share:.0%} of one CPU",) if share > _FLAG_STEAL else ()
