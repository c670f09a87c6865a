"""Post-copy that breaks: the VM runs at host B, and a part of its memory is still on host A.

A series of a quarter of an hour, which CI leaves out: `pytest tests/migration -m series`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from kvmlab import Lab
from kvmlab.changes import Nic, leftovers
from kvmlab.changes.second_host import FOLDER
from kvmlab.domain import TestVM
from kvmlab.errors import StepFailed
from kvmlab.hosts import Host
from kvmlab.migration import MemoryLoad, MigrationOptions, written_memory
from kvmlab.migration.plan import OnJob
from tests.migration.breakage import (
    BREAKAGES,
    STREAM,
    Breakage,
    memory_follows,
    runs_in_post_copy,
)
from tests.migration.host_state import assert_as_before, boot_of_vm, uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.series, pytest.mark.timeout(900)]

#: More than a stop of 300 ms moves is written in each round. What is left follows at 2 MiB/s, and
#: sooner where the VM touches it: at twice these rates all was there before a busy machine looked.
OPTIONS: Final = MigrationOptions(bandwidth_mib=16, post_copy=True, post_copy_bandwidth_mib=2)
LOAD: Final = MemoryLoad(8, 96)
QEMU: Final = "kill -9 $(cat /run/libvirt/qemu/kvmlab-vm.pid)"


@pytest.fixture
def bridged(lab: Lab, there: Host) -> Iterator[Nic]:
    """Give the VM a virtio NIC on the bridge; one that is started anew has lost it."""
    with lab.plan_migratable("virtio-vhost").applied(lab.vm) as nic:
        yield nic


def migrate(lab: Lab, there: Host, on_job: OnJob) -> None:
    """Migrate the VM with post-copy; one that arrives nevertheless comes home."""
    with lab.plan_migration(there, options=OPTIONS).applied(on_job=on_job):
        pass


def breaking(lab: Lab, there: Host, line: str, *, on: Host | None = None) -> Breakage:
    """Return a breakage that is due once the VM has gone on at the destination."""
    return Breakage(on or lab.host, line, memory_follows(there, lab.vm.name))


@pytest.mark.parametrize("line", BREAKAGES.values(), ids=BREAKAGES)
def test_its_memory_follows_and_it_comes_home(
    lab: Lab, there: Host, bridged: Nic, line: str
) -> None:
    uptime = uptime_of_vm(lab.vm)
    breakage = breaking(lab, there, line)
    with written_memory(LOAD, lab.vm):
        with pytest.raises(StepFailed) as caught:
            migrate(lab, there, breakage.on_job)
        assert breakage.done.is_set()
        assert "started anew" not in str(caught.value)
        assert_as_before(lab, uptime)
    assert leftovers(lab.host) == ()


def test_a_caller_that_gives_up(lab: Lab, there: Host, bridged: Nic) -> None:
    class GivenUp(Exception):
        pass

    follows = memory_follows(there, lab.vm.name)

    def give_up(job: Mapping[str, Any]) -> None:
        if follows(job):
            raise GivenUp

    uptime = uptime_of_vm(lab.vm)
    with written_memory(LOAD, lab.vm):
        with pytest.raises(GivenUp):
            migrate(lab, there, give_up)
        assert_as_before(lab, uptime)
    assert leftovers(lab.host) == ()


def assert_that_its_loss_is_told(lab: Lab, there: Host, breakage: Breakage, reason: str) -> None:
    """Break post-copy for good; assert that the VM runs, and that its user is told of its loss."""
    boot = boot_of_vm(lab.vm)
    with pytest.raises(StepFailed) as caught, written_memory(LOAD, lab.vm):
        migrate(lab, there, breakage.on_job)
    assert breakage.done.is_set()
    anew = f"kvmlab-vm was started anew on {lab.host.label}, without what it had in memory: "
    assert f"{anew}{reason}" in str(caught.value)
    assert "has come home with all" not in str(caught.value)
    lab.vm.handle = TestVM.find(lab.host).handle
    assert lab.vm.state == "running"
    lab.vm.agent.ping(timeout_sec=300)
    assert boot_of_vm(lab.vm) != boot
    assert leftovers(lab.host) == ()


def test_its_qemu_at_home_is_lost(lab: Lab, there: Host, bridged: Nic) -> None:
    breakage = breaking(lab, there, QEMU)
    reason = f"its QEMU on {lab.host.label} has ended in post-copy"
    assert_that_its_loss_is_told(lab, there, breakage, reason)


def test_its_qemu_at_the_destination_is_lost(lab: Lab, there: Host, bridged: Nic) -> None:
    breakage = breaking(lab, there, QEMU, on=there)
    reason = f"its QEMU on {there.label}, where it had gone on in post-copy, has ended"
    assert_that_its_loss_is_told(lab, there, breakage, reason)


def test_a_destination_that_takes_no_new_connection(lab: Lab, there: Host, bridged: Nic) -> None:
    breakage = breaking(lab, there, f"rm {FOLDER}/migration.sock; {STREAM}")
    reason = f"post-copy broke off, and its QEMU on {there.label} takes no new connection"
    assert_that_its_loss_is_told(lab, there, breakage, reason)


def test_a_stream_that_breaks_at_once(lab: Lab, there: Host, bridged: Nic) -> None:
    # Before 4 MiB have followed: QEMU there may wait for a page itself, and take no connection.
    boot = boot_of_vm(lab.vm)
    breakage = Breakage(lab.host, STREAM, lambda _: runs_in_post_copy(there, lab.vm.name))
    with pytest.raises(StepFailed) as caught, written_memory(LOAD, lab.vm):
        migrate(lab, there, breakage.on_job)
    assert breakage.done.is_set()
    lab.vm.handle = TestVM.find(lab.host).handle
    assert lab.vm.state == "running"
    lab.vm.agent.ping(timeout_sec=300)
    # Either way its user is told which of the two it was.
    text = str(caught.value)
    kept = "It has come home with all of its memory." in text
    assert kept != ("was started anew" in text)
    assert (boot_of_vm(lab.vm) == boot) == kept
    assert leftovers(lab.host) == ()
