"""One measured migration: traffic before, during and after it, and the VM home again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kvmlab.deadline import until
from kvmlab.migration.kinds import needs_vfs
from kvmlab.migration.memory_load import MemoryLoad, written_memory
from kvmlab.migration.probe import MigrationProbe
from kvmlab.migration.remedies import NO_REMEDY, Remedy, remedied
from kvmlab.results.migration import JobSample, MigrationResult, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmlab.changes import Nic
    from kvmlab.changes.migration_step import MigrationStats
    from kvmlab.hosts import Cable
    from kvmlab.migration.plan import Migration, MigrationPlan, OnJob
    from kvmlab.migration.probe import TrafficRecording

#: Seconds of the hosts' clock before and after the migration.
MARGIN_SEC: Final = 2.0
#: Five seconds after its first packet a VM asks for the peer's MAC once more, which would tell the
#: bridge where it is: a VM that only receives is silent before it moves.
_SILENCE_SEC: Final = 7.0
_WAIT_SEC: Final = 600.0
_MIB: Final = 1 << 20


def run_migration_trial(
    plan: MigrationPlan,
    cable: Cable,
    nic: Nic,
    *,
    traffic: Traffic = "answers",
    remedy: Remedy = NO_REMEDY,
    load: MemoryLoad | None = None,
    margin_sec: float = MARGIN_SEC,
    on_job: OnJob | None = None,
) -> MigrationResult:
    """Migrate the VM under ``traffic``, bring it home; return the figures of the way out.

    ``nic`` is the VM's interface on ``cable``. ``remedy`` is what closes the hole of a team.
    ``load`` is a program in the VM that writes memory from before the migration until after it.

    Raises:
        Unavailable: the VM has no room for what is to be written.
        Refused, StepFailed, HostBusy, RevertFailed: see :meth:`MigrationPlan.apply`.
        UsageError: the peer is no namespace of the host.
    """
    with measured_migration(
        plan,
        cable,
        nic,
        traffic=traffic,
        remedy=remedy,
        load=load,
        margin_sec=margin_sec,
        on_job=on_job,
    ) as (_, result):
        return result


@contextmanager
def measured_migration(
    plan: MigrationPlan,
    cable: Cable,
    nic: Nic,
    *,
    traffic: Traffic = "answers",
    remedy: Remedy = NO_REMEDY,
    load: MemoryLoad | None = None,
    margin_sec: float = MARGIN_SEC,
    on_job: OnJob | None = None,
) -> Iterator[tuple[Migration, MigrationResult]]:
    """As `run_migration_trial`; in the block the VM is on the destination, then it comes home."""
    host = plan.vm.host
    ports = (cable.port, plan.there.cable.port if plan.there.cable else cable.port)

    def pause(seconds: float) -> None:
        host.run(("sleep", f"{seconds:g}"), timeout_sec=_WAIT_SEC)

    log = JobLog(on_job)
    # Asking costs the host's CPU a little: a plain migration is left alone.
    asks = on_job is not None or load is not None or bool(str(plan.step.options))
    with remedied(remedy, plan.vm, cable, nic), written_memory(load, plan.vm) as writer:
        probe = MigrationProbe(
            plan.vm,
            cable,
            traffic=traffic,
            mac=nic.mac,
            ports=ports,
            has_vf=needs_vfs(nic.scheme),
        )
        with probe:
            pause(max(margin_sec, _SILENCE_SEC) if traffic == "receives" else margin_sec)
            migration = plan.apply(on_job=log.add if asks else None)
            writer.vm = migration.vm
            try:
                until(
                    lambda: migration.vm.state == "running",
                    timeout_sec=_WAIT_SEC,
                    what=f"The arrival of {plan.vm.name}",
                )
                pause(margin_sec)
            except BaseException:
                migration.revert()
                writer.vm = plan.vm
                raise
        try:
            # It ends before the VM goes home, which would take as long again.
            writer.stop()
            recording = probe.finish(migration.vm)
            result = _result(plan, nic, traffic, remedy, migration.stats, recording)
            measured = {**writer.figures, "samples": tuple(log.samples), "note": migration.note}
            yield migration, replace(result, **measured)
        finally:
            migration.revert()


class JobLog:
    """Figures of a running job, kept where round or throttle change; it passes all of them on."""

    def __init__(self, on_job: OnJob | None = None) -> None:
        self.samples: list[JobSample] = []
        self._on_job = on_job

    def add(self, job: Mapping[str, Any]) -> None:
        """Keep the figures of now where they are those of another round or throttle."""
        number = int(job.get("memory_iteration", 0))
        throttle = int(job.get("auto_converge_throttle", 0))
        last = self.samples[-1] if self.samples else None
        if number and (last is None or (last.round, last.throttle_percent) != (number, throttle)):
            rate = int(job.get("memory_dirty_rate", 0)) * int(job.get("memory_page_size", 4096))
            self.samples.append(
                JobSample(
                    at_sec=int(job.get("time_elapsed", 0)) / 1000,
                    round=number,
                    left_mib=int(job.get("memory_remaining", 0)) / _MIB,
                    dirtied_mib_per_sec=rate / _MIB if number > 1 else None,
                    throttle_percent=throttle,
                )
            )
        if self._on_job is not None:
            self._on_job(job)


def _result(
    plan: MigrationPlan,
    nic: Nic,
    traffic: Traffic,
    remedy: Remedy,
    stats: MigrationStats,
    recording: TrafficRecording,
) -> MigrationResult:
    return MigrationResult(
        scheme=nic.scheme,
        label=nic.label,
        traffic=traffic,
        source=plan.vm.host.label,
        destination=plan.there.label,
        clock=plan.vm.host.clock,
        emulated=plan.vm.host.emulated,
        downtime_ms=stats.downtime_ms,
        elapsed_ms=stats.elapsed_ms,
        setup_ms=stats.setup_ms,
        transferred_bytes=stats.transferred_bytes,
        rounds=stats.rounds,
        seconds=recording.seconds,
        sent=recording.sent,
        duplicates=recording.duplicates,
        reordered=recording.reordered,
        packets=recording.packets,
        stream=recording.stream,
        events=recording.events,
        cpu_sec=recording.cpu_sec,
        remedy=remedy.label,
        options=str(plan.step.options),
    )
