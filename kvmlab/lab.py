"""A lab: one host with its test VM and its cable, opened by one line and closed with the program.

Everything that a notebook does goes through here::

    lab = kvmlab.open_lab(HOST)
    facts = lab.inspect()
    plan = lab.plan(kvmlab.Virtio())
    with plan.applied(lab.vm) as nic:
        result = lab.measure(nic, kvmlab.Trials(count=3))
    lab.keep(result)
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kvmlab.clock import Clock
from kvmlab.domain import LAB_VM_NAME, TestVM
from kvmlab.domain.description import LabVm
from kvmlab.embedded import Lease, Preparation, Settings, acquire
from kvmlab.errors import HostUnreachable, LibvirtFailed, UsageError
from kvmlab.hosts import Host, HostKind, SshTarget, Wire, open_host
from kvmlab.process import Completed
from kvmlab.schemes import FullEmulation, Scheme, Virtio

if TYPE_CHECKING:
    from kvmlab.changes import Nic, Plan
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Runner
    from kvmlab.measure import OnProgress, Trials
    from kvmlab.results import Result
    from kvmlab.widgets import TrialPanel

EMBEDDED = "embedded"
# The cable of the embedded host: an 82576 port to its sister port in a namespace (RFC 5737).
EMBEDDED_WIRE = Wire(
    port="p2p1",
    vm_address="192.0.2.10/24",
    peer_address="192.0.2.1/24",
    peer_netns="peer",
    peer_port="p2p2",
)
# The cards that a panel offers.
CARDS: dict[str, Scheme] = {
    "e1000": FullEmulation("e1000"),
    "e1000e": FullEmulation("e1000e"),
    "virtio": Virtio(),
}
_CONNECT_SEC = 60
# Raise it when `_prepare` does something else: saved states of the old kind are then left aside.
_PREPARATION = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Kept:
    """Where results were written; shows itself as one line."""

    folder: Path
    results: int
    trials: int

    def __str__(self) -> str:
        return (
            f"Kept {self.results} result{'s' if self.results != 1 else ''} "
            f"({self.trials} trials) in {self.folder}: tidy.csv, tidy.parquet, results.json and "
            "the tools' own output in raw/."
        )

    __repr__ = __str__


class Lab:
    """An open host with its test VM. Use :func:`open_lab`; close it, or let the program's end do.

    ``host`` runs commands and holds libvirt, ``how`` says how the host came to be.
    """

    def __init__(self, host: Host, *, vm_name: str, out: Path, lease: Lease | None = None) -> None:
        self.host = host
        self.how = lease.how if lease is not None else ""
        self._lease = lease
        self._vm_name = vm_name
        self._out = out
        self._vm: TestVM | None = None
        self._facts: HostFacts | None = None
        self._closed = False
        atexit.register(self.close)

    @property
    def wire(self) -> Wire:
        """The cable under test.

        Raises:
            UsageError: none was given for a host that is not the embedded one.
        """
        if self.host.wire is None:
            raise UsageError(
                f"It is not known which port of {self.host.label} the lab may use.",
                todo='Give one: open_lab(…, wire=kvmlab.Wire(port="eth1", …)).',
            )
        return self.host.wire

    @property
    def vm(self) -> TestVM:
        """The test VM, running, its agent answering; made on the embedded host if need be."""
        if self._vm is None:
            with self._watched():
                self._vm = (
                    TestVM.ensure(self.host)
                    if self._vm_name == LAB_VM_NAME
                    else TestVM.find(self.host, self._vm_name)
                )
        return self._vm

    @property
    def facts(self) -> HostFacts:
        """The last inspection, or a first one."""
        return self._facts if self._facts is not None else self.inspect()

    def inspect(self) -> HostFacts:
        """Read the host anew. Changes nothing."""
        from kvmlab.facts import inspect

        with self._watched():
            self._facts = inspect(self.host)
        return self._facts

    def plan(self, scheme: Scheme) -> Plan:
        """Everything that ``scheme`` would change on this host and in the VM; changes nothing.

        Raises:
            Unavailable: this host cannot do that.
        """
        with self._watched():
            return scheme.plan(self.facts, wire=self.wire, vm=self.vm)

    def trace(self, nic: Nic) -> Result:
        """Follow one ping through the host: a result without trials that holds the path.

        Raises:
            MeasureError: the path cannot be traced.
        """
        from kvmlab.measure import trace_path
        from kvmlab.results import Result

        with self._watched():
            path, raw = trace_path(self.host, self.vm, nic, self.vm.threads())
        return Result(
            scheme=nic.scheme,
            label=nic.label,
            host=self.host.label,
            clock=self.host.clock,
            emulated=self.host.emulated,
            trials=(),
            path=path,
            meta={"nic": nic.to_dict()},
            raw=(raw,),
        )

    def measure(self, nic: Nic, trials: Trials) -> Result:
        """Run the trials on an interface that is in place.

        Raises:
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.measure import measure
        from kvmlab.widgets import Ticker

        with self._watched(), Ticker() as ticker:
            return measure(self.host, self.vm, nic, trials, progress=ticker.show)

    def compare(self, *plans: Plan, trials: Trials) -> tuple[Result, ...]:
        """Apply the plans in turn, block by block, and measure each: one result a plan.

        The trials of the schemes are interleaved, so that whatever else the machine does in the
        meantime meets all of them.

        Raises:
            ChangeError: a plan could not be applied or put back.
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.changes import prepared
        from kvmlab.measure import interleaved
        from kvmlab.widgets import Ticker

        applied = {plan.label: functools.partial(plan.applied, self.vm) for plan in plans}
        with self._watched(), prepared(*plans, vm=self.vm), Ticker() as ticker:
            return interleaved(applied, self.host, self.vm, trials, progress=ticker.show)

    def panel(self, *, model: str = "e1000e", seconds: int = 2) -> TrialPanel:
        """One short trial with a card, and in a browser a panel to run more with other cards.

        ``model`` is one of the names in :data:`CARDS`; ``seconds`` is the length of a trial in the
        host's clock.

        Raises:
            UsageError: there is no such card.
            ChangeError, MeasureError: the trial failed.
        """
        from kvmlab.widgets import TrialPanel

        return TrialPanel(self._one_trial, tuple(CARDS), model=model, seconds=seconds)

    def _one_trial(self, model: str, seconds: int, progress: OnProgress | None) -> Result:
        from kvmlab.measure import Trials, measure

        settings = Trials(
            count=1, seconds=seconds, workloads=("tcp_up", "latency"), trace_path=False
        )
        with self._watched(), self.plan(CARDS[model]).applied(self.vm) as nic:
            return measure(self.host, self.vm, nic, settings, progress=progress)

    def keep(self, *results: Result) -> Kept:
        """Write results, with their raw output, into a folder of their own under ``out``.

        Raises:
            UsageError: there is nothing to keep, or the folder cannot be written.
        """
        from kvmlab.results import save

        if not results:
            raise UsageError("There is no result to keep.", todo="Measure one first.")
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
        folder = save(results, _unused(self._out / stamp))
        if self._facts is not None:
            text = json.dumps(self._facts.to_dict(), indent=1, ensure_ascii=False, default=str)
            (folder / "facts.json").write_text(text + "\n")
        return Kept(folder, len(results), sum(len(result.trials) for result in results))

    def close(self) -> None:
        """Close the connections and give the host back. Twice is no error."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        try:
            self.host.close()
        finally:
            if self._lease is not None:
                # Whoever uses the host next gets it from its saved state.
                self._lease.release(clean=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Lab on {self.host.label}>"

    def _repr_html_(self) -> str:
        from kvmlab.widgets import card

        return card("Lab", self.describe())

    def describe(self) -> dict[str, str]:
        """What this lab is, in lines for people."""
        lines = {"Host": self.host.label, "Clock": self.host.clock.meaning}
        if self.host.emulated:
            lines["Emulated"] = self.host.emulated
        if self.how:
            lines["Came up"] = self.how
        if self.host.wire is not None:
            wire = self.host.wire
            lines["Cable"] = (
                f"{wire.port} to {wire.peer_port or 'the peer'}; the VM is {wire.vm_address}, the "
                f"peer {wire.peer_address}"
            )
        return lines

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """If the embedded host died, say that, with its console, and not that ssh broke."""
        try:
            yield
        except (HostUnreachable, LibvirtFailed):
            if self._lease is not None:
                self._lease.check()
            raise


def open_lab(
    spec: str = EMBEDDED,
    *,
    clock: str | Clock = Clock.WALL,
    vm: str = LAB_VM_NAME,
    out: str | Path = "results",
    wire: Wire | None = None,
    settings: Settings | None = None,
    progress: Say | None = None,
) -> Lab:
    """Open a host.

    Args:
        spec: "embedded", "qemu:///system" or "qemu+ssh://user@host/system".
        clock: "wall" or "virtual", for the embedded host.
        vm: the test VM's libvirt name; the lab makes its own where none is named.
        out: the folder under which :meth:`Lab.keep` writes.
        wire: the cable under test; the embedded host has its own.
        settings: more about the embedded host; its clock must then agree with ``clock``.
        progress: told what takes time, a line at a time; printed where it is left out.

    Raises:
        UsageError: no such kind of host or clock.
        HostUnreachable, HostRefused: the host does not answer, or does not let us in.
        EmbeddedError: the embedded host cannot be built or started.
    """
    time = as_clock(clock)
    if spec != EMBEDDED:
        host = open_host(spec, wire=wire)
        return Lab(host, vm_name=vm, out=Path(out))
    lease = acquire(
        settings or Settings(clock=time), preparation=preparation(), progress=progress or _print
    )
    try:
        host = connect(lease, wire=wire)
    except BaseException:
        lease.release(clean=False)
        raise
    return Lab(host, vm_name=vm, out=Path(out), lease=lease)


def as_clock(name: str | Clock) -> Clock:
    """The clock of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return Clock(name)
    except ValueError as error:
        raise UsageError(
            f"There is no clock {str(name)!r}.",
            todo=f"Use one of {', '.join(clock.value for clock in Clock)}.",
        ) from error


def connect(lease: Lease, *, wire: Wire | None = None) -> Host:
    """A door to the embedded host of ``lease``; the caller closes it before the lease."""
    target = SshTarget(
        address=lease.address,
        port=lease.port,
        user=lease.user,
        key_path=lease.key_path,
        known_hosts=lease.known_hosts,
    )
    host = open_host(
        f"qemu+ssh://{lease.user}@{lease.address}:{lease.port}/system",
        ssh=target,
        kind=HostKind.EMBEDDED,
        label="embedded host",
        clock=lease.clock,
        emulated=f"Embedded host: a whole KVM host inside one QEMU process, not hardware "
        f"({lease.label}).",
        wire=wire or EMBEDDED_WIRE,
        deadline_sec=_CONNECT_SEC,
    )
    host.runner = _Watched(host.runner, lease)
    return host


def preparation() -> Preparation:
    """What is done to a fresh embedded host before it is saved: its test VM runs, suspended."""
    made = f"{_PREPARATION} {LabVm().domain().xml()}"
    return Preparation(key=hashlib.sha256(made.encode()).hexdigest()[:16], run=_prepare)


def _prepare(lease: Lease) -> None:
    with connect(lease) as host:
        TestVM.ensure(host).suspend()


class _Watched:
    """A runner that, when its host is cut off, first asks whether the host still lives."""

    def __init__(self, runner: Runner, lease: Lease) -> None:
        self._runner = runner
        self._lease = lease
        self.name = runner.name

    def run(self, argv: Sequence[str], **keywords: Any) -> Completed:
        """Run ``argv``; see :class:`kvmlab.hosts.Runner`.

        Raises:
            MachineDied: the embedded host ended; the evidence is the end of its console.
        """
        try:
            return self._runner.run(argv, **keywords)
        except HostUnreachable:
            self._lease.check()
            raise

    def close(self) -> None:
        """Close the runner."""
        self._runner.close()


def _unused(folder: Path) -> Path:
    """``folder``, or the same with a number where two results are kept in one second."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return candidate


def _print(text: str) -> None:
    print(text, flush=True)
