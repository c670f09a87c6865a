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

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from kvmlab.clock import Clock
from kvmlab.domain import LAB_VM_NAME
from kvmlab.embedded import Settings, acquire, visit
from kvmlab.errors import UsageError
from kvmlab.hosts import Cable, Host, open_host
from kvmlab.hosts.host import CONFIRM_WITHIN_SEC
from kvmlab.hosts.uri import parse_uri
from kvmlab.lab.embedded_host import (
    EMBEDDED_CABLE,
    EMBEDDED_NIC_CABLE,
    SECOND_HOST_CABLE,
    SECOND_HOST_PF,
    connect,
    preparation,
)
from kvmlab.lab.host_session import HostSession, parse_vm
from kvmlab.lab.parallelism import default_jobs
from kvmlab.lab.plotting_imports import start_plotting_imports
from kvmlab.lab.result_store import ResultStore, SavedResults
from kvmlab.language import N_, translate
from kvmlab.results import Reach, Result, RunJournal, Timeline
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.feasibility import Attempt, attempt
from kvmlab.schemes.queues import name_of_queues, words_on_queues
from kvmlab.schemes.registry import ALIASES, REGISTRY

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from kvmlab.changes import Nic, Plan
    from kvmlab.changes.persistent_definition import Definition, Undefinition
    from kvmlab.course import TaskSession
    from kvmlab.course.assessment_panel import AssessmentPanel
    from kvmlab.course.card import TaskCard, TaskList
    from kvmlab.doctor import Diagnosis
    from kvmlab.domain import TestVM
    from kvmlab.embedded import Lease
    from kvmlab.facts import HostFacts
    from kvmlab.incidents.panel import IncidentPanel
    from kvmlab.measure import OnProgress, Trials
    from kvmlab.measure.session import Apply
    from kvmlab.migration import MemoryLoad, MigrationOptions, MigrationPlan, SecondHost
    from kvmlab.results.atlas import Atlas
    from kvmlab.results.migration import MigrationResult, Traffic
    from kvmlab.tunings import Tuning
    from kvmlab.widgets import HostTerminal, TrialPanel

EMBEDDED: Final = "embedded"


