"""Live migration of a VM with a VF as it is, which is refused, and with a macvtap on one."""

from __future__ import annotations

import re

import pytest

from kvmlab import Lab
from kvmlab.errors import Refused
from kvmlab.hosts import Host

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]
#: The peer's hole may be longer than libvirt's downtime by no more than this.
BEYOND_DOWNTIME_MS = 200


def test_a_vf_as_it_is_is_refused(lab: Lab, there: Host) -> None:
    with lab.plan_migratable("sriov-vf").applied(lab.vm):
        plan = lab.plan_migration(there)
        assert any("hardware" in check.message for check in plan.failed), str(plan)
        with pytest.raises(Refused, match="cannot migrate"):
            plan.apply()
        assert re.search("host dev|hostdev|VFIO", plan.attempt())
        assert lab.vm.state == "running"
    lab.vm.agent.ping(timeout_sec=60)


def test_macvtap_on_a_vf(lab: Lab, there: Host) -> None:
    with lab.plan_migratable("macvtap-on-vf").applied(lab.vm) as nic:
        result = lab.migrate(lab.plan_migration(there), nic)
    assert result.hole_ms < result.downtime_ms + BEYOND_DOWNTIME_MS
    assert result.duplicates == 0
