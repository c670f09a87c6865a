"""An incident on a host: put in blind, looked into, checked by measuring, put back.

What was started is in a file, ``course/incident/HOST.json`` in the state directory, and the changes
are journalled and left open: the panel in a notebook and `kvmlab incident` in a terminal work on
the same incident, and `kvmlab restore` undoes it after any crash.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kvmlab.changes import HostSnapshot, Step, restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.course import progress
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.host_note import HostNote
from kvmlab.course.progress import ProgressEvent
from kvmlab.doctor import Diagnosis, Verdict, examine
from kvmlab.domain import Domain
from kvmlab.errors import RevertFailed, UsageError
from kvmlab.facts import inspect
from kvmlab.facts.rules import BOOK
from kvmlab.hosts import script_text
from kvmlab.incidents import phrases
from kvmlab.incidents.fault import Fault, FaultSite
from kvmlab.incidents.health import Health, Prober
from kvmlab.incidents.registry import find_fault

if TYPE_CHECKING:
    from kvmlab.course.site import CourseHost
    from kvmlab.hosts import Host
    from kvmlab.schemes import Scheme

#: Minutes that each hint adds to the time: the first says how to look, the last shows the place.
_HINT_MINUTES: Final = (2, 3, 5)
_COMMAND_SEC: Final = 60
#: Characters of a command's output that a debriefing keeps.
_OUTPUT_CHARS: Final = 2000
#: Entries of progress files about incidents have tasks with this prefix.
TASK_PREFIX: Final = "incident"


@dataclass(frozen=True)
class Debriefing:
    """A fault told: its cause, what shows it, what mends it, the doctor's word."""

    name: str
    cause: Bilingual
    #: Commands, and what each printed while the fault was in.
    evidence: tuple[tuple[str, str], ...]
    mend: tuple[str, ...]
    doctor: Bilingual


@dataclass(frozen=True)
class IncidentState:
    """An incident that was started on a host, as its file holds it.

    ``label`` is what the seat sees of it: "seed 7, level 2", or its name where that was asked for.
    ``at`` is in seconds since 1970; ``ended_at`` is 0 until it is solved or given up. ``emulator``
    is the process of the embedded host: a new one is a new host. ``site`` are the names of the
    path from the VM to its peer.
    """

    label: str
    faults: tuple[str, ...]
    at: float
    emulator: int | None
    site: dict[str, str]
    healthy: Health
    before: HostSnapshot
    debriefings: tuple[Debriefing, ...] = ()
    hints: int = 0
    ended_at: float = 0.0
    passed: bool = False

    @property
    def task(self) -> str:
        """The incident's id in the progress file."""
        return f"{TASK_PREFIX}-{self.label.replace(', ', '-').replace(' ', '')}"

    @property
    def seconds(self) -> float:
        """Real seconds so far, or until it ended."""
        return (self.ended_at or time.time()) - self.at

    @property
    def cost_minutes(self) -> float:
        """Minutes so far, with those that hints cost."""
        return self.seconds / 60 + hint_minutes(self.hints)


def hint_minutes(hints: int) -> int:
    """Return the minutes that so many hints add; those of a second fault cost as the first's.

    >>> hint_minutes(2), hint_minutes(4)
    (5, 12)
    """
    return sum(_HINT_MINUTES[number % len(_HINT_MINUTES)] for number in range(hints))


_NOTE: Final = HostNote("incident", IncidentState)


def read_incident(host: Host) -> IncidentState | None:
    """Return the incident that was started on a host, by whichever process; None without one."""
    return _NOTE.read(host)


@dataclass(frozen=True)
class IncidentCheck:
    """The outcome of a check: passed where ``reasons`` is empty."""

    reasons: tuple[Bilingual, ...]
    health: Health

    @property
    def passed(self) -> bool:
        """True where the VM is healthy and the causes are gone."""
        return not self.reasons


