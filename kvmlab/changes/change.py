"""A change: a plan that was applied and can be reverted."""

from __future__ import annotations

import atexit
import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kvmlab.changes import guest, host_steps
from kvmlab.changes.guard import check, refuse
from kvmlab.changes.journal import Journal
from kvmlab.changes.keeper import read_on_host
from kvmlab.changes.lock import HoldingRunner, hold_again, locked
from kvmlab.changes.nic import Nic
from kvmlab.changes.plugging import plug_in
from kvmlab.changes.recovery import settle_leftovers
from kvmlab.changes.steps import AttachInterface, ConfigureGuest, HostStep, Step
from kvmlab.changes.undoing import lost_hold, revert_failed, taken_over, undo_all, uninterrupted
from kvmlab.errors import HostError, KvmlabError, StepFailed, Unavailable
from kvmlab.facts import inspect

if TYPE_CHECKING:
    from kvmlab.changes.plan import Plan
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host

#: Steps of the host that `prepared` holds, by the host's spec: plans inside find them made.
held_steps: dict[str, tuple[Step, ...]] = {}
_numbers = itertools.count(1)
_in_place: dict[str, tuple[int, ...]] = {}


def in_place(host: Host) -> tuple[int, ...]:
    """The numbers of this process's changes of a host that are in place now, oldest first.

    What was read of the host is out of date when they are others than then. A change that was
    reverted as it should has left nothing: each undo is followed by a look whether it holds. One
    that was not stays here.
    """
    return _in_place.get(host.spec, ())


class MadeSteps:
    """Steps made on a host, in order, each journalled before; `revert` undoes them."""

    def __init__(self, vm: TestVM, steps: Sequence[Step], *, scheme: str) -> None:
        self._vm = vm
        self._host = vm.host
        held = held_steps.get(vm.host.spec, ())
        self._steps = tuple(step for step in steps if step not in held)
        self._scheme = scheme
        self._made: list[tuple[int, Step]] = []
        self._journal: Journal | None = None
        self._lock = ExitStack()
        self._number = 0
        self._found: guest.GuestInterface | None = None
        self.attach_sec = 0.0
        self.configure_sec = 0.0

    @property
    def guest_interface(self) -> guest.GuestInterface:
        """What the VM said about its new interface.

        Raises:
            StepFailed: the plan had no step that configures it.
        """
        if self._found is None:
            raise StepFailed(f"The plan {self._scheme} configures no interface inside the VM.")
        return self._found

    def make(self) -> None:
        """Make all steps.

        Raises: as `Plan.apply`.
        """
        self._host.must_allow_changes(f"the scheme {self._scheme}")
        self._lock.enter_context(locked(self._host, purpose=f"scheme {self._scheme}"))
        try:
            if settle_leftovers(self._host):
                # What was read before is out of date, for good.
                _in_place[self._host.spec] = (*in_place(self._host), next(_numbers))
            self._guard_again()
            hosts = [step for step in self._steps if isinstance(step, HostStep)]
            settings = host_steps.check_unchanged(hosts, self._host.runner)
            self._journal = Journal.begin(self._host, scheme=self._scheme, domain=self._vm.name)
        except BaseException:
            self._lock.close()
            raise
        atexit.register(self.revert)
        self._number = next(_numbers)
        _in_place[self._host.spec] = (*in_place(self._host), self._number)
        try:
            self._make_steps(settings)
        except BaseException as error:
            self.revert()
            if isinstance(error, KvmlabError) and not isinstance(error, StepFailed | Unavailable):
                raise StepFailed(
                    f"{error.message} What had been changed before is put back.",
                    todo=error.todo,
                    evidence=error.evidence,
                ) from error
            raise

    def revert(self) -> None:
        """Undo every step, last first. A second call does nothing.

        Raises:
            HostBusy: nothing was heard of this run for so long that another lab has put it back.
            RevertFailed: something could not be put back; the message names it and says what to
                do by hand. Everything that could be undone has been.
        """
        journal, self._journal = self._journal, None
        if journal is None:
            return
        with uninterrupted(), self._lock:
            atexit.unregister(self.revert)
            try:
                again = hold_again(self._host)
                elsewhere = again and journal.path.name in read_on_host(self._host).undone
            except HostError as error:
                journal.abandon()
                raise lost_hold(self._host, error) from error
            if elsewhere:
                journal.finish()
                raise taken_over(self._host)
            failed = undo_all(self._made, self._host, self._vm, journal).failed
            if failed:
                journal.abandon()
                raise revert_failed(self._host, failed) from failed[0].error
            journal.finish()
            left = tuple(number for number in in_place(self._host) if number != self._number)
            _in_place[self._host.spec] = left

    def _make_steps(self, settings: dict[str, str | None]) -> None:
        numbered = list(enumerate(self._steps))
        hosts = [(n, step) for n, step in numbered if isinstance(step, HostStep)]
        if hosts:
            # Noted together, made together: a step that was noted and not made is harmless,
            # since undoing reads the setting first.
            self._note(hosts)
            host_steps.make([step for _, step in hosts], HoldingRunner(self._host), settings)
        for number, step in numbered:
            started = time.monotonic()
            if isinstance(step, AttachInterface):
                self._note([(number, step)])
                self.attach_sec = plug_in(step, self._vm)
            elif isinstance(step, ConfigureGuest):
                self._note([(number, step)])
                self._found = guest.configure(step, self._vm)
                self.configure_sec = time.monotonic() - started

    def _note(self, steps: Sequence[tuple[int, Step]]) -> None:
        assert self._journal is not None
        self._journal.making([step for _, step in steps], [number for number, _ in steps])
        self._made.extend(steps)

    def _guard_again(self) -> None:
        """A plan may be old: the guard reads the host once more where others may change it."""
        if self._host.is_shared:
            facts = inspect(self._host, prove_kvm=False)
            refuse(check(self._steps, facts, self._vm))


class Change(MadeSteps):
    """A plan applied: its ``nic`` is configured and its peer answers."""

    def __init__(self, plan: Plan, vm: TestVM) -> None:
        super().__init__(vm, plan.steps, scheme=plan.scheme)
        self.plan = plan
        self._nic: Nic | None = None

    @property
    def nic(self) -> Nic:
        """The interface under test."""
        if self._nic is None:
            interface = self._vm.interface(self.plan.mac)
            self._nic = Nic(
                scheme=self.plan.scheme,
                label=self.plan.label,
                backend=self.plan.backend,
                mac=self.plan.mac,
                guest_interface=self.guest_interface.name,
                guest_driver=self.guest_interface.driver,
                host_device=interface.target_dev if interface is not None else None,
                vm_address=self.plan.vm_address,
                peer_address=self.plan.peer_address,
                queues=self.plan.queues,
                attach_sec=self.attach_sec,
                configure_sec=self.configure_sec,
            )
        return self._nic
