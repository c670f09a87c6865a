"""The plan of a live migration, complete before anything changes, and the migration itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.migration_step import (
    MigrateVm,
    MigrationOptions,
    MigrationStats,
    has_team,
    migrate,
)
from kvmlab.changes.second_host import FOLDER
from kvmlab.changes.settings import Values
from kvmlab.domain import TestVM
from kvmlab.errors import Refused, StepFailed
from kvmlab.facts import inspect
from kvmlab.language import _
from kvmlab.migration.checks import Check, check_migration
from kvmlab.migration.team import missing_vf
from kvmlab.rendering import plain_text

if TYPE_CHECKING:
    from rich.console import Console

    from kvmlab.hosts import Host

OnJob = Callable[[Mapping[str, Any]], None]
_WIDTH = 100


@dataclass(frozen=True)
class MigrationPlan:
    """A live migration of ``vm`` to the host ``there``: its checks, its one step, its undo."""

    vm: TestVM
    there: Host
    step: MigrateVm
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed; with any of them the plan cannot be applied."""
        return tuple(check for check in self.checks if not check.passed and not check.warns)

    def refuse(self) -> None:
        """Raise the first check that failed; a plan without one passes.

        Raises:
            Refused: a check failed; the evidence lists all that did.
        """
        if self.failed:
            first = self.failed[0]
            raise Refused(
                f"{self.vm.name} cannot migrate to {self.there.label}: {first.name} "
                f"{first.message}. Nothing was changed.",
                todo=first.todo,
                evidence="\n".join(f"{c.name}: {c.message}" for c in self.failed),
            )

    def apply(self, *, on_job: OnJob | None = None) -> Migration:
        """Migrate the VM; the caller brings it home with ``revert()`` (exit of Python does too).

        ``on_job`` gets libvirt's figures of the running job, a few times a second.

        Raises:
            Refused: a check failed; nothing was changed.
            StepFailed: the migration failed or was cancelled; the VM runs where it was.
            HostBusy, RevertFailed: see :meth:`kvmlab.changes.Plan.apply`.
        """
        self.refuse()
        migration = Migration(self, on_job)
        migration.apply()
        return migration

    def attempt(self) -> str:
        """Let libvirt judge it, whatever the checks say; return its refusal, "" where it migrates.

        A VM that migrates comes home.

        Raises:
            HostBusy, RevertFailed: see :meth:`kvmlab.changes.Plan.apply`.
        """
        migration = Migration(self, None)
        try:
            migration.apply()
        except StepFailed as error:
            return error.evidence
        migration.revert()
        return ""

    @contextmanager
    def applied(self, *, on_job: OnJob | None = None) -> Iterator[Migration]:
        """Migrate the VM for the length of the block; it comes home in any case.

        Raises: as `apply`, and RevertFailed at the end of the block.
        """
        migration = self.apply(on_job=on_job)
        try:
            yield migration
        finally:
            migration.revert()

    def to_dict(self) -> dict[str, Any]:
        """Return checks and commands as JSON."""
        return {
            "vm": self.vm.name,
            "destination": self.there.label,
            "checks": [asdict(check) for check in self.checks],
            "do": list(self.step.do_text),
            "undo": list(self.step.undo_text),
        }

    def __str__(self) -> str:
        return plain_text(self._draw, width=_WIDTH)

    def _draw(self, console: Console) -> None:
        from rich.table import Table

        title = _("Plan: migrate {vm} to {there}").format(
            vm=self.vm.name, there=_(self.there.label)
        )
        table = Table(title=title, box=None)
        for column in ("", _("check"), _("finding")):
            table.add_column(column)
        for check in self.checks:
            finding = _(". ").join(_(text) for text in (check.message, check.todo) if text)
            mark = "✓" if check.passed else "!" if check.warns else "✗"
            table.add_row(mark, _(check.name), finding)
        console.print(table)
        for text in self.step.do_text:
            console.print(_("do:   {command}").format(command=text), soft_wrap=True)
        for text in self.step.undo_text:
            console.print(_("undo: {command}").format(command=text), soft_wrap=True)


class Migration(AppliedSteps):
    """An applied migration: ``vm`` runs on the destination, ``stats`` are libvirt's figures."""

    def __init__(self, plan: MigrationPlan, on_job: OnJob | None) -> None:
        super().__init__(plan.vm, (plan.step,), scheme="migration")
        self._plan = plan
        self._on_job = on_job
        self._stats: MigrationStats | None = None
        #: A sentence where the VM arrived without its VF.
        self.note = ""

    @property
    def vm(self) -> TestVM:
        """The VM on the destination."""
        return TestVM.find(self._plan.there, self._plan.vm.name)

    @property
    def stats(self) -> MigrationStats:
        """Libvirt's figures of the migration."""
        assert self._stats is not None
        return self._stats

    def _apply_steps(self, settings: Values) -> None:
        step = self._plan.step
        self._note([(0, step)])
        self._stats = migrate(
            self._plan.vm,
            self._plan.there,
            transport=step.transport,
            options=step.options,
            on_progress=self._on_job,
        )
        self.note = missing_vf(self.vm)


def plan_migration(
    vm: TestVM, there: Host, *, options: MigrationOptions | None = None
) -> MigrationPlan:
    """Return the plan of migrating the running ``vm`` to ``there``; change nothing.

    Raises:
        HostUnreachable, HostRefused: a host does not answer.
    """
    facts = inspect(there, prove_kvm=False)
    is_second = there.spec == f"{vm.host.spec}#{FOLDER}"
    chosen = options or MigrationOptions()
    if chosen.preallocate is None:
        chosen = replace(chosen, preallocate=has_team(vm.xml()))
    step = MigrateVm(
        what=f"Migrate the running VM {vm.name} to {there.label}.",
        domain=vm.name,
        destination=there.label if is_second else there.spec,
        second_host=is_second,
        options=chosen,
    )
    return MigrationPlan(vm, there, step, check_migration(vm, there, facts, chosen))
