"""The meters of one trial: counters on the host, the server at the other end of the cable."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from importlib.resources import files
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kvmlab.clock import Clock
from kvmlab.errors import CommandFailed, MeasureError, OutputError
from kvmlab.hosts import run_script
from kvmlab.measure.snapshot import Roles, Snapshot, parse_snapshots
from kvmlab.measure.vcpu_counters import CannotCount, VcpuCounters
from kvmlab.measure.watching import Watching
from kvmlab.measure.workloads import SPARE_SEC, holder

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.hosts import Host, Wire
    from kvmlab.measure.subject import Subject
    from kvmlab.process import Completed

_SCRIPT = "meters.sh"
_PACKAGE = "kvmlab.measure"
_READER = files(_PACKAGE).joinpath("scripts", "snapshots.pl").read_text(encoding="utf-8")
_TRIP_SEC = 60.0
_TRAFFIC_WAIT_SEC = 12
_HELD_SEC = 1200
# One second of an emulated host's virtual time takes many seconds of ours.
_VIRTUAL_FACTOR = 40


def patience(host: Host, seconds: float) -> float:
    """How many seconds of our own to wait for what takes ``seconds`` of the host's."""
    return seconds * (_VIRTUAL_FACTOR if host.clock is Clock.VIRTUAL else 2) + _TRIP_SEC


def wire_of(host: Host, nic: Nic | None = None) -> Wire:
    """The cable under test: the one that ``nic`` is at, else the host's first.

    Raises:
        MeasureError: this host has none.
    """
    if host.wire is None:
        raise MeasureError(
            f"{host.label} has no cable under test, so there is no peer to send to.",
            todo="Open the host with a wire: its port, the two addresses and the peer.",
        )
    if nic is None:
        return host.wire
    fitting = (wire for wire in host.wires if wire.peer_address == nic.peer_address)
    return next(fitting, host.wire)


@dataclass(frozen=True)
class Watch:
    """The window inside a trial's traffic: ``warmup_sec`` after its begin, ``seconds`` long.

    Both in the host's clock.
    """

    warmup_sec: float
    seconds: float


