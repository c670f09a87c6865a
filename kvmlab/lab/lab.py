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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kvmlab.domain import LAB_VM_NAME, TestVM
from kvmlab.embedded import Lease
from kvmlab.errors import (
    DomainNotFound,
    HostError,
    HostUnreachable,
    LibvirtFailed,
    Unavailable,
    UsageError,
)
from kvmlab.hosts import Host, Wire
from kvmlab.lab.cards import CARDS
from kvmlab.lab.keeping import Keeping, Kept
from kvmlab.results import Journal, Result
from kvmlab.schemes import Scheme
from kvmlab.schemes.catalogue import Attempt, attempt

if TYPE_CHECKING:
    from kvmlab.changes import Nic, Plan
    from kvmlab.doctor import Diagnosis
    from kvmlab.facts import HostFacts
    from kvmlab.measure import OnProgress, Trials
    from kvmlab.widgets import TrialPanel


class Lab:
    """An open host with its test VM. Use :func:`open_lab`; close it, or let the program's end do.

    ``host`` runs commands and holds libvirt, ``how`` says how the host came to be.
    """

    def __init__(self, host: Host, *, vm_name: str, out: Path, lease: Lease | None = None) -> None:
        self.host = host
        self.how = lease.how if lease is not None else ""
        self._lease = lease
        self._vm_name = vm_name
        self._keeping = Keeping(out)
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
        """The test VM, running, its agent answering; made if need be, where changes are allowed."""
        if self._vm is None:
            with self._watched():
                self._vm = (
                    TestVM.ensure(self.host)
                    if self._vm_name == LAB_VM_NAME and self.host.allows_changes
                    else TestVM.find(self.host, self._vm_name)
                )
        return self._vm

    @property
    def facts(self) -> HostFacts:
        """The last inspection, or a first one."""
        return self._facts if self._facts is not None else self.inspect()

    def inspect(self) -> HostFacts:
        """Read the host anew. Changes nothing."""
        from kvmlab.changes import leftovers
        from kvmlab.facts import inspect

        with self._watched():
            facts = inspect(self.host)
            # What a run left on the embedded host is put back by the next change, unasked.
            left = leftovers(self.host) if self.host.is_shared else ()
            self._facts = replace(facts, leftovers=tuple(one.what for one in left))
        return self._facts

    def doctor(self) -> Diagnosis:
        """Every rule about this host: what was read, the verdict, the fix. Changes nothing.

        The VM is looked into where it runs; on the embedded host it always does.
        """
        from kvmlab.doctor import examine

        with self._watched():
            return examine(self.host, facts=self.inspect(), vm=self._running_vm())

    def _running_vm(self) -> TestVM | None:
        if self._lease is not None or self._vm is not None:
            return self.vm
        try:
            found = TestVM.find(self.host, self._vm_name)
        except (DomainNotFound, HostError, Unavailable):
            return None
        return found if found.state == "running" else None

    def plan(self, scheme: Scheme) -> Plan:
        """Everything that ``scheme`` would change on this host and in the VM; changes nothing.

        Raises:
            Unavailable: this host cannot do that.
        """
        with self._watched():
            return scheme.plan(self.facts, vm=self._vm_to_plan_for())

    def _vm_to_plan_for(self) -> TestVM | None:
        """The test VM; None where the lab's own is yet to be made and nobody has said yes to it."""
        if self.host.allows_changes or self._vm_name != LAB_VM_NAME:
            return self.vm
        try:
            return self.vm
        except DomainNotFound:
            return None

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

    def attempt(self, scheme: Scheme) -> Attempt:
        """The plan of a scheme, or why this host cannot do it: for what is to be refused."""
        with self._watched():
            return attempt(scheme, self.facts)

    def measure(self, nic: Nic, trials: Trials) -> Result:
        """Run the trials on an interface that is in place.

        Raises:
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.measure import measure
        from kvmlab.widgets import Ticker

        with self._watched(), Ticker() as ticker, self._journal([nic.label], trials) as journal:
            result = measure(self.host, self.vm, nic, trials, progress=ticker.show, journal=journal)
            return self._keeping.measured(journal, result)[0]

    def baseline(self, trials: Trials) -> Result:
        """The port under test against the peer, with no VM between: this host's bare metal.

        Raises:
            ChangeError: the port could not be given an address, or could not be put back.
            MeasureError: a run failed.
        """
        from kvmlab.changes.bare import addressed
        from kvmlab.measure import measure_baseline

        with self._watched(), addressed(self.inspect(), self.wire, self.vm):
            return measure_baseline(self.host, trials)

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
        with (
            self._watched(),
            prepared(*plans, vm=self.vm),
            Ticker() as ticker,
            self._journal(list(applied), trials) as journal,
        ):
            results = interleaved(
                applied, self.host, self.vm, trials, progress=ticker.show, journal=journal
            )
            return self._keeping.measured(journal, *results)

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

        What was measured is on disk in any case, measurement by measurement; this puts results
        that belong together into one run.

        Raises:
            UsageError: there is nothing to keep, or the folder cannot be written.
        """
        return self._keeping.keep(results, self._facts)

    def _journal(
        self, schemes: Sequence[str], trials: Trials
    ) -> contextlib.AbstractContextManager[Journal]:
        return self._keeping.journal(self.host, schemes, trials, self._facts)

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
