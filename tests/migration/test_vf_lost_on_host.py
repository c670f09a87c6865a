"""`sriov_numvfs=0` while a VM has a VF in a team: under it on host A, and before it on host B.

Both leave a host without VFs, so each has a second host and a team of its own.
"""

from __future__ import annotations

import pytest

from kvmlab import Lab
from kvmlab.changes import leftovers
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.lab.embedded_host import EMBEDDED_CABLE, EMBEDDED_NIC_CABLE, SECOND_HOST_PF
from kvmlab.migration import MigrationOptions
from kvmlab.migration.team import STANDBY_ALIAS, VF_ALIAS
from tests.migration.breakage import Breakage
from tests.migration.host_state import assert_as_before, state_of, uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]


def no_vfs(lab: Lab, port: str) -> str:
    """Return the command that takes the VFs of a port away."""
    address = lab.facts.port(port).address
    return f"echo 0 >/sys/bus/pci/devices/{address}/sriov_numvfs"


def drivers_in(vm: TestVM) -> list[str]:
    """Return the drivers of the VM's network cards, as its kernel has them."""
    line = "for link in /sys/class/net/*/device/driver; do readlink $link; done"
    paths = vm.agent.run(("sh", "-c", line), timeout_sec=60, check=False).stdout.split()
    return sorted({path.rpartition("/")[2] for path in paths})


def assert_that_the_peer_is_reached(vm: TestVM) -> None:
    """Let the VM ping its peer, by whichever card it has."""
    peer = EMBEDDED_NIC_CABLE.peer_address.partition("/")[0]
    vm.agent.run(("ping", "-q", "-c", "3", "-w", "20", peer), timeout_sec=120)


def test_the_vf_is_taken_away_under_the_vm(lab: Lab) -> None:
    _ = lab.vm
    before = state_of(lab.host)
    with lab.second_host(with_vfs=True) as there:
        uptime = uptime_of_vm(lab.vm)
        with lab.plan_migratable("vf-teaming").applied(lab.vm):
            lab.host.run(("sh", "-c", no_vfs(lab, EMBEDDED_CABLE.port)), timeout_sec=120)
            until(lambda: not lab.vm.has_device(VF_ALIAS), timeout_sec=60, what="The unplug")
            assert_that_the_peer_is_reached(lab.vm)
            # It moves without a VF, and comes home without one.
            with lab.plan_migration(there).applied() as migration:
                assert migration.vm.state == "running"
            assert_as_before(lab, uptime)
            assert lab.vm.has_device(STANDBY_ALIAS)
            assert_that_the_peer_is_reached(lab.vm)
    assert state_of(lab.host) == before
    assert leftovers(lab.host) == ()


def test_the_vf_that_it_was_to_get_is_taken_away(lab: Lab) -> None:
    before = state_of(lab.host)
    with lab.second_host(with_vfs=True) as there:
        uptime = uptime_of_vm(lab.vm)
        with lab.plan_migratable("vf-teaming").applied(lab.vm):
            breakage = Breakage(lab.host, no_vfs(lab, SECOND_HOST_PF))
            options = MigrationOptions(bandwidth_mib=16)
            plan = lab.plan_migration(there, options=options)
            with plan.applied(on_job=breakage.on_job) as migration:
                assert breakage.done.is_set()
                assert migration.vm.state == "running"
                # Libvirt still lists the VF; QEMU had none to plug in, and the VM does without.
                assert "arrived on embedded host B without its VF" in migration.note
                assert drivers_in(migration.vm) == ["virtio_net"]
                assert_that_the_peer_is_reached(migration.vm)
            assert_as_before(lab, uptime)
            until(lambda: "igbvf" in drivers_in(lab.vm), timeout_sec=60, what="The VF")
            assert_that_the_peer_is_reached(lab.vm)
    assert state_of(lab.host) == before
    assert leftovers(lab.host) == ()
