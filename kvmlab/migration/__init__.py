"""Live migration: a second host, a plan with checks, the migration, its effect on traffic."""

from kvmlab.changes.migration_step import MigrationOptions, MigrationStats
from kvmlab.migration.checks import Check
from kvmlab.migration.kinds import KINDS, needs_vfs, plan_kind
from kvmlab.migration.memory_load import MemoryLoad, MemoryWriter, written_memory
from kvmlab.migration.plan import Migration, MigrationPlan, plan_migration
from kvmlab.migration.probe import MigrationProbe
from kvmlab.migration.remedies import REMEDIES, Remedy, remedy
from kvmlab.migration.second_host import SecondHost, call_home
from kvmlab.migration.trial import measured_migration, run_migration_trial

__all__ = [
    "KINDS",
    "REMEDIES",
    "Check",
    "MemoryLoad",
    "MemoryWriter",
    "Migration",
    "MigrationOptions",
    "MigrationPlan",
    "MigrationProbe",
    "MigrationStats",
    "Remedy",
    "SecondHost",
    "call_home",
    "measured_migration",
    "needs_vfs",
    "plan_kind",
    "plan_migration",
    "remedy",
    "run_migration_trial",
    "written_memory",
]