def open_lab(
    spec: str = EMBEDDED,
    *,
    clock: str | Clock = Clock.VIRTUAL,
    vm: str = LAB_VM_NAME,
    out: str | Path = "results",
    cable: Cable | str | None = None,
    allow_changes: bool = False,
    confirm_within_sec: int = CONFIRM_WITHIN_SEC,
    cut: Sequence[str] = (),
    settings: Settings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Lab:
    """Open a host.

    Args:
        spec: "embedded", "qemu:///system" or "qemu+ssh://user@host/system".
        clock: "virtual" or "wall", for the embedded host; other hosts have a real one.
        vm: the test VM's libvirt name; the lab makes its own where none is named. A VM without
            guest agent is reached by ssh: "NAME=ssh://root@ADDRESS".
        out: the folder under which :meth:`Lab.keep` writes.
        cable: the cable under test, also as text (`Cable.parse`); the embedded host has its own.
        allow_changes: consent to changes on a host that is not embedded; without it, plans are
            made and shown there and nothing is changed. The embedded host needs none.
        confirm_within_sec: seconds without a sign of life of this process after which a host that
            is not embedded undoes by itself what was changed there; 0 switches that off.
        cut: names of what changes may cut on a host that is not embedded although the guard would
            refuse it, as its refusal names them (a VM, an address, an interface).
        settings: more about the embedded host; its clock must then agree with ``clock``.
        progress: called with a line for each thing that takes time; left out, lines are printed.

    Raises:
        UsageError: no such kind of host or clock, no cable, or a consent that is no True or False.
        HostUnreachable, HostRefused: the host does not answer, or does not let us in.
        EmbeddedError: the embedded host cannot be built or started.
    """
    host_clock = parse_clock(clock)
    vm_name, guest = parse_vm(vm)
    if isinstance(cable, str):
        cable = Cable.parse(cable) if cable else None
    elif cable is not None:
        _check_kind(cable, Cable, '"PORT,VM-ADDRESS,PEER-ADDRESS"')
    # "no" is true for Python, and a consent is nothing to guess.
    _check_kind(allow_changes, bool, "True or False for allow_changes")
    if spec != EMBEDDED:
        host = open_host(
            spec,
            cable=cable,
            allows_changes=allow_changes,
            confirm_within_sec=confirm_within_sec,
            cuts=(cut,) if isinstance(cut, str) else tuple(cut),
        )
        return Lab(HostSession(host, vm_name=vm_name, guest=guest), out=Path(out))
    settings = settings or Settings(clock=host_clock)
    lease = acquire(
        settings,
        preparation=preparation(),
        progress=progress or _print,
    )
    host = connect(lease, cable=cable)
    session = HostSession(host, vm_name=vm_name, guest=guest, lease=lease)
    return Lab(session, out=Path(out), settings=settings)


def visit_lab(run_dir: Path, *, out: str | Path = "results") -> Lab:
    """Open an embedded host that runs, beside the notebook or program that has leased it.

    ``run_dir`` is one of `kvmlab host status`. Closing the lab leaves the host as it is.

    Raises:
        MachineDied: no host runs there any more.
        HostUnreachable, HostRefused: it does not answer, or refuses the login.
    """
    lease = visit(run_dir)
    session = HostSession(connect(lease), vm_name=LAB_VM_NAME, lease=lease)
    return Lab(session, out=Path(out))


def parse_clock(name: str | Clock) -> Clock:
    """Return the clock of that name.

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


class Lab:
    """An open host with its test VM. Use :func:`open_lab`; close it, or let the program's end do.

    Everything that is measured is on disk trial by trial, under the folder ``out``.
    """

    def __init__(
        self, session: HostSession, *, out: Path, settings: Settings | None = None
    ) -> None:
        self._session = session
        self._settings = settings
        self._store = ResultStore(out)

    # ------------------------------------------------------------------ the host and its VM

    @property
    def host(self) -> Host:
        """The connection to the host: libvirt and commands."""
        return self._session.host

    @property
    def lease(self) -> Lease | None:
        """The right to use an embedded host; None for other hosts."""
        return self._session.lease

    @property
    def how(self) -> str:
        """The way an embedded host came up; empty for other hosts."""
        return self._session.lease.how if self._session.lease is not None else ""

    @property
    def vm(self) -> TestVM:
        """The test VM, running, its agent answering; made if need be, where changes are allowed."""
        return self._session.vm

    @property
    def cable(self) -> Cable:
        """The cable under test.

        Raises:
            UsageError: none was given for a host that is not the embedded one.
        """
        if self.host.cable is None:
            raise UsageError(
                f"It is not known which port of {self.host.label} the lab may use.",
                todo='Give one: open_lab(…, cable=kvmlab.Cable(port="eth1", …)).',
            )
        return self.host.cable

    @property
    def facts(self) -> HostFacts:
        """The last inspection, or a new one where the lab's changes are others than then."""
        return self._session.facts

    def inspect(self) -> HostFacts:
        """Read the host anew; change nothing."""
        return self._session.inspect()

    def doctor(self) -> Diagnosis:
        """Check the host by every rule: what was read, the verdict, the fix. Change nothing.

        The VM is examined where it runs; on the embedded host it always does.
        """
        from kvmlab.doctor import examine

        with self._session.watched():
            return examine(self.host, facts=self.inspect(), vm=self._session.vm_if_running)

    def close(self) -> None:
        """Close the connections and give the host back. Twice is no error."""
        self._session.close()

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

        return card(N_("Lab"), self.describe())

    def describe(self) -> dict[str, str]:
        """Return the host, its clock and its cable, as names and values for people."""
        lines = {N_("Host"): self.host.label, N_("Clock"): self.host.clock.meaning}
        if self.host.emulated:
            lines[N_("Emulated")] = self.host.emulated
        if self.how:
            lines[N_("Came up")] = self.how
        cable = self.host.cable
        if cable is not None:
            peer = cable.peer_ssh.shown if cable.peer_ssh is not None else cable.peer_port
            lines[N_("Cable")] = (
                f"{cable.port} to {peer or 'the peer'}; the VM is {cable.vm_address}, the "
                f"peer {cable.peer_address}"
            )
        return lines

    # ------------------------------------------------------------------ plans

    def plan(self, scheme: Scheme) -> Plan:
        """Return everything that ``scheme`` would change on this host and in the VM.

        Raises:
            UsageError: this is no scheme.
            Unavailable: this host cannot do that.
        """
        _check_kind(scheme, Scheme, 'kvmlab.Virtio(backend="vhost")')
        with self._session.watched():
            return scheme.plan(self.facts, vm=self._session.vm_for_plans)

    def second_host(self, *, with_vfs: bool = False) -> SecondHost:
        """Return host B inside the embedded host, under the same clock; a context manager.

        ``with_vfs`` gives it the peer's port with SR-IOV, and joins the host's two cables into one
        segment: bridges, VFs and peer of both hosts meet on it.

        Raises:
            Unavailable: once it is opened: the host is not the embedded one, or its port for host B
                is in use.
        """
        from kvmlab.migration import SecondHost

        lease = self._session.lease
        segment = lease.joined_cables() if with_vfs and lease is not None else None
        pf = SECOND_HOST_PF if with_vfs else ""
        return SecondHost(self.vm, self.facts, SECOND_HOST_CABLE, pf=pf, segment=segment)

    @property
    def migration_cable(self) -> Cable:
        """The cable of the segment on which both hosts and the peer meet."""
        return EMBEDDED_NIC_CABLE

    def plan_migratable(self, kind: str) -> Plan:
        """Return the plan of giving the VM a NIC that can migrate to host B; change nothing.

        ``kind`` is one of :data:`kvmlab.migration.KINDS`, or "sriov-vf" for one that cannot.

        Raises:
            UsageError: there is no such kind.
            Unavailable: the host is not the embedded one, or cannot do that.
        """
        from kvmlab.migration import plan_kind

        cable, pf = EMBEDDED_NIC_CABLE, EMBEDDED_CABLE.port
        with self._session.watched():
            return plan_kind(kind, self.facts, self.vm, cable=cable, pf=pf)

    def plan_migration(
        self, there: Host, *, options: MigrationOptions | None = None
    ) -> MigrationPlan:
        """Return the plan of migrating the test VM to the host ``there``; change nothing.

        Raises:
            HostUnreachable, HostRefused: a host does not answer.
        """
        from kvmlab.migration import plan_migration

        with self._session.watched():
            return plan_migration(self.vm, there, options=options)

    def migrate(
        self,
        plan: MigrationPlan,
        nic: Nic,
        *,
        traffic: Traffic = "answers",
        remedy: str = "",
        load: MemoryLoad | None = None,
    ) -> MigrationResult:
        """Migrate the VM under traffic and bring it home; return the figures of the way out.

        They are stored in a folder of their own under ``out``. ``traffic`` is what the VM does
        meanwhile, ``remedy`` the id of one of :data:`kvmlab.migration.REMEDIES`, "" for none;
        ``load`` is memory that a program in the VM writes meanwhile.

        Raises:
            Unavailable: the VM has no room for what is to be written.
            Refused, StepFailed, HostBusy, RevertFailed: see
                :meth:`kvmlab.migration.MigrationPlan.apply`.
        """
        from kvmlab import migration
        from kvmlab.results.migration import save_migration

        closing = migration.remedy(remedy)
        with self._session.watched():
            result = migration.run_migration_trial(
                plan, self.migration_cable, nic, traffic=traffic, remedy=closing, load=load
            )
        save_migration(result, self._store.folder)
        return result

    def attempt(self, scheme: Scheme) -> Attempt:
        """Return the plan of a scheme, or why this host cannot do it."""
        with self._session.watched():
            return attempt(scheme, self.facts)

    def definition(self, scheme: Scheme) -> Definition:
        """Return the scheme's interface as a change of the named VM's persistent definition.

        Changes nothing; its ``write(lab.vm)`` does, to stay. The running VM goes on as it is.

        Raises:
            Refused: no VM was named, or it has no definition, or has the interface already.
            Unavailable: this host cannot do that.
        """
        from kvmlab.changes.persistent_definition import definition_of, require_vm_name

        require_vm_name(self._session.vm_name)
        with self._session.watched():
            return definition_of(scheme.plan(self.facts, vm=self.vm), self.vm)

    def undefinition(self) -> Undefinition:
        """Return what kvmlab wrote into the named VM's definition; ``write(lab.vm)`` removes it.

        Raises: as `definition`.
        """
        from kvmlab.changes.persistent_definition import require_vm_name, undefinition_of

        require_vm_name(self._session.vm_name)
        with self._session.watched():
            return undefinition_of(self.vm)

    # ------------------------------------------------------------------ measurements

    def measure(self, nic: Nic, trials: Trials) -> Result:
        """Run the trials on an interface that is in place.

        Raises:
            UsageError: these are no trials.
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.widgets import Ticker

        _check_trials(trials)
        with self._session.watched(), Ticker() as ticker:
            return self._measure(nic, trials, ticker.show)

    def baseline(self, trials: Trials) -> Result:
        """Measure the port under test against the peer, with no VM between: the bare metal.

        Raises:
            UsageError: these are no trials.
            ChangeError: the port could not be given an address, or could not be put back.
            MeasureError: a run failed.
        """
        from kvmlab.changes.temporary_address import addressed
        from kvmlab.measure import measure_baseline
        from kvmlab.measure.baseline import LABEL

        _check_trials(trials)
        with (
            self._session.watched(),
            addressed(self.inspect(), self.cable, self.vm),
            self._journal([LABEL], trials) as journal,
        ):
            result = measure_baseline(self.host, trials, journal=journal)
            return self._store.measured(journal, result)[0]

    def compare(
        self,
        *plans: Plan,
        trials: Trials,
        jobs: int | None = None,
        progress: OnProgress | None = None,
    ) -> tuple[Result, ...]:
        """Measure several plans, applied in turn and in random order: one result for each.

        The trials of the schemes are interleaved, so that whatever else the machine does in the
        meantime affects all of them. ``progress`` is called with each step; left out, a notebook
        shows the steps.

        Under the virtual clock ``jobs`` embedded hosts, this one and others like it, measure blocks
        of trials at a time; left out, as many as the variable KVMLAB_JOBS says, or as CPUs and
        memory allow.

        Raises:
            UsageError: two plans have one name, or several jobs were asked for where figures
                depend on the machine's load.
            ChangeError: a plan could not be applied or put back.
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.changes import prepared

        _check_plans(plans)
        _check_trials(trials)
        if jobs is None:
            jobs = default_jobs(self.host, trials) if self.can_be_copied else 1
        elif jobs > 1:
            self._require_pristine()
        if jobs > 1:
            return self._compare_in_blocks(plans, trials, jobs, progress)
        with self._session.watched(), prepared(*plans, vm=self.vm):
            return self._interleaved(
                {plan.label: partial(plan.applied, self.vm) for plan in plans}, trials, progress
            )

    def atlas(
        self,
        *tunings: Tuning | str,
        scheme: Scheme | None = None,
        folder: str | Path | None = None,
        trials: Trials | None = None,
        jobs: int | None = None,
        baselines: int = 3,
        pairs: int = 0,
        budget_sec: float | None = None,
        progress: OnProgress | None = None,
    ) -> Atlas:
        """Measure tunings, each against the scheme without it; return the atlas of them.

        What ``folder`` holds already is not measured again, so that an interrupted survey goes on
        where it stopped; without one all is measured. Left out, ``tunings`` are those of
        docs/atlas.md, and ``scheme`` is virtio with vhost, which is measured ``baselines`` times.
        With ``pairs`` so many of the strongest are measured two at a time too.
        ``jobs`` is as for `compare`. No new measurement begins after ``budget_sec`` seconds.

        Raises:
            UsageError: there is no such tuning, or several jobs are not possible.
            ChangeError, MeasureError: the scheme without tunings could not be measured.
        """
        from kvmlab.lab.atlas_survey import TRIALS, Survey
        from kvmlab.measure.trial_settings import MOST_TRIALS
        from kvmlab.schemes import Virtio
        from kvmlab.tunings import surveyed, tuning_from_text
        from kvmlab.widgets import Ticker

        named = [tuning_from_text(t) if isinstance(t, str) else t for t in tunings]
        chosen, settings = named or surveyed(), trials or TRIALS
        if jobs is None:
            rounds = replace(settings, count=min(len(chosen) + baselines, MOST_TRIALS))
            jobs = default_jobs(self.host, rounds) if self.can_be_copied else 1
        with (
            self._session.watched(),
            Ticker() as ticker,
            tempfile.TemporaryDirectory(prefix="kvmlab-atlas-") as scratch,
        ):
            return Survey(
                self,
                scheme or Virtio(backend="vhost"),
                chosen,
                folder=Path(folder or scratch),
                trials=settings,
                jobs=jobs,
                baselines=baselines,
                budget_sec=budget_sec,
                progress=progress or ticker.show,
            ).run(pairs=pairs)

    @property
    def settings_of_copies(self) -> Settings:
        """The settings of hosts that are restored from the saved state to stand in for this one.

        Raises:
            UsageError: there can be none: under the wall clock, on a real host, or while a change
                is in place.
        """
        self._require_pristine()
        assert self._settings is not None
        return self._settings

    def compare_channels(self, plan: Plan, *used: int, trials: Trials) -> tuple[Result, ...]:
        """Apply a plan with several queue pairs once, and measure it with more and more in use.

        One result for each of ``used``, interleaved as in :meth:`compare`; left out, 1, 2, 4 … up
        to all that the NIC has.

        Raises:
            UsageError: the NIC has only one, or fewer than were asked for.
            ChangeError: the plan could not be applied or put back.
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        _check_plans((plan,))
        _check_trials(trials)
        with self._session.watched(), plan.applied(self.vm) as nic:
            return self._interleaved(
                channel_variants(self.vm, nic, used or doubling(nic.queues)), trials
            )

    def trace(self, nic: Nic) -> Result:
        """Follow one ping through the host: a result without trials that holds the path.

        Raises:
            MeasureError: the path cannot be traced.
        """
        from kvmlab.measure import Subject, trace_path

        with self._session.watched():
            path, raw = trace_path(Subject.of(self.host, self.vm, nic))
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

    def timeline(self, nic: Nic) -> Timeline:
        """Follow one ping of the peer through the VM and back, event by event.

        Returns what ran at each moment, in lanes that add up to the round trip. Draw it with
        `figures.timeline`; `tables.timeline` says how much each part took.

        Raises:
            MeasureError: the host's kernel cannot trace, or no reply came.
        """
        from kvmlab.measure import Subject, trace_timeline

        with self._session.watched():
            return trace_timeline(Subject.of(self.host, self.vm, nic))[0]

    def reach(self, nic: Nic, *, guest_mac: str = "") -> Reach:
        """Ping between VM, peer and host; the host gets an address for it, and loses it again.

        With ``guest_mac`` the VM uses that MAC meanwhile in place of its own.

        Raises:
            Unavailable: no device of the host lies on the path of the VM's packets.
            ChangeError: the address could not be given, or not taken away.
        """
        from kvmlab.changes.temporary_address import shared_network
        from kvmlab.measure import reach

        with (
            self._session.watched(),
            shared_network(self._session.facts_now, self.vm, nic, guest_mac=guest_mac) as host_end,
        ):
            return reach(self.host, self.vm, nic, host_end=host_end, vm_mac=guest_mac or nic.mac)

    def keep(self, *results: Result) -> SavedResults:
        """Write results, with their raw output, into a folder of their own under ``out``.

        What was measured is on disk in any case, measurement by measurement; this puts results
        that belong together into one run.

        Raises:
            UsageError: there is nothing to keep, or the folder cannot be written.
        """
        return self._store.keep(results, self._session.last_facts)

    # ------------------------------------------------------------------ panels

    def panel(self, *measured: Result, model: str = "e1000e", seconds: int = 2) -> TrialPanel:
        """Run one short trial, and in a browser show a panel to run more with other schemes.

        Given what was ``measured`` before, it begins with that in place of a trial of its own.
        ``model`` is the id of a scheme; ``seconds`` is the length of a trial in the host's clock.

        Raises:
            UsageError: there is no such scheme.
            ChangeError, MeasureError: the trial failed.
        """
        from kvmlab.widgets import TrialPanel

        return TrialPanel(
            self._short_trial,
            _schemes(),
            model=ALIASES.get(model, model),
            seconds=seconds,
            measured=measured,
            draw=_draw_short_trials,
        )

    def path_panel(self, *, model: str = "virtio-qemu") -> TrialPanel:
        """Trace one ping, and in a browser show a panel to trace it with other schemes.

        Raises: as `panel`.
        """
        from kvmlab.widgets import TrialPanel

        return TrialPanel(
            self._traced_path,
            _schemes(),
            model=ALIASES.get(model, model),
            seconds=None,
            draw=_draw_last_path,
        )

    def terminal(self) -> HostTerminal:
        """Return the way into the host's shell: in JupyterLab a button that opens it beside this.

        Anywhere else it shows the command, to be typed into a terminal of this machine.
        """
        from kvmlab.widgets import HostTerminal

        if self._session.lease is not None:
            run_dir = str(self._session.lease.run_dir)
            way: tuple[str, ...] = ("kvmlab", "host", "ssh", "--run-dir", run_dir)
        else:
            target = parse_uri(self.host.spec).ssh
            user = f"{target.user}@" if target is not None and target.user else ""
            way = ("sh",)
            if target is not None:
                way = ("ssh", "-p", str(target.port), f"{user}{target.address}")
        return HostTerminal(way)

    def incident(self) -> IncidentPanel:
        """Return the panel of an incident: a fault of this host to find by measuring, and to mend.

        Only an embedded host takes one; what was put in is journalled, and `kvmlab restore` undoes
        it after a crash.
        """
        from kvmlab.incidents import IncidentSession
        from kvmlab.incidents.panel import IncidentPanel

        return IncidentPanel(IncidentSession(self), self.terminal())

    # ------------------------------------------------------------------ the course

    def task(self, task_id: str) -> TaskCard:
        """Return the card of a task of the course, such as "02-3"; it works on this host.

        Raises:
            UsageError: there is no such task.
        """
        from kvmlab.course.card import TaskCard

        return TaskCard(self.task_session(task_id), terminal=self.terminal())

    def tasks(self, notebook: str) -> TaskList:
        """Return the cards of all tasks of a notebook, given by its number.

        Raises:
            UsageError: it has none.
        """
        from kvmlab.course import tasks_of
        from kvmlab.course.card import TaskList

        sessions = [self.task_session(task.id) for task in tasks_of(notebook)]
        return TaskList(sessions, self.terminal())

    def assessment(self) -> AssessmentPanel:
        """Return the panel of the final assessment: twenty items, a score, and a certificate.

        Its tasks are done on this host; `kvmlab assess` goes on with the same one.
        """
        from kvmlab.course.assessment_panel import AssessmentPanel

        return AssessmentPanel(self.task_session, terminal=self.terminal())

    def task_session(self, task_id: str) -> TaskSession:
        """Return a task on this host, to be started, checked and reset by a program.

        Raises:
            UsageError: there is no such task.
        """
        from kvmlab.course import TaskSession, find_task

        return TaskSession(self, find_task(task_id), find_task)

    def _short_trial(self, scheme: Scheme, seconds: int, progress: OnProgress | None) -> Result:
        """Measure throughput and latency once each, without a path."""
        from kvmlab.measure import Trials

        trials = Trials(count=1, seconds=seconds, workloads=("tcp_up", "latency"), trace_path=False)
        with self._applied(scheme) as nic:
            return self._measure(nic, trials, progress)

    def _traced_path(self, scheme: Scheme, _seconds: int, progress: OnProgress | None) -> Result:
        from kvmlab.measure import Progress

        with self._applied(scheme) as nic:
            if progress is not None:
                progress(Progress(1, 2, f"{nic.label}: following one packet"))
            return self.trace(nic)

    @contextlib.contextmanager
    def _applied(self, scheme: Scheme) -> Iterator[Nic]:
        """Apply a scheme whose packets arrive.

        Raises:
            UsageError: the VM does not reach the peer through the scheme as it is.
        """
        if not scheme.must_answer:
            raise UsageError(
                f"{scheme.label}: like this the VM does not reach the peer, so there is nothing "
                "to measure.",
                todo="Choose a scheme whose packets arrive; notebook 04 shows the others with "
                "lab.reach.",
            )
        with self._session.watched(), self.plan(scheme).applied(self.vm) as nic:
            yield nic

    # ------------------------------------------------------------------ shared by the above

    def _measure(self, nic: Nic, trials: Trials, progress: OnProgress | None) -> Result:
        from kvmlab.measure import measure

        with self._journal([nic.label], trials) as journal:
            result = measure(self.host, self.vm, nic, trials, progress=progress, journal=journal)
            return self._store.measured(journal, result)[0]

    def _interleaved(
        self, schemes: dict[str, Apply], trials: Trials, progress: OnProgress | None = None
    ) -> tuple[Result, ...]:
        from kvmlab.measure import interleaved
        from kvmlab.widgets import Ticker

        with Ticker() as ticker, self._journal(list(schemes), trials) as journal:
            results = interleaved(
                schemes,
                self.host,
                self.vm,
                trials,
                progress=progress or ticker.show,
                journal=journal,
            )
            return self._store.measured(journal, *results)

    def _compare_in_blocks(
        self, plans: Sequence[Plan], trials: Trials, jobs: int, progress: OnProgress | None
    ) -> tuple[Result, ...]:
        from kvmlab.lab.block_pool import compare_in_blocks
        from kvmlab.widgets import Ticker

        assert self._settings is not None
        labels = [plan.label for plan in plans]
        with Ticker() as ticker, self._journal(labels, trials) as journal:
            results = compare_in_blocks(
                plans,
                trials,
                jobs=jobs,
                settings=self._settings,
                progress=progress or ticker.show,
                journal=journal,
                own=self._session,
            )
            return self._store.measured(journal, *results)

    @property
    def can_be_copied(self) -> bool:
        """True where a host that is restored from the saved state can take this one's place."""
        from kvmlab.changes import in_place

        return (
            self._settings is not None
            and self.host.clock is Clock.VIRTUAL
            and self._session.vm_name == LAB_VM_NAME
            and self.host.cable == EMBEDDED_CABLE
            and not in_place(self.host)
        )

    def _require_pristine(self) -> None:
        """Raise where hosts cannot measure side by side.

        Raises:
            UsageError: under the wall clock, on a real host, or while a change is in place.
        """
        if not self.can_be_copied:
            raise UsageError(
                f"Several jobs at a time were asked for, which {self.host.label} does not allow: "
                "under the wall clock and on real hosts figures depend on what else the machine "
                "does, and a change that is in place is on this host only.",
                todo="Use jobs=1; or an embedded host with the virtual clock, at rest.",
            )

    def _journal(
        self, schemes: Sequence[str], trials: Trials
    ) -> contextlib.AbstractContextManager[RunJournal]:
        start_plotting_imports()
        return self._store.journal(self.host, schemes, trials, self._session.last_facts)


def _print(text: str) -> None:
    print(translate(text), flush=True)


def doubling(queues: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … up to ``queues``, which is always the last.

    >>> doubling(4), doubling(6)
    ((1, 2, 4), (1, 2, 4, 6))
    """
    powers = [2**exponent for exponent in range(queues.bit_length()) if 2**exponent < queues]
    return (*powers, queues)


def channel_variants(vm: TestVM, nic: Nic, used: Sequence[int]) -> dict[str, Apply]:
    """Return for each number in ``used``, by label, what makes the VM use so many queue pairs.

    Raises:
        UsageError: the NIC has only one.
    """
    if nic.queues < 2:
        raise UsageError(
            f"{nic.label} has one queue pair: there is nothing to step through.",
            todo='Attach one with more: Virtio(backend="vhost", queues=4).',
        )
    variants = {number: _with_channels(nic, number) for number in used}
    return {
        variant.label: partial(_using_channels, vm, variant, number)
        for number, variant in variants.items()
    }


def _check_kind(value: object, kind: type, example: str) -> None:
    """Refuse what is easily taken for something else: a scheme for its plan, a name, a number.

    Raises:
        UsageError: ``value`` is of another kind.
    """
    if not isinstance(value, kind):
        raise UsageError(
            f"{value!r} is not what is needed here: {kind.__name__}.", todo=f"Give {example}."
        )


def _check_trials(trials: object) -> None:
    from kvmlab.measure import Trials

    _check_kind(trials, Trials, "kvmlab.Trials(3)")


def _check_plans(plans: Sequence[Plan]) -> None:
    """Refuse what is no plan, and two plans that results could not tell apart.

    Raises:
        UsageError: there are such.
    """
    from kvmlab.changes import Plan

    for plan in plans:
        _check_kind(plan, Plan, "a scheme's plan: lab.plan(scheme)")
    labels = [plan.label for plan in plans]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise UsageError(
            f"Two of the plans are named “{repeated[0]}”, and figures could not tell them apart.",
            todo="Give each plan once; for more trials of each, Trials(count).",
        )


def _with_channels(nic: Nic, used: int) -> Nic:
    """Return the NIC under the id and label of the scheme that asks for so many channels."""
    id_part, label_part = name_of_queues(nic.queues, 0), words_on_queues(nic.queues, 0)
    return replace(
        nic,
        scheme=nic.scheme.replace(id_part, name_of_queues(nic.queues, used)),
        label=nic.label.replace(label_part, words_on_queues(nic.queues, used)),
    )


@contextlib.contextmanager
def _using_channels(vm: TestVM, nic: Nic, used: int) -> Iterator[Nic]:
    from kvmlab.changes import set_channels

    # Nothing is put back: the setting goes with the interface.
    set_channels(vm, nic, used)
    yield nic


def _schemes() -> dict[str, Scheme]:
    """Return the schemes that a panel offers, by id."""
    return {scheme_id: entry.scheme for scheme_id, entry in REGISTRY.items()}


def _draw_short_trials(*results: Result) -> Figure:
    """Draw what a short trial measures, of results that may hold more, side by side."""
    from kvmlab.report import figures

    costs = (("vm_exits_per_packet", "tcp_up"), ("cpu_us_per_packet", "tcp_up"))
    speeds = (("tcp_up_mbps", "tcp_up"), ("rtt_p50_us", None))
    return figures.overview(*results, metrics=(*speeds, *costs))


def _draw_last_path(*results: Result) -> Figure:
    from kvmlab.report import figures

    return figures.path(results[-1])
