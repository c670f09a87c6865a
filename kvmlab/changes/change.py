"""A change: a plan that is applied and can be reverted.

The life of a change: a `Plan` lists the steps, the guard checks them, the host's lock is taken,
each step is journalled, then applied; `revert` undoes them last first and closes the journal.
"""

from __future__ import annotations

import atexit
import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kvmlab.changes import guest_configuration, host_steps, vm_steps
from kvmlab.changes.guard import check, refuse
from kvmlab.changes.guest_state import SetGuestState, apply_guest_state
from kvmlab.changes.host_lock import read_lab_state
from kvmlab.changes.journal import ChangeJournal
from kvmlab.changes.lab_lock import LockedRunner, locked, reacquire
from kvmlab.changes.nic import Nic
from kvmlab.changes.recovery import settle_leftovers
from kvmlab.changes.revert import (
    lock_lost,
    revert_failed,
    reverted_elsewhere,
    signals_deferred,
    undo_all,
)
from kvmlab.changes.settings import Values
from kvmlab.changes.steps import (
    AttachInterface,
    ConfigureGuest,
    GuestSetting,
    HostStep,
    RestartVm,
    Step,
    TuneGuest,
)
from kvmlab.errors import HostError, KvmlabError, StepFailed, Unavailable, UsageError
from kvmlab.facts import inspect

if TYPE_CHECKING:
    from kvmlab.changes.plan import Plan
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host

#: Host steps that `prepared` has applied, by the host's spec; plans inside skip them.
shared_steps: dict[str, tuple[Step, ...]] = {}
_numbers = itertools.count(1)
_in_place: dict[str, tuple[int, ...]] = {}


def in_place(host: Host) -> tuple[int, ...]:
    """Return the numbers of this process's changes that are applied on a host, oldest first.

    Facts that were read under a different set of applied changes are stale. A change that was
    reverted completely is not among them, since every undo is verified; one that could not be
    reverted stays.
    """
    return _in_place.get(host.spec, ())