class IncidentSession:
    """The incident of one open host."""

    def __init__(self, lab: CourseHost) -> None:
        self.lab = lab

    @property
    def state(self) -> IncidentState | None:
        """The incident that was started on this host; None without one."""
        return _NOTE.read(self.lab.host)

    def start(self, faults: Sequence[Fault], label: str) -> IncidentState:
        """Give the VM its NIC, measure it, put the faults in. Another incident is ended before.

        Raises:
            Refused: the host is not an embedded one.
            ChangeError: something could not be put in; the host is as before.
        """
        self.end()
        before = HostSnapshot.take(self.lab.host, self.lab.vm, self.lab.inspect())
        site, healthy, debriefings = self._put_in(faults)
        state = IncidentState(
            label=label,
            faults=tuple(fault.name for fault in faults),
            at=time.time(),
            emulator=self.lab.host.emulator_pid,
            site=site.names,
            healthy=healthy,
            before=before,
            debriefings=debriefings,
        )
        _NOTE.write(self.lab.host, state)
        progress.record(state.task, ProgressEvent.START)
        return state

    def hint(self) -> Bilingual | None:
        """Return the next hint, which costs minutes; None after the last.

        Raises:
            UsageError: no incident is open on this host.
        """
        state = self._require_open()
        hints = _hints(state, self.site(state))
        if state.hints >= len(hints):
            return None
        hint = hints[state.hints]
        state = replace(state, hints=state.hints + 1)
        _NOTE.write(self.lab.host, state)
        self._record(ProgressEvent.HINT, state)
        return hint

    def check(self) -> IncidentCheck:
        """Measure the VM, look for what was put in, and say what is still wrong.

        An interface that was plugged anew gets its address, as a DHCP client would give it.

        Raises:
            UsageError: no incident is open on this host.
        """
        state = self._require_open()
        site = self.site(state)
        self._ensure_address(site)
        health = Prober(site).measure()
        reasons = list(health.sentences(state.healthy))
        if not reasons and self.still_in(site):
            reasons.append(phrases.CAUSE_REMAINS)
        outcome = IncidentCheck(tuple(reasons), health)
        if outcome.passed:
            state = replace(state, passed=True, ended_at=time.time())
            _NOTE.write(self.lab.host, state)
        self._record(
            ProgressEvent.CHECK,
            state,
            result=progress.PASSED if outcome.passed else progress.FAILED,
            detail=" ".join(state.faults) if outcome.passed else "",
        )
        return outcome

    def solve(self) -> tuple[Debriefing, ...]:
        """Give up: mend it, and return what it was.

        Raises:
            UsageError: no incident is open on this host.
            ChangeError: something could not be mended.
        """
        state = replace(self._require_open(), ended_at=time.time())
        _NOTE.write(self.lab.host, state)
        self._record(ProgressEvent.SOLVE, state, detail=" ".join(state.faults))
        self.mend()
        return state.debriefings

    def debrief(self) -> tuple[Debriefing, ...]:
        """Return what the incident was, once it is solved or given up.

        Raises:
            UsageError: no incident was started on this host, or it is still open.
        """
        state = self._require()
        if not state.ended_at:
            raise UsageError(
                "The incident is still open: the debriefing would tell its cause.",
                todo="Check it once it is mended, or give up: `kvmlab incident solve`.",
            )
        return state.debriefings

    def mend(self) -> None:
        """Bring the host to where the VM is healthy: everything undone, then a sound NIC.

        Raises:
            UsageError: no incident was started on this host.
            ChangeError: something could not be put back.
        """
        state = self._require()
        self._clear(state)
        self.lab.inspect()
        fault = find_fault(state.faults[0])
        with ExitStack() as undo:
            changes, site = self._give_nic(fault.scheme, undo, near_peer=fault.near_peer)
            Prober(site).start()
            undo.pop_all()
        for change in reversed(changes):
            change.leave()
        self.lab.inspect()
        _NOTE.write(self.lab.host, replace(state, site=site.names))

    def end(self) -> None:
        """Put the host back as it was before the incident, or before one whose start was killed.

        Raises:
            RevertFailed: something could not be put back.
        """
        state = self.state
        if state is None:
            restore(self.lab.host)
            return
        self._clear(state)
        _NOTE.remove(self.lab.host)
        self.lab.inspect()
        if not state.ended_at:
            self._record(ProgressEvent.RESET, state)

    def site(self, state: IncidentState) -> FaultSite:
        """Return the site of the incident, with the interface that the VM has now."""
        interfaces = Domain.parse(self.lab.vm.xml()).interfaces
        own = [one for one in interfaces if one.mac == state.site["mac"]] or list(interfaces)
        names = dict(state.site)
        if own:
            names |= {"mac": own[-1].mac or names["mac"], "tap": own[-1].target_dev or ""}
        return FaultSite(lab=self.lab, **names)

    def still_in(self, site: FaultSite) -> bool:
        """Return whether something that was put in is still as the faults made it.

        Raises:
            UsageError: no incident was started on this host.
        """
        return any(find_fault(name).is_in(site) for name in self._require().faults)

    def _put_in(self, faults: Sequence[Fault]) -> tuple[FaultSite, Health, tuple[Debriefing, ...]]:
        """Give the VM a sound NIC, measure it, put the faults in; leave all of it in place.

        The journals stay open: whatever becomes of this process, `restore` undoes them.
        """
        first = faults[0]
        with ExitStack() as undo:
            changes, site = self._give_nic(first.scheme, undo, near_peer=first.near_peer)
            prober = Prober(site)
            prober.start()
            undo.callback(prober.stop)
            healthy = prober.measure()
            if first.faulty_scheme is not None:
                changes[0].revert()
                self.lab.inspect()
                changes, site = self._give_nic(first.faulty_scheme, undo)
            steps = [fault.steps(site) for fault in faults]
            altered = AppliedSteps(
                self.lab.vm, [step for group in steps for step in group], scheme=TASK_PREFIX
            )
            altered.apply()
            undo.pop_all()
        for change in (altered, *reversed(changes)):
            change.leave()
        self.lab.inspect()
        diagnosis = examine(
            self.lab.host, facts=inspect(self.lab.host, prove_kvm=False), vm=self.lab.vm
        )
        debriefings = tuple(
            _debriefing(fault, site, group, diagnosis)
            for fault, group in zip(faults, steps, strict=True)
        )
        return site, healthy, debriefings

    def _give_nic(
        self, scheme: Scheme, undo: ExitStack, *, near_peer: bool = False
    ) -> tuple[list[AppliedSteps], FaultSite]:
        """Give the VM a NIC, and a peer on its port where asked for; ``undo`` takes both back."""
        plan = self.lab.plan(scheme)
        change = plan.apply(self.lab.vm)
        undo.callback(change.revert)
        site = FaultSite.of(self.lab, plan)
        if not near_peer:
            return [change], site
        site, step = site.with_near_peer()
        near = AppliedSteps(self.lab.vm, (step,), scheme=TASK_PREFIX)
        near.apply()
        undo.callback(near.revert)
        return [change, near], site

    def _clear(self, state: IncidentState) -> None:
        """Undo the journals, and what hands have done."""
        host, vm = self.lab.host, self.lab.vm
        Prober(self.site(state)).stop()
        try:
            restore(host)
        except RevertFailed:
            # Somebody has changed what a step would undo; the snapshot knows how it was.
            state.before.put_back(host, vm)
            restore(host)
        gone = state.before.put_back(host, vm)
        if gone:
            raise RevertFailed(
                f"The host is not as it was before the incident: {' '.join(gone)}",
                todo="Shut the kernel down, or `kvmlab host down`: the next host is a new one.",
            )

    def _ensure_address(self, site: FaultSite) -> None:
        self.lab.vm.agent.run(
            ("sh", "-s", "--", site.mac, f"{site.vm_address}/{site.prefix_length}"),
            timeout_sec=_COMMAND_SEC,
            input_text=script_text("kvmlab.incidents", "ensure_address.sh"),
        )

    def _require(self) -> IncidentState:
        state = self.state
        if state is None:
            raise UsageError(
                f"No incident was started on {self.lab.host.label}.",
                todo="Start one: `kvmlab incident start`, or the button of lab.incident().",
            )
        return state

    def _require_open(self) -> IncidentState:
        state = self._require()
        if state.ended_at:
            raise UsageError(
                "The incident is over.",
                todo="`kvmlab incident debrief` says what it was; `kvmlab incident start` starts "
                "another one.",
            )
        return state

    def _record(
        self, event: ProgressEvent, state: IncidentState, *, result: str = "", detail: str = ""
    ) -> None:
        progress.record(
            state.task,
            event,
            hints=state.hints,
            result=result,
            seconds=state.seconds,
            detail=detail,
        )


