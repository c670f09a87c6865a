"""Live migration of a VM with a VF in a team: the hole, what closes it, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from kvmlab import Lab
from kvmlab.changes import Nic, leftovers, restore
from kvmlab.deadline import until
from kvmlab.errors import Refused, RevertFailed, StepFailed
from kvmlab.hosts import Host
from kvmlab.lab.embedded_host import EMBEDDED_NIC_CABLE
from kvmlab.migration import REMEDIES, MigrationOptions, Remedy
from kvmlab.migration.remedies import remedied
from kvmlab.migration.team import TEAM_MAC, VF_ALIAS
from kvmlab.schemes.port import BRIDGE
from tests.migration.breakage import BREAKAGES, Breakage, breaking_the_way_home
from tests.migration.host_state import assert_as_before, memory_taken, uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.minutes(5), pytest.mark.timeout(900)]
GOAL_MS = 1000
#: The peer's hole may be longer than libvirt's downtime by no more than this.
BEYOND_DOWNTIME_MS = 200


@pytest.fixture(scope="module")
def teamed(lab: Lab, there: Host) -> Iterator[Nic]:
    """Give the VM a VF in a team for the tests of this module."""
    with lab.plan_migratable("vf-teaming").applied(lab.vm) as nic:
        yield nic


def test_a_team_that_only_receives(lab: Lab, there: Host, teamed: Nic) -> None:
    plan = lab.plan_migration(there)
    assert not plan.failed, str(plan)
    (free,) = (check for check in plan.checks if check.name == "free VF in kvmlab-vfs")
    assert free.message == "1 of 1"
    plain = lab.migrate(plan, teamed, traffic="receives")
    closed = lab.migrate(plan, teamed, traffic="receives", remedy="no-learning")
    phases = {phase.name: phase for phase in plain.phases}
    # The hole begins where the VF goes, long before the VM stops.
    assert plain.hole[0] < phases["unplug"].end_sec
    assert plain.hole_ms > plain.downtime_ms + BEYOND_DOWNTIME_MS
    assert closed.hole_ms < GOAL_MS
    assert closed.hole_ms < closed.downtime_ms + BEYOND_DOWNTIME_MS
    assert closed.lost < plain.lost
    assert lab.vm.has_device(VF_ALIAS)


@pytest.mark.parametrize("remedy_id", ["announce-self", "fdb-replace", "fdb-sticky"])
def test_other_remedies_close_the_hole_as_well(
    lab: Lab, there: Host, teamed: Nic, remedy_id: str
) -> None:
    result = lab.migrate(lab.plan_migration(there), teamed, traffic="receives", remedy=remedy_id)
    phases = {phase.name: phase for phase in result.phases}
    # Packets arrived while memory was copied: the longest time without one is that of the stop.
    assert result.hole[0] > phases["pre-copy, round 1"].begin_sec
    assert result.hole_ms < GOAL_MS


#: What each remedy that acts from the begin leaves on the host's bridge, as its tools show it, and
#: in the VM.
_SETTINGS = f"""
bridge -d link show dev {EMBEDDED_NIC_CABLE.port} | tail -n 1
cat /sys/class/net/{BRIDGE}/bridge/ageing_time
bridge fdb show br {BRIDGE} | grep '^{TEAM_MAC}.* static' || true
"""


@pytest.mark.parametrize("one", REMEDIES, ids=lambda one: one.id)
def test_a_remedy_is_taken_back(lab: Lab, there: Host, teamed: Nic, one: Remedy) -> None:
    def settings() -> str:
        on_host = lab.host.run(("sh", "-c", _SETTINGS), timeout_sec=60).stdout
        path = "/proc/sys/net/ipv4/conf/all/arp_notify"
        return on_host + lab.vm.agent.run(("cat", path), timeout_sec=60).stdout

    before = settings()
    with remedied(one, lab.vm, EMBEDDED_NIC_CABLE, teamed):
        during = settings()
    assert (during != before) == (one.id not in ("announce-self", "fdb-replace"))
    assert settings() == before


def test_a_guest_that_ignores_the_unplug(lab: Lab, there: Host, teamed: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)
    # Hot-plug events of PCI come to the guest by this one.
    event = "/sys/firmware/acpi/interrupts/gpe01"
    lab.vm.agent.run(("sh", "-c", f"echo disable >{event}"), timeout_sec=60)
    try:
        with pytest.raises(StepFailed, match="was cancelled"):
            lab.plan_migration(there, options=MigrationOptions(timeout_sec=8)).apply()
    finally:
        lab.vm.agent.run(("sh", "-c", f"echo enable >{event}"), timeout_sec=60)
    assert_as_before(lab, uptime)
    assert lab.vm.has_device(VF_ALIAS)


def assert_home_with_its_vf(lab: Lab, uptime: float) -> None:
    """Assert that the VM runs at home with both cards, and that no journal says otherwise."""
    assert_as_before(lab, uptime)
    until(lambda: lab.vm.has_device(VF_ALIAS), timeout_sec=60, what="The VF")
    assert leftovers(lab.host) == ()


@pytest.mark.parametrize("line", BREAKAGES.values(), ids=BREAKAGES)
def test_what_breaks_on_the_way_out(lab: Lab, there: Host, teamed: Nic, line: str) -> None:
    uptime = uptime_of_vm(lab.vm)
    breakage = Breakage(lab.host, line)
    options = MigrationOptions(bandwidth_mib=8)
    with pytest.raises(StepFailed):
        lab.plan_migration(there, options=options).apply(on_job=breakage.on_job)
    assert breakage.done.is_set()
    assert_home_with_its_vf(lab, uptime)


@pytest.mark.parametrize("line", BREAKAGES.values(), ids=BREAKAGES)
def test_what_breaks_on_the_way_home(lab: Lab, there: Host, teamed: Nic, line: str) -> None:
    uptime = uptime_of_vm(lab.vm)
    migration = lab.plan_migration(there).apply()
    with (
        breaking_the_way_home(lab.host, there, lab.vm.name, line) as breakage,
        suppress(RevertFailed),
    ):
        migration.revert()
    assert breakage.done.is_set()
    # Where the VM did not come home, the journal says so, and `restore` brings it.
    left = leftovers(lab.host)
    assert [item.what for item in left] == ["Migrate the running VM kvmlab-vm to embedded host B."]
    restore(lab.host)
    assert_home_with_its_vf(lab, uptime)


def test_a_destination_without_memory(lab: Lab, there: Host, teamed: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)
    with memory_taken(lab.host), pytest.raises(StepFailed) as caught:
        lab.plan_migration(there).apply()
    assert "memory" in caught.value.evidence
    assert_home_with_its_vf(lab, uptime)


def test_a_vf_that_is_taken_away_meanwhile(lab: Lab, there: Host, teamed: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)
    breakage = Breakage(there, "virsh net-destroy kvmlab-vfs")
    options = MigrationOptions(bandwidth_mib=16)
    with lab.plan_migration(there, options=options).applied(on_job=breakage.on_job) as migration:
        assert breakage.done.is_set()
        assert migration.vm.state == "running"
    assert_home_with_its_vf(lab, uptime)


def test_a_destination_whose_vf_is_taken_away(lab: Lab, there: Host, teamed: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)
    there.run(("virsh", "net-destroy", "kvmlab-vfs"), timeout_sec=60)
    with pytest.raises(Refused, match="network kvmlab-vfs"):
        lab.plan_migration(there).apply()
    assert lab.plan_migration(there).attempt()
    assert_as_before(lab, uptime)
    until(lambda: lab.vm.has_device(VF_ALIAS), timeout_sec=60, what="The VF")
