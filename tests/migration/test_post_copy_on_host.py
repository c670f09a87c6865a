"""Post-copy that breaks: the VM runs at host B, and a part of its memory is still on host A."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from kvmlab import Lab
from kvmlab.changes import Nic, leftovers
from kvmlab.domain import TestVM
from kvmlab.errors import StepFailed
from kvmlab.hosts import Host
from kvmlab.migration import MemoryLoad, MigrationOptions, written_memory
from tests.migration.breakage import BREAKAGES, Breakage, runs_in_post_copy
from tests.migration.host_state import assert_as_before, uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]

#: More than a stop of 300 ms moves is written in each round, and what is left takes 8 s to follow.
OPTIONS: Final = MigrationOptions(bandwidth_mib=32, post_copy=True, post_copy_bandwidth_mib=4)
LOAD: Final = MemoryLoad(24, 32)
QEMU: Final = "kill -9 $(cat /run/libvirt/qemu/kvmlab-vm.pid)"


@pytest.fixture(scope="module")
def bridged(lab: Lab, there: Host) -> Iterator[Nic]:
    """Give the VM a virtio NIC on the bridge for the tests of this module."""
    with lab.plan_migratable("virtio-vhost").applied(lab.vm) as nic:
        yield nic


def breaking(lab: Lab, there: Host, line: str, *, on: Host | None = None) -> Breakage:
    """Return a breakage that is due once the VM has gone on at the destination."""
    return Breakage(on or lab.host, line, lambda _job: runs_in_post_copy(there, lab.vm.name))


#: What docs/migration.md says does not hold yet: not run, since it leaves the VM of all tests lost.
FAILS: Final = pytest.mark.xfail(reason="post-copy that breaks is not mended each time", run=False)
LINES: Final = [
    pytest.param(line, id=name, marks=[FAILS] if name == "the stream" else [])
    for name, line in BREAKAGES.items()
]


@pytest.mark.parametrize("line", LINES)
def test_its_memory_follows_and_it_comes_home(
    lab: Lab, there: Host, bridged: Nic, line: str
) -> None:
    uptime = uptime_of_vm(lab.vm)
    breakage = breaking(lab, there, line)
    with written_memory(LOAD, lab.vm):
        with pytest.raises(StepFailed):
            lab.plan_migration(there, options=OPTIONS).apply(on_job=breakage.on_job)
        assert breakage.done.is_set()
        assert_as_before(lab, uptime)
    assert leftovers(lab.host) == ()


@FAILS
def test_a_caller_that_gives_up(lab: Lab, there: Host, bridged: Nic) -> None:
    class GivenUp(Exception):
        pass

    def give_up(_job: Mapping[str, Any]) -> None:
        if runs_in_post_copy(there, lab.vm.name):
            raise GivenUp

    uptime = uptime_of_vm(lab.vm)
    with written_memory(LOAD, lab.vm):
        with pytest.raises(GivenUp):
            lab.plan_migration(there, options=OPTIONS).apply(on_job=give_up)
        assert_as_before(lab, uptime)
    assert leftovers(lab.host) == ()


@FAILS
@pytest.mark.parametrize("lost", ["A", "B"])
def test_either_half_is_lost(lab: Lab, there: Host, bridged: Nic, lost: str) -> None:
    uptime = uptime_of_vm(lab.vm)
    breakage = breaking(lab, there, QEMU, on=there if lost == "B" else None)
    with pytest.raises(StepFailed), written_memory(LOAD, lab.vm):
        lab.plan_migration(there, options=OPTIONS).apply(on_job=breakage.on_job)
    assert breakage.done.is_set()
    lab.vm.handle = TestVM.find(lab.host).handle
    assert lab.vm.state == "running"
    lab.vm.agent.ping(timeout_sec=120)
    # It could not be saved, and has been started anew.
    assert uptime_of_vm(lab.vm) < uptime
    assert leftovers(lab.host) == ()