def _hints(state: IncidentState, site: FaultSite) -> tuple[Bilingual, ...]:
    """Return all hints, from a direction to the command; those of several faults take turns."""
    faults = [find_fault(name) for name in state.faults]
    rows = (
        [phrases.HOW_TO_LOOK[fault.effects[0]] for fault in faults],
        [phrases.WHERE[fault.layer] for fault in faults],
        [phrases.COMMAND.format(command=fault.evidence_in(site)[0]) for fault in faults],
    )
    return tuple(dict.fromkeys(hint for row in rows for hint in row))


def _debriefing(
    fault: Fault, site: FaultSite, steps: Sequence[Step], diagnosis: Diagnosis
) -> Debriefing:
    evidence = tuple((line, _output(line, site)) for line in fault.evidence_in(site))
    mend = [text for step in reversed(steps) for text in step.undo_text]
    if fault.faulty_scheme is not None:
        mend = [
            "modprobe vhost_net",
            f"virsh detach-device {site.domain} interface.xml --live",
            "edit interface.xml: <model type='virtio'/><driver name='vhost'/>",
            f"virsh attach-device {site.domain} interface.xml --live",
        ]
    return Debriefing(
        fault.name, fault.cause, evidence, tuple(mend), doctors_word(fault, diagnosis)
    )


def _output(line: str, site: FaultSite) -> str:
    inside = line.removeprefix("in the VM: ")
    words = ("sh", "-c", inside)
    if inside != line:
        done = site.lab.vm.agent.run(words, timeout_sec=_COMMAND_SEC, check=False)
    elif line.startswith("tcpdump"):
        return ""  # it shows something only while somebody sends
    else:
        done = site.lab.host.run(words, timeout_sec=_COMMAND_SEC, check=False, root=True)
    return (done.stdout + done.stderr).strip()[:_OUTPUT_CHARS]


def doctors_word(fault: Fault, diagnosis: Diagnosis) -> Bilingual:
    """Return what the doctor reads of a fault while it is in, or that it has no rule for it."""
    if fault.rule is None:
        return phrases.NO_RULE
    finding = diagnosis.finding(fault.rule)
    if finding.verdict in (Verdict.PROBLEM, Verdict.WARNING):
        return phrases.READS.format(
            rule=finding.rule,
            observed=Bilingual.of(finding.observed),
            fix=Bilingual.of(finding.fix),
        )
    return phrases.READS_NOTHING.format(title=Bilingual.of(BOOK[fault.rule].title))
