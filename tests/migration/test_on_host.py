"""Live migration of a VM with a virtio NIC, between the embedded host and host B inside of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kvmlab import Lab
from kvmlab.changes import Nic
from kvmlab.changes.second_host import FOLDER
from kvmlab.errors import Refused, StepFailed
from kvmlab.facts import inspect
from kvmlab.hosts import Host, open_second_host
from kvmlab.lab.embedded_host import EMBEDDED_NIC_CABLE, SECOND_HOST_PF
from kvmlab.migration import MigrationOptions, measured_migration
from kvmlab.migration.second_host import LABEL
from kvmlab.schemes.port import BRIDGE
from tests.migration.breakage import BREAKAGES, LIBVIRTD_OF_B, Breakage
from tests.migration.host_state import assert_as_before, memory_taken, uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.timeout(900)]
CABLE = EMBEDDED_NIC_CABLE
#: The peer's hole may be longer than libvirt's downtime by no more than this.
BEYOND_DOWNTIME_MS = 200


@pytest.fixture(scope="module")
def bridged(lab: Lab, there: Host) -> Iterator[Nic]:
    """Give the VM a virtio NIC on the bridge for the tests of this module."""
    with lab.plan_migratable("virtio-vhost").applied(lab.vm) as nic:
        yield nic


@contextmanager
def echoes_to_vm(host: Host) -> Iterator[list[int]]:
    """Send 20 echoes a second from the peer to the VM; the list is [sent, received] afterwards."""
    ip = CABLE.vm_address.partition("/")[0]
    line = f"nohup ip netns exec peer ping -q -i 0.05 {ip} >/tmp/echoes 2>&1 & echo $!"
    pid = host.run(("sh", "-c", line), timeout_sec=60).stdout.strip()
    counts: list[int] = []
    yield counts
    line = f"sleep 1; kill -INT {pid}; sleep 0.2; cat /tmp/echoes; rm /tmp/echoes"
    text = host.run(("sh", "-c", line), timeout_sec=60).stdout
    match = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    assert match is not None, text
    counts += map(int, match.groups())


def test_host_b_is_a_host_of_its_own(lab: Lab, there: Host) -> None:
    facts = inspect(there, prove_kvm=False)
    assert facts.host_name == "hostb"
    assert {link.name for link in facts.links if link.netns is None} >= {"lo", "p1p2", BRIDGE}
    assert facts.link("p2p1") is None
    assert facts.port(SECOND_HOST_PF).sriov_numvfs == 2
    assert there.clock is lab.host.clock
    with open_second_host(lab.host, FOLDER, label=LABEL) as again:
        assert again.libvirt.getHostname() == "hostb"


def test_a_vm_migrates_and_comes_home(lab: Lab, there: Host, bridged: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)
    plan = lab.plan_migration(there)
    assert all(check.passed for check in plan.checks), str(plan)
    assert "virsh migrate --live" in str(plan)
    with measured_migration(plan, CABLE, bridged) as (migration, result):
        assert migration.vm.state == "running"
        assert lab.vm.state == "shut off"
        assert migration.vm.agent.run(("hostname",), timeout_sec=60).stdout == "kvmlab-vm\n"
        with echoes_to_vm(lab.host) as counts:
            migration.revert()
    assert_as_before(lab, uptime)
    sent, received = counts
    assert (sent - received) * 0.05 < 1.5, "the way home has no longer hole"
    assert 0 < result.downtime_ms < result.elapsed_ms
    assert result.transferred_bytes > 10_000_000
    assert len(result.packets) > 100
    assert result.duplicates == 0
    assert 20 < result.hole_ms < result.downtime_ms + BEYOND_DOWNTIME_MS
    assert result.phases[0].name == "pre-copy, round 1"
    # The stop that QEMU's events show is libvirt's downtime, and lies in the hole.
    (stop,) = (phase for phase in result.phases if phase.name == "stop")
    assert (stop.end_sec - stop.begin_sec) * 1000 == pytest.approx(result.downtime_ms, abs=60)
    begin, end = result.hole
    assert begin < stop.end_sec
    assert stop.begin_sec < end
    assert {"virtio on A", "virtio on B"} <= {packet.via for packet in result.packets}
    assert "VF" not in {packet.via for packet in result.packets}
    assert result.cpu_sec["migration threads"] > 0.1


def test_a_vm_that_sends_loses_what_it_sends_while_it_stands_still(
    lab: Lab, there: Host, bridged: Nic
) -> None:
    result = lab.migrate(lab.plan_migration(there), bridged, traffic="sends")
    (stop,) = (phase for phase in result.phases if phase.name == "stop")
    begin, end = result.hole
    assert begin < stop.end_sec
    assert stop.begin_sec < end
    assert result.hole_ms < result.downtime_ms + BEYOND_DOWNTIME_MS
    assert [packet.via for packet in result.packets[:1]] == ["virtio on A"]
    assert [packet.via for packet in result.packets[-1:]] == ["virtio on B"]


def test_a_stream_stalls_and_goes_on(lab: Lab, there: Host, bridged: Nic) -> None:
    result = lab.migrate(lab.plan_migration(there), bridged, traffic="tcp")
    (stop,) = (phase for phase in result.phases if phase.name == "stop")
    begin, end = result.hole
    assert begin < stop.end_sec
    assert stop.begin_sec < end
    start, arrival = result.span
    # It is the same connection: its bytes are counted on, at a throughput like before.
    for rate in (result.rate_mbit(0.0, start), result.rate_mbit(arrival + 1, result.seconds)):
        assert rate is not None
        assert rate > 100
    assert "stream before, during, after" in dict(result.rows())


def test_a_host_that_cannot_resolve_its_own_name_is_told(lab: Lab, there: Host) -> None:
    lab.host.run(("sh", "-c", "cp /etc/hosts /tmp/hosts; : >/etc/hosts"), timeout_sec=60)
    try:
        (check, _) = (c for c in lab.plan_migration(there).checks if not c.passed)
    finally:
        lab.host.run(("sh", "-c", "cat /tmp/hosts >/etc/hosts; rm /tmp/hosts"), timeout_sec=60)
    assert check.warns
    assert "127.0.1.1 kvmlab" in check.todo


def test_another_vm_of_its_name_is_refused(lab: Lab, there: Host, bridged: Nic) -> None:
    rest = "<memory>1024</memory><os><type>hvm</type></os>"
    domain = there.libvirt.defineXML(
        f"<domain type='kvm'><name>{lab.vm.name}</name>{rest}</domain>"
    )
    try:
        plan = lab.plan_migration(there)
        with pytest.raises(Refused, match="kvmlab-vm is the name of another VM there"):
            plan.apply()
        # libvirt says the same.
        assert "already exists with uuid" in plan.attempt()
    finally:
        domain.undefine()


def test_a_missing_bridge_is_refused(lab: Lab, there: Host, bridged: Nic) -> None:
    there.run(("ip", "link", "set", "dev", BRIDGE, "name", "other"), timeout_sec=60)
    try:
        with pytest.raises(Refused, match=f"bridge {BRIDGE} is missing"):
            lab.plan_migration(there).apply()
    finally:
        there.run(("ip", "link", "set", "dev", "other", "name", BRIDGE), timeout_sec=60)


def test_a_migration_that_takes_too_long_is_cancelled(lab: Lab, there: Host, bridged: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)
    plan = lab.plan_migration(there, options=MigrationOptions(bandwidth_mib=1, timeout_sec=5))
    with pytest.raises(StepFailed, match="was cancelled"):
        lab.migrate(plan, bridged, traffic="sends")
    assert_as_before(lab, uptime)
    # Nobody would end what it went on sending.
    line = "cat /proc/[0-9]*/comm"
    programs = lab.vm.agent.run(("sh", "-c", line), timeout_sec=60, check=False).stdout.split()
    assert "ping" not in programs


def test_a_destination_without_memory(lab: Lab, there: Host, bridged: Nic) -> None:
    uptime = uptime_of_vm(lab.vm)
    with (
        memory_taken(lab.host),
        pytest.raises(StepFailed, match="did not migrate") as caught,
    ):
        lab.plan_migration(there).apply()
    assert "memory" in caught.value.evidence
    assert_as_before(lab, uptime)


@pytest.mark.parametrize("line", BREAKAGES.values(), ids=BREAKAGES)
def test_what_breaks_meanwhile(lab: Lab, there: Host, bridged: Nic, line: str) -> None:
    uptime = uptime_of_vm(lab.vm)
    breakage = Breakage(lab.host, line)
    options = MigrationOptions(bandwidth_mib=8)
    with pytest.raises(StepFailed):
        lab.plan_migration(there, options=options).apply(on_job=breakage.on_job)
    assert breakage.done.is_set()
    assert_as_before(lab, uptime)


def test_a_libvirtd_of_host_b_that_dies_after_the_arrival(
    lab: Lab, there: Host, bridged: Nic
) -> None:
    uptime = uptime_of_vm(lab.vm)
    migration = lab.plan_migration(there).apply()
    lab.host.run(("sh", "-c", LIBVIRTD_OF_B), timeout_sec=60)
    migration.revert()
    assert_as_before(lab, uptime)
