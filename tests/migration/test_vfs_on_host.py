"""Live migration of a VM with a VF as it is, which is refused, and with a macvtap on one."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import pytest

from kvmlab import Lab
from kvmlab.errors import Refused
from kvmlab.hosts import Host
from kvmlab.lab.embedded_host import EMBEDDED_CABLE
from kvmlab.schemes import SriovVf

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]
#: The peer's hole may be longer than libvirt's downtime by no more than this.
BEYOND_DOWNTIME_MS = 200


@pytest.mark.parametrize("how", ["interface", "network"])
def test_a_vf_as_it_is_is_refused(
    lab: Lab, there: Host, how: Literal["interface", "network"]
) -> None:
    # Of one that a network has given to the VM, its migratable XML has the network's name only.
    cable = replace(lab.migration_cable, port=EMBEDDED_CABLE.port)
    with SriovVf(vfs=1, how=how).plan(lab.facts, cable=cable, vm=lab.vm).applied(lab.vm):
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
