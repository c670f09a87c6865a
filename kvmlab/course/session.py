"""A task on a host: started, checked, hinted, solved and reset, from a notebook or a terminal.

What was started is in a file, ``course/started/HOST.json`` in the state directory, and not in a
process: a card in a notebook and `kvmlab task` in a terminal beside it work on the same task. The
NIC that a task begins with is a journalled change that is left open; everything else is put back
from two snapshots, one taken before the task and one after its setup.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmlab.changes import HostSnapshot, leftovers, restore
from kvmlab.course import progress
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.host_note import HostNote
from kvmlab.course.progress import ProgressEvent
from kvmlab.course.site import CourseHost, Site
from kvmlab.course.task import Task, joined
from kvmlab.errors import RevertFailed, StepFailed, UsageError
from kvmlab.migration import call_home

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.hosts import Host


@dataclass(frozen=True)
class Started:
    """A task that was started on a host, as its file holds it.

    ``at`` is in seconds since 1970. ``emulator`` is the process of the embedded host: a new one is
    a new host, on which nothing was started. ``before`` and ``ready`` are the host before the task
    and after its setup; None for a task that only asks. ``notes`` are what the check needs to know.
    """

    task: str
    at: float
    emulator: int | None
    before: HostSnapshot | None
    ready: HostSnapshot | None
    mac: str = ""
    hints: int = 0
    notes: dict[str, str] = field(default_factory=dict)


_NOTE = HostNote("started", Started)


def read_started(host: Host) -> Started | None:
    """Return the task that was started on a host, by whichever process; None without one."""
    return _NOTE.read(host)


@dataclass(frozen=True)
class Checked:
    """The outcome of a check: passed where ``reasons`` is empty."""

    task: str
    reasons: tuple[Bilingual, ...]

    @property
    def passed(self) -> bool:
        """True where nothing is missing."""
        return not self.reasons


class TaskSession:
    """One task on one open host."""

    def __init__(self, lab: CourseHost, task: Task, find: Callable[[str], Task]) -> None:
        self.lab = lab
        self.task = task
        self._find = find

    @property
    def started(self) -> Started | None:
        """This task as it was started on this host; None where it was not, or was reset."""
        started = _NOTE.read(self.lab.host)
        return started if started is not None and started.task == self.task.id else None

    def start(self) -> Started:
        """Bring the host to where the task begins. Another task on it is reset before.

        Raises:
            Refused: the host is not an embedded one.
            ChangeError: the NIC could not be given; the host is as before.
        """
        other = _NOTE.read(self.lab.host)
        if other is not None:
            TaskSession(self.lab, self._find(other.task), self._find).reset(note=False)
        restore(self.lab.host)
        before = self._snapshot() if self.task.touches_host else None
        started = Started(self.task.id, time.time(), self.lab.host.emulator_pid, before, before)
        _NOTE.write(self.lab.host, started)
        try:
            if self.task.has_nic:
                plan = self._apply_nic()
                started = replace(started, mac=plan.mac, notes=self._notes(plan))
                _NOTE.write(self.lab.host, started)
            self._run_lines(self.task.setup, started)
            if self.task.has_nic or self.task.setup:
                started = replace(started, ready=self._snapshot())
        except BaseException:
            self.reset(note=False)
            raise
        _NOTE.write(self.lab.host, started)
        progress.record(self.task.id, ProgressEvent.START)
        return started

    def check(self, answer: str = "") -> Checked:
        """Look what is missing.

        Raises:
            UsageError: the task was not started on this host.
        """
        started = self._require_started()
        site = Site(self.lab, answer.strip(), started.mac, started.notes)
        verdict = Checked(self.task.id, tuple(self._reasons(site)))
        self._record(
            ProgressEvent.CHECK,
            started,
            result=progress.PASSED if verdict.passed else progress.FAILED,
            detail=joined(verdict.reasons, "en"),
        )
        return verdict

    def _reasons(self, site: Site) -> list[Bilingual]:
        if self.task.has_nic and not leftovers(self.lab.host):
            return [
                Bilingual(
                    "Another change of this host has taken the place of the NIC that the task began with. Start the task again.",
                    "宿主机上的另一项改动取代了任务开始时的网卡。请重新开始任务。",
                )
            ]
        if self.task.has_answer and not site.answer:
            return [Bilingual("There is no answer yet.", "还没有填写答案。")]
        return self.task.check(site)

    def hint(self) -> Bilingual | None:
        """Return the next hint, which is counted; None after the last.

        Raises:
            UsageError: the task was not started on this host.
        """
        started = self._require_started()
        if started.hints >= len(self.task.hints):
            return None
        hint = self.task.hints[started.hints]
        started = replace(started, hints=started.hints + 1)
        _NOTE.write(self.lab.host, started)
        self._record(ProgressEvent.HINT, started)
        return hint

    def solve(self) -> str:
        """Do the task: run its solution on the host as it was at the start; return the answer.

        Raises:
            UsageError: the task was not started on this host.
            StepFailed: a line of the solution failed.
        """
        started = self.rewind()
        self._run_lines(self.task.solution, started)
        self._record(ProgressEvent.SOLVE, started)
        if self.task.right_answer is None:
            return ""
        return self.task.right_answer(Site(self.lab, "", started.mac, started.notes))

    def rewind(self) -> Started:
        """Put back what was done since the start, and return what is then in place.

        Raises:
            UsageError: the task was not started on this host.
        """
        started = self._require_started()
        is_gone = self.task.has_nic and not leftovers(self.lab.host)
        if not is_gone:
            self._call_home(started)
        if started.ready is not None and (
            is_gone or started.ready.put_back(self.lab.host, self.lab.vm)
        ):
            # The NIC of the start is gone: begin again, with the hints that were taken.
            started = replace(self.start(), hints=started.hints, at=started.at)
            _NOTE.write(self.lab.host, started)
        return started

    def reset(self, *, note: bool = True) -> None:
        """Put the host back as it was before the task. Without a task there is nothing to do.

        Raises:
            RevertFailed: something could not be put back.
        """
        started = self.started
        if started is None:
            return
        if started.ready is not None and leftovers(self.lab.host):
            self._call_home(started)
            # The steps of the NIC can be undone only where nobody has changed their settings.
            started.ready.put_back(self.lab.host, self.lab.vm)
            restore(self.lab.host)
        before = started.before
        gone = before.put_back(self.lab.host, self.lab.vm) if before is not None else ()
        if before is not None:
            # Whoever has looked at the host meanwhile knows it as the task had made it.
            self.lab.inspect()
        if gone:
            raise RevertFailed(
                f"The host is not as it was before the task {started.task}: {' '.join(gone)}",
                todo="Shut the kernel down, or `kvmlab host down`: the next host is a new one.",
            )
        _NOTE.remove(self.lab.host)
        if note:
            self._record(ProgressEvent.RESET, started)

    def _apply_nic(self) -> Plan:
        """Give the VM the NIC of the start, make host B where the task has one, and leave both."""
        if not self.task.second_host:
            assert self.task.scheme is not None
            change = self.lab.plan(self.task.scheme).apply(self.lab.vm)
            change.leave()
            return change.plan
        change = self.lab.plan_migratable("virtio-vhost").apply(self.lab.vm)
        try:
            # Made last, so that it is undone first: the VM has to be home to lose its NIC.
            second = self.lab.second_host().apply(brings_vm_home=True)
        except BaseException:
            change.revert()
            raise
        second.leave()
        change.leave()
        return change.plan

    def _call_home(self, started: Started) -> None:
        if "domain" in started.notes and self.task.second_host and started.before is not None:
            call_home(self.lab.host, started.notes["domain"], started.before.definition)

    def _snapshot(self) -> HostSnapshot:
        return HostSnapshot.take(self.lab.host, self.lab.vm)

    def _notes(self, plan: Plan) -> dict[str, str]:
        """Return the addresses of the two ends, and the namespace of the peer."""
        cables = [c for c in self.lab.host.cables if c.peer_address == plan.peer_address]
        return {
            "domain": self.lab.vm.name,
            "vm_address": plan.vm_address.partition("/")[0],
            "peer_address": plan.peer_address.partition("/")[0],
            "peer_netns": cables[0].peer_netns if cables and cables[0].peer_netns else "",
        }

    def _run_lines(self, lines: tuple[str, ...], started: Started) -> None:
        site = Site(self.lab, "", started.mac, started.notes)
        for line in lines:
            done = site.run(line)
            if done.returncode != 0:
                raise StepFailed(
                    f"`{line}` of the task {self.task.id} ended with {done.returncode}.",
                    todo="Reset the task and start it again.",
                    evidence=done.stderr,
                )

    def _require_started(self) -> Started:
        started = self.started
        if started is None:
            raise UsageError(
                f"The task {self.task.id} was not started on {self.lab.host.label}.",
                todo=f'Start it: the button Start of lab.task("{self.task.id}"), or '
                f"`kvmlab task start {self.task.id}`.",
            )
        return started

    def _record(
        self, event: ProgressEvent, started: Started, *, result: str = "", detail: str = ""
    ) -> None:
        seconds = time.time() - started.at
        progress.record(
            self.task.id,
            event,
            hints=started.hints,
            result=result,
            seconds=seconds,
            detail=detail,
        )
