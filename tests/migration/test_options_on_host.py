"""Options of a migration, each by its effect on a VM that writes more than pre-copy can follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from kvmlab import Lab
from kvmlab.changes import Nic
from kvmlab.errors import Refused, Unavailable
from kvmlab.hosts import Host
from kvmlab.migration import MemoryLoad, MigrationOptions, written_memory
from kvmlab.migration.trial import JobLog
from tests.migration.host_state import assert_as_before, uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.timeout(900)]
BANDWIDTH_MIB: Final = 32
#: More than the bandwidth, and more than can be left to a stop of 300 ms.
LOAD: Final = MemoryLoad(48, 32)
THREADS: Final = "cat /proc/[0-9]*/task/*/comm | grep -cE 'mig/src/send|multifdsend'"


@pytest.fixture(scope="module")
def bridged(lab: Lab, there: Host) -> Iterator[Nic]:
    """Give the VM a virtio NIC on the bridge for the tests of this module."""
    with lab.plan_migratable("virtio-vhost").applied(lab.vm) as nic:
        yield nic


class EnoughSeen(Exception):
    """Ends a migration that would go on for ever."""


def test_pre_copy_alone_has_no_end(lab: Lab, there: Host, bridged: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)

    def watch(job: Mapping[str, Any]) -> None:
        if job.get("memory_iteration", 0) >= 5:
            raise EnoughSeen

    log = JobLog(watch)
    options = MigrationOptions(bandwidth_mib=BANDWIDTH_MIB)
    with written_memory(LOAD, lab.vm) as writer, pytest.raises(EnoughSeen):
        lab.plan_migration(there, options=options).apply(on_job=log.add)
    assert_as_before(lab, uptime)
    assert 24 < writer.mib_per_sec <= 49
    # Each round leaves as much as the one before, more than fits into the stop.
    later = [sample for sample in log.samples if sample.round > 1]
    assert len(later) >= 3
    assert min(sample.left_mib for sample in later) > BANDWIDTH_MIB * 0.3


def test_auto_converge_holds_the_vm_back(lab: Lab, there: Host, bridged: Nic) -> None:
    # That it arrives in the end takes half a minute of the hosts' clock: docs/migration.md.
    def watch(job: Mapping[str, Any]) -> None:
        if job.get("auto_converge_throttle", 0) >= 30:
            raise EnoughSeen

    log = JobLog(watch)
    options = MigrationOptions(bandwidth_mib=BANDWIDTH_MIB, auto_converge=True)
    with written_memory(LOAD, lab.vm), pytest.raises(EnoughSeen):
        lab.plan_migration(there, options=options).apply(on_job=log.add)
    throttles = [sample.throttle_percent for sample in log.samples if sample.throttle_percent]
    assert throttles[0] == 20
    assert throttles == sorted(throttles), "more from round to round"


def test_post_copy_goes_on_before_all_memory_is_there(lab: Lab, there: Host, bridged: Nic) -> None:
    options = MigrationOptions(bandwidth_mib=BANDWIDTH_MIB, post_copy=True)
    result = lab.migrate(lab.plan_migration(there, options=options), bridged, load=LOAD)
    assert result.switched_to_post_copy
    phases = {phase.name: phase for phase in result.phases}
    first = phases["pre-copy, round 1"]
    seconds = first.end_sec - first.begin_sec
    # The bandwidth limit is kept: all that is no page of zeros took so long.
    assert seconds > 100 / BANDWIDTH_MIB
    assert phases["post-copy"].begin_sec == phases["stop"].end_sec
    assert result.hole_ms < 1500
    assert result.transferred_bytes > 100 << 20
    assert 0 < result.downtime_ms < 1500


def test_a_longer_downtime_limit_and_multifd(lab: Lab, there: Host, bridged: Nic) -> None:
    senders: list[int] = []

    def count(job: Mapping[str, Any]) -> None:
        if job.get("memory_processed", 0) > 1 << 20 and not senders:
            done = lab.host.run(("sh", "-c", THREADS), timeout_sec=60, check=False)
            senders.append(int(done.stdout))

    options = MigrationOptions(bandwidth_mib=BANDWIDTH_MIB, downtime_ms=1500, parallel=2)
    with written_memory(LOAD, lab.vm) as writer:
        migration = lab.plan_migration(there, options=options).apply(on_job=count)
        try:
            writer.vm = migration.vm
            writer.stop()
        finally:
            migration.revert()
    assert senders == [2]
    # What pre-copy alone cannot move within 300 ms fits into this limit.
    assert migration.stats.rounds <= 6
    assert migration.stats.downtime_ms < 1500


def test_what_qemu_cannot_do_at_once_is_refused(lab: Lab, there: Host, bridged: Nic) -> None:
    plan = lab.plan_migration(there, options=MigrationOptions(post_copy=True, parallel=2))
    with pytest.raises(Refused, match=r"post-copy over multifd is more than QEMU 10\.0"):
        plan.apply()
    # QEMU says the same.
    assert "not yet compatible with multifd" in plan.attempt()


def test_a_limit_does_not_outlive_its_migration(lab: Lab, there: Host, bridged: Nic) -> None:
    def stop(job: Mapping[str, Any]) -> None:
        if job:
            raise EnoughSeen

    before = lab.vm.handle.migrateGetMaxDowntime(0)
    options = MigrationOptions(bandwidth_mib=8, downtime_ms=before + 500)
    with pytest.raises(EnoughSeen):
        lab.plan_migration(there, options=options).apply(on_job=stop)
    assert lab.vm.handle.migrateGetMaxDowntime(0) == before


def test_a_working_set_that_the_vm_has_no_room_for(lab: Lab, bridged: Nic) -> None:
    with (
        pytest.raises(Unavailable, match="the VM has room for"),
        written_memory(MemoryLoad(1, 500), lab.vm),
    ):
        raise AssertionError("it was written nevertheless")
