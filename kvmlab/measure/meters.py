"""The meters of a measurement: one program on the host that counts, serves and takes snapshots.

It is ``scripts/meters.pl``. It loads the eBPF programs of the counters, starts the servers at the
peer's end, and reads what the counters declare. All that it holds in the kernel, and its server,
end with the connection to it: a run that is killed leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from kvmlab.domain import VmThreads
from kvmlab.errors import CommandFailed, MeasureError, OutputError
from kvmlab.hosts import parse_output, script_text
from kvmlab.measure import counters
from kvmlab.measure.counters import MAPS, SOURCES, Detail, Snapshot, SnapshotPair, parse_snapshots
from kvmlab.measure.counters.counter import MapSource, Source
from kvmlab.measure.counters.packets import NET
from kvmlab.measure.ebpf.programs import RECORDS, Attached
from kvmlab.measure.subject import cable_under_test, counted_device

if TYPE_CHECKING:
    from kvmlab.hosts import Cable, Host, RemoteProcess
    from kvmlab.measure.subject import Subject

_END: Final = "=== end"
#: Without root, its groups, and any way to them.
_AS_NOBODY: Final = (
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--",
)  # fmt: skip
_NO_VM: Final = VmThreads(0, (), (), ())
_TRAFFIC_WAIT_SEC: Final = 12
_SPARE_SEC: Final = 30


class _Refused(Exception):
    """The kernel, or the program on the host, could not follow a command."""


@dataclass(frozen=True)
class _Armed:
    """A window that waits for traffic: what it reads, and how many seconds it may take."""

    sources: tuple[Source[Any], ...]
    seconds: float


class Meters:
    """Counters around trials and a server around each; a context manager that takes them away.

    Counters are set up with the first trial and stay for the others, also for those of another
    interface of the same VM: a trial is the difference of two snapshots, and setting up costs the
    host more than the rest of what surrounds a trial.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._process: RemoteProcess | None = None
        self._vm = _NO_VM
        self._cable: Cable | None = None
        self._devices: tuple[str, ...] = ()
        self._sources: tuple[Source[Any], ...] = (NET,)
        self._attached: dict[int, tuple[Attached, ...]] = {}
        self._fields: dict[str, dict[str, int]] = {}
        self._armed: _Armed | None = None
        self._refused: dict[str, str] = {}

    @property
    def missing_costs(self) -> dict[str, str]:
        """The costs that cannot be counted on this host, by name, with the kernel's reason."""
        return counters.missing_costs(self._refused)

    def set_up(self, subject: Subject, detail: Detail) -> None:
        """Count for this subject from now on, in as much detail as the workload bears.

        What the kernel refuses is left out; see :attr:`missing_costs`.

        Raises:
            MeasureError: the program cannot run on the host; the message says why.
        """
        vm = subject.threads
        if self._process is None or (vm.pid, vm.vcpus) != (self._vm.pid, self._vm.vcpus):
            self._start(vm)
        self._vm, self._cable, self._devices = vm, subject.cable, subject.devices
        for source in MAPS:
            self._attach(source, detail in source.details)
        read = (s for s in SOURCES if detail in s.details and s.name not in self._refused)
        self._sources = (*read, NET)

    def set_up_without_vm(self) -> None:
        """Count packets alone, at the host's first cable.

        Raises:
            MeasureError: the program cannot run on the host, or the host has no cable.
        """
        self._cable = cable_under_test(self._host)
        self._start(_NO_VM)

    def serve(self, words: Sequence[str], protocol: str, port: int) -> None:
        """Start a server in the peer's namespace, as nobody, and see it listen.

        Raises:
            MeasureError: it does not listen; the evidence is what it printed.
        """
        assert self._cable is not None
        try:
            server = self._cable.on_peer((*_AS_NOBODY, *words))
            self._ask("serve", self._netns, protocol, f"{port:04X}", *server)
        except _Refused as error:
            raise MeasureError(
                f"The server `{words[0]} {words[1]} ...` does not run at the peer of "
                f"{self._host.label}.",
                todo="Is the tool installed on the host, and its port free?",
                evidence=str(error),
            ) from error

    def stop_server(self) -> str:
        """End the server, if there is one, and return the end of what it printed."""
        if self._process is None:
            return ""
        if self._armed is not None:
            # The window was not waited for: the program ends with what it holds.
            self.finish()
            return ""
        return parse_output(self._ask("stop")).text("server").strip("\n")

    def snapshot(self, label: str) -> Snapshot:
        """Return the counters of now."""
        text = self._ask("snapshot", label, self._netns, *self._words(self._sources))
        return parse_snapshots(text, self._vm, self._sources)[0]

    def pair(self, begin: Snapshot, end: Snapshot) -> SnapshotPair:
        """Return two snapshots as a pair of the present subject."""
        return SnapshotPair(begin, end, self._host.clock, self._devices)

    def arm(self, warmup_sec: float, seconds: float, *, await_server: bool) -> None:
        """Stand by for traffic: a window of ``seconds`` opens ``warmup_sec`` after its begin.

        While packets flow nobody asks the host anything, and nothing is started there: where there
        is one CPU, each would be time that the traffic has not. With ``await_server`` the window
        is not reported before the server has ended, as a stream's does with its client.

        Raises:
            MeasureError: the device where packets are counted is not there.
        """
        assert self._cable is not None
        times = (str(_TRAFFIC_WAIT_SEC), f"{warmup_sec:g}", f"{seconds:g}")
        until = "server" if await_server else "-"
        where = (self._netns, counted_device(self._cable))
        words = ("window", *where, *times, until, *self._words(self._sources))
        self._send("\t".join(words) + "\n")
        lines, answer = self._expect("=== ", 0)
        if answer != "ready":
            self._expect(_END, 0)
            raise MeasureError(
                f"The meters cannot count packets at {counted_device(self._cable)}.",
                evidence="\n".join((*lines, answer)),
            )
        self._armed = _Armed(self._sources, _TRAFFIC_WAIT_SEC + warmup_sec + seconds + _SPARE_SEC)

    def window(self) -> SnapshotPair | None:
        """Return the two snapshots of the window that was armed, once it has ended.

        None where no traffic came, or it was over already, or no window is armed any more.

        Raises:
            OutputError: what the host printed was cut off.
            MeasureError, CommandTimeout, HostUnreachable: the window did not end as it should.
        """
        armed, self._armed = self._armed, None
        if armed is None:
            return None
        text = self._answer(armed.seconds)
        snapshots = parse_snapshots(text, self._vm, armed.sources)
        if "=== no traffic" in text:
            return None
        if len(snapshots) != 2:
            raise OutputError(
                f"The meters printed {len(snapshots)} snapshots of a window that has two.",
                evidence=text[-2000:],
            )
        return self.pair(*snapshots)

    def finish(self) -> None:
        """End the program on the host with all that it holds; a second call does nothing."""
        process, self._process = self._process, None
        self._armed = None
        self._attached = {}
        if process is not None:
            process.stop()

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
    def _netns(self) -> str:
        assert self._cable is not None
        return self._cable.peer_netns or "-"

    def _words(self, sources: Sequence[Source[Any]]) -> tuple[str, ...]:
        return tuple(word for source in sources for word in source.words(self._vm))

    def _start(self, vm: VmThreads) -> None:
        """Start the program on the host for this VM; what it could not set up is remembered."""
        self.finish()
        self._vm, self._refused = vm, {}
        sizes = ",".join(str(source.size(vm)) for source in MAPS) if vm.vcpus else ""
        events = RECORDS if vm.vcpus else ()
        argv = ("sh", "-c", 'exec perl - "$@"', "meters.pl", sizes, *events)
        self._process = self._host.runner.spawn(argv, root=True)
        try:
            self._send(script_text("kvmlab.measure", "meters.pl"))
            text = self._answer()
        except _Refused as error:
            self._refused = {source.name: str(error) for source in MAPS}
            return
        except MeasureError as error:
            raise MeasureError(
                f"The meters cannot be started on {self._host.label}.",
                todo="Needed: root, and perl (Debian: perl-base; Fedora: perl-interpreter).",
                evidence=error.evidence,
            ) from error
        self._fields = dict(map(_fields, parse_output(text).named("fields")))

    def _attach(self, source: MapSource[Any], is_needed: bool) -> None:
        """Have the programs of a map in the kernel, or none of them; empty it if it starts anew."""
        if source.name in self._refused:
            return
        try:
            programs = source.programs(self._vm, self._fields) if is_needed else ()
            if programs != self._attached.get(source.number, ()):
                self._ask("attach", str(source.number), *(program.word for program in programs))
                self._attached[source.number] = programs
            if is_needed and source.is_emptied:
                self._ask("empty", str(source.number))
        except (_Refused, OutputError) as error:
            self._attached.pop(source.number, None)
            self._refused[source.name] = str(error)

    def _ask(self, *words: str) -> str:
        """Send a command and return its answer, with the last line.

        Raises:
            _Refused: the command could not be followed.
            MeasureError: the program has ended.
        """
        self._send("\t".join(words) + "\n")
        return self._answer()

    def _send(self, text: str) -> None:
        assert self._process is not None
        try:
            self._process.send(text)
        except CommandFailed as error:
            raise self._ended(error) from error

    def _answer(self, seconds: float = 0) -> str:
        lines, _ = self._expect(_END, seconds)
        refusals = [line for line in lines if line.startswith("=== refused ")]
        if refusals:
            raise _Refused(refusals[0].removeprefix("=== refused "))
        return "\n".join((*lines, _END)) + "\n"

    def _expect(self, prefix: str, seconds: float) -> tuple[list[str], str]:
        assert self._process is not None
        timeout_sec = self._host.clock.wall_timeout(seconds)
        try:
            return self._process.expect(prefix, timeout_sec=timeout_sec)
        except CommandFailed as error:
            raise self._ended(error) from error
        except BaseException:
            self.finish()  # half an answer may still come
            raise

    def _ended(self, error: CommandFailed) -> MeasureError:
        self.finish()
        return MeasureError(
            f"The meters on {self._host.label} have ended by themselves.",
            todo="Run it again; if it happens again, what the host said of it is below.",
            evidence=(error.completed.stdout + error.completed.stderr)[-2000:],
        )


def _fields(section: str) -> tuple[str, dict[str, int]]:
    """Read "EVENT NAME:OFFSET ..."."""
    event, *fields = section.split()
    return event, {name: int(offset) for name, _, offset in (f.partition(":") for f in fields)}