class Meters:
    """Counters around trials, a server around each; a context manager that takes them away again.

    Counters are set with the first trial and stay for the others, also for those of another card of
    the same VM (:meth:`turn_to`): a trial is the difference of two readings, and to set and remove
    them costs the host more than the rest of what surrounds it.
    """

    def __init__(self, subject: Subject) -> None:
        self._host = subject.host
        self.turn_to(subject)
        self._name = f"kvmlab-{secrets.token_hex(4)}"
        self._open = False
        self._watch_sec = 0.0
        self._watching: Watching | None = None
        self._resting = True
        self._split = "none"
        self._vcpus: VcpuCounters | None = None
        self.why_histograms = ""
        self.server_log = ""

    def turn_to(self, subject: Subject) -> None:
        """What is prepared from now on is of this interface of the same VM."""
        self._threads = subject.threads
        self._wire = wire_of(subject.host, subject.nic)
        self._nic = subject.nic

    @property
    def vcpus_counted_by(self) -> str:
        """What counts exits and the time inside the VM, and why, where it is the dearer way."""
        if self.why_histograms:
            return f"histograms of tracefs, since no eBPF programs could: {self.why_histograms}"
        return "eBPF programs"

    @property
    def roles(self) -> Roles:
        """Which of the host's threads is what."""
        return Roles(self._threads.pid, frozenset(self._threads.vcpus))

    @property
    def peer_is_elsewhere(self) -> bool:
        """The other end is another machine: nothing can be started there."""
        return self._wire.peer_netns is None

    @property
    def device(self) -> str:
        """Where packets are counted: the peer's port, or ours where the peer is elsewhere."""
        wire = self._wire
        return wire.peer_port if wire.peer_netns and wire.peer_port else wire.port

    @property
    def counted_at(self) -> str:
        """The same in words."""
        netns = self._wire.peer_netns
        return f"{self.device} in namespace {netns}" if netns else self.device

    @property
    def interrupt_devices(self) -> tuple[str, ...]:
        """The host's devices whose interrupts belong to the scheme: not the peer's."""
        return tuple(filter(None, (self._wire.port, self._nic.host_device)))

    def prepare(
        self,
        server: tuple[str, ...],
        listens: str,
        port: int,
        watch: Watch | None = None,
        *,
        stream: bool = True,
        full: bool = True,
    ) -> None:
        """Set the counters unless they are, start the server and see it listen.

        With ``watch`` something stands by from now on that takes the snapshots of :meth:`window`
        once traffic comes. The VM's own time is exact; where histograms have to sum it, in a
        ``stream`` only, since a round trip would feel their price. With ``full``, QEMU's system
        calls are counted in a stream too, a vCPU's thread is told apart into KVM and QEMU, and
        under the virtual clock everybody's time is summed: it is then some percent slower. In a
        round trip system calls are counted always.

        Raises:
            MeasureError: the kernel's tracing or the server cannot be used; the message says why.
        """
        tasks = " || ".join(f"common_pid == {tid}" for tid in self._threads.vcpus)
        self._open, self._resting, self.server_log = True, False, ""
        self._split = self._detail(full) if stream else "none"
        self._count_vcpus()
        if self.peer_is_elsewhere:
            server, listens, port = holder(_HELD_SEC), "none", 0
        argv = (tasks, self._split, listens, f"{port:04X}", *self._wire.on_peer(server))
        try:
            if watch is None:
                self._run("prepare", *self._place[:2], *argv)
            else:
                self._watch_sec = _TRAFFIC_WAIT_SEC + watch.warmup_sec + watch.seconds
                times = (str(_TRAFFIC_WAIT_SEC), f"{watch.warmup_sec:g}", f"{watch.seconds:g}")
                words = ("watch", self._name, *self._place, *times, *argv)
                ready_sec = patience(self._host, 0)
                self._watching = Watching(self._host.runner, words, ready_sec=ready_sec)
        except CommandFailed as error:
            raise MeasureError(
                f"The meters cannot be set up on {self._host.label}: {_reason(error)}.",
                todo=(
                    "Needed: root, tracefs (`mount -t tracefs nodev /sys/kernel/tracing`), a "
                    f"kernel with hist triggers, and `{server[0]} {server[1]} ...` on the peer."
                ),
                evidence=(error.completed.stdout + error.completed.stderr)[-2000:],
            ) from error

    def read(self, label: str) -> Snapshot:
        """One snapshot now."""
        completed = self._run("read", *self._place, self._split, label)
        return parse_snapshots(completed.stdout)[0]

    def window(self) -> tuple[Snapshot, Snapshot] | None:
        """The two snapshots of the watch that :meth:`prepare` set up, once it has ended.

        None where no traffic came, or it was over already. A stream has ended then.

        Raises:
            OutputError: what the host printed broke off.
            MeasureError, CommandTimeout, HostUnreachable: the watch did not end as it should.
        """
        if self._watching is None:
            return None
        watching, self._watching = self._watching, None
        try:
            told = watching.told(timeout_sec=patience(self._host, self._watch_sec + SPARE_SEC))
        except CommandFailed as error:
            raise MeasureError(
                f"A trial on {self._host.label} was not watched to its end: {_reason(error)}.",
                todo="Run it again; if it happens again, what the host said of it is below.",
                evidence=(error.completed.stdout + error.completed.stderr)[-2000:],
            ) from error
        if "=== server\n" in told:
            self._resting = True
            self._server_ended(told)
        if "=== no traffic" in told:
            return None
        found = parse_snapshots(told)
        if len(found) != 2:
            raise OutputError(
                f"The meters printed {len(found)} snapshots of a window that has two.",
                evidence=told[-2000:],
            )
        return found[0], found[1]

    def _count_vcpus(self) -> None:
        """By programs in the kernel, of these threads; by histograms on a host that takes none."""
        if self.why_histograms:
            return
        tids = tuple(sorted(self._threads.vcpus))
        try:
            if self._vcpus is None or self._vcpus.tids != tids:
                self._uncount_vcpus()
                self._vcpus = VcpuCounters(self._host, tids, answer_sec=patience(self._host, 0))
            self._vcpus.be_thorough(self._split in ("calls", "all"))
        except CannotCount as error:
            self.why_histograms = error.evidence or str(error)
            self._uncount_vcpus()

    def _uncount_vcpus(self) -> None:
        vcpus, self._vcpus = self._vcpus, None
        if vcpus is not None:
            vcpus.end()

    def _detail(self, full: bool) -> str:
        if not full:
            return "guest"
        return "all" if self._host.clock is Clock.VIRTUAL else "calls"

    def rest(self) -> None:
        """End the server; the counters stay for the next :meth:`prepare`."""
        if not self._resting:
            self._resting = True
            self._server_ended(self._run("rest", check=False).stdout)
            self._unwatched()

    def finish(self) -> None:
        """End the server and remove the counters; a second call does nothing.

        Raises:
            MeasureError: something stayed behind.
        """
        if not self._open:
            return
        self._open = False
        self._uncount_vcpus()
        try:
            completed = self._run("finish", check=False)
        finally:
            self._unwatched()
        self._server_ended(completed.stdout)
        if completed.returncode != 0:
            raise MeasureError(
                f"The meters could not be removed from {self._host.label}.",
                todo=f"Look for {self._name} in /sys/kernel/tracing/instances there.",
                evidence=completed.stdout[-2000:] + completed.stderr[-2000:],
            )

    def _server_ended(self, told: str) -> None:
        log = told.partition("=== server\n")[2].partition("=== ")[0]
        self.server_log = log or self.server_log

    def _unwatched(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()

    @property
    def _place(self) -> tuple[str, ...]:
        workers = ",".join(map(str, self._threads.vhost)) or "0"
        counted = "-" if self._vcpus is None else self._vcpus.place
        return (str(self._threads.pid), counted, _READER, workers, self.device)

    def _run(self, action: str, *args: str, check: bool = True) -> Completed:
        return run_script(
            self._host.runner,
            _PACKAGE,
            _SCRIPT,
            action,
            self._name,
            *args,
            timeout_sec=patience(self._host, 0),
            check=check,
            root=True,
        )


def _reason(error: CommandFailed) -> str:
    lines = [line for line in error.completed.stdout.splitlines() if line.startswith("=== ")]
    return lines[-1].removeprefix("=== ") if lines else f"exit code {error.completed.returncode}"