class AppliedSteps:
    """Steps applied on a host in order, each journalled before; `revert` undoes them."""

    def __init__(self, vm: TestVM, steps: Sequence[Step], *, scheme: str) -> None:
        self._vm = vm
        self._host = vm.host
        shared = shared_steps.get(vm.host.spec, ())
        self._steps = tuple(step for step in steps if step not in shared)
        self._scheme = scheme
        self._journalled: list[tuple[int, Step]] = []
        self._journal: ChangeJournal | None = None
        self._lock = ExitStack()
        self._number = 0
        self._settle = False
        self._interface: guest_configuration.ConfiguredInterface | None = None
        self.attach_sec = 0.0
        self.configure_sec = 0.0

    @property
    def guest_interface(self) -> guest_configuration.ConfiguredInterface:
        """The interface as the VM configured it.

        Raises:
            StepFailed: no step of the plan configures it.
        """
        if self._interface is None:
            raise StepFailed(f"The plan {self._scheme} configures no interface inside the VM.")
        return self._interface

    def apply(self) -> None:
        """Apply all steps.

        Raises: as `Plan.apply`.
        """
        self._host.must_allow_changes(f"the scheme {self._scheme}")
        self._lock.enter_context(locked(self._host, purpose=f"scheme {self._scheme}"))
        try:
            if settle_leftovers(self._host):
                # All facts read before are stale from now on.
                _in_place[self._host.spec] = (*in_place(self._host), next(_numbers))
            self._guard_again()
            on_host = [step for step in self._steps if isinstance(step, HostStep)]
            settings = host_steps.check_unchanged(on_host, self._host.runner)
            self._journal = ChangeJournal.begin(
                self._host, scheme=self._scheme, domain=self._vm.name
            )
        except BaseException:
            self._lock.close()
            raise
        atexit.register(self.revert)
        self._number = next(_numbers)
        _in_place[self._host.spec] = (*in_place(self._host), self._number)
        try:
            self._apply_steps(settings)
        except BaseException as error:
            self._settle = host_steps.is_outcome_unknown(error)
            loss = " ".join(self._put_back())
            if loss and isinstance(error, KvmlabError):
                raise StepFailed(error.message, todo=loss, evidence=error.evidence) from error
            if loss:
                error.add_note(loss)
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
            HostBusy: this run was silent for so long that another lab has reverted the change.
            RevertFailed: something could not be undone; the message names it and says what to
                do by hand. Everything that could be undone has been.
            StepFailed: everything is undone, but a VM had to be started anew for it.
        """
        losses = self._put_back()
        if losses:
            raise StepFailed(" ".join(losses))

    def _put_back(self) -> Sequence[str]:
        """Undo every step; return what was lost, as sentences. Raises as `revert` does."""
        journal, self._journal = self._journal, None
        if journal is None:
            return ()
        with signals_deferred(), self._lock:
            atexit.unregister(self.revert)
            try:
                lost = reacquire(self._host)
                undone = read_lab_state(self._host).undone if lost else {}
            except HostError as error:
                journal.abandon()
                raise lock_lost(self._host, error) from error
            if journal.name in undone:
                journal.finish()
                raise reverted_elsewhere(self._host, undone[journal.name])
            report = undo_all(self._journalled, self._host, self._vm, journal, settle=self._settle)
            if report.failures:
                journal.abandon()
                raise revert_failed(self._host, report.failures) from report.failures[0].error
            journal.finish()
            others = tuple(number for number in in_place(self._host) if number != self._number)
            _in_place[self._host.spec] = others
            return report.losses

    def leave(self) -> None:
        """Leave the steps in place and their journal open, for `restore` in whichever process.

        For a host that a person goes on with by hand. Facts read before are stale: inspect again.
        """
        journal, self._journal = self._journal, None
        if journal is not None:
            atexit.unregister(self.revert)
            journal.abandon()
            self._lock.close()
            others = tuple(number for number in in_place(self._host) if number != self._number)
            _in_place[self._host.spec] = others

    def discard(self) -> None:
        """Close the journal and undo nothing: the host ends now, and all that was changed with it.

        Raises:
            UsageError: others use the host, which goes on.
        """
        if self._host.is_shared:
            raise UsageError("The changes of a host that others use are not discarded.")
        journal, self._journal = self._journal, None
        if journal is not None:
            with self._lock:
                atexit.unregister(self.revert)
                journal.finish()
                others = tuple(n for n in in_place(self._host) if n != self._number)
                _in_place[self._host.spec] = others

    def _apply_steps(self, settings: Values) -> None:
        numbered = list(enumerate(self._steps))
        on_host = [(n, step) for n, step in numbered if isinstance(step, HostStep)]
        self._apply_on_host([(n, s) for n, s in on_host if not s.after_attach], settings)
        for number, step in numbered:
            if isinstance(step, HostStep):
                continue
            self._note([(number, step)])
            self._apply_to_vm(step)
            if isinstance(step, AttachInterface):
                self._apply_on_host([(n, s) for n, s in on_host if s.after_attach], settings)

    def _apply_on_host(self, steps: Sequence[tuple[int, HostStep]], settings: Values) -> None:
        if steps:
            # Journalled together, applied together: a step that was journalled and not applied is
            # harmless, since undoing reads the setting first.
            self._note(steps)
            host_steps.apply([step for _, step in steps], LockedRunner(self._host), settings)

    def _apply_to_vm(self, step: Step) -> None:
        started = time.monotonic()
        if isinstance(step, AttachInterface):
            self.attach_sec = vm_steps.attach(step, self._vm)
        elif isinstance(step, ConfigureGuest):
            self._interface = guest_configuration.configure(step, self._vm)
            self.configure_sec = time.monotonic() - started
        elif isinstance(step, TuneGuest):
            guest_configuration.tune(step, self.guest_interface.name, self._vm)
        elif isinstance(step, RestartVm):
            vm_steps.restart(step, self._vm)
        elif isinstance(step, GuestSetting):
            vm_steps.write_in_guest(step.path, step.new, self._vm)
        elif isinstance(step, SetGuestState):
            apply_guest_state(step, self._vm)

    def _note(self, steps: Sequence[tuple[int, Step]]) -> None:
        assert self._journal is not None
        self._journal.begin_steps([step for _, step in steps], [number for number, _ in steps])
        self._journalled.extend(steps)

    def _guard_again(self) -> None:
        """Check the plan against a new inspection where others may have changed the host."""
        if self._host.is_shared:
            facts = inspect(self._host, prove_kvm=False)
            refuse(check(self._steps, facts, self._vm))


class Change(AppliedSteps):
    """An applied plan: its ``nic`` is configured and its peer answers."""

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
