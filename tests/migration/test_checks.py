"""Checks before a migration: what the hardware that a VM holds means for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kvmlab.migration.checks import check_devices

VF = """<domain><devices>
  <interface type='bridge'><alias name='net0'/></interface>
  <interface type='hostdev'><alias name='hostdev0'/>
    <source><address type='pci' domain='0x0000' bus='0x3b' slot='0x02' function='0x1'/></source>
    {teaming}
  </interface>
</devices></domain>"""


def vm_with_vf(driver: str, teaming: str = "") -> Any:
    """Return a VM with a VF at ``driver`` of its host."""

    def run(argv: tuple[str, ...], **_: object) -> SimpleNamespace:
        assert argv == ("readlink", "/sys/bus/pci/devices/0000:3b:02.1/driver")
        return SimpleNamespace(stdout=f"../../../../bus/pci/drivers/{driver}\n")

    text = VF.format(teaming=teaming)
    return SimpleNamespace(xml=lambda: text, host=SimpleNamespace(run=run))


def test_a_vf_at_vfios_own_driver_stops_a_migration() -> None:
    (check,) = check_devices(vm_with_vf("vfio-pci"))
    assert (check.name, check.passed, check.warns) == ("device hostdev0", False, False)
    assert "libvirt refuses to migrate it" in check.message


@pytest.mark.parametrize("driver", ["mlx5_vfio_pci", "pds-vfio-pci"])
def test_a_vf_at_its_vendors_driver_may_migrate(driver: str) -> None:
    (check,) = check_devices(vm_with_vf(driver))
    assert check.warns
    assert f"its vendor's driver {driver}" in check.message
    assert "same driver" in check.todo


def test_libvirt_unplugs_the_vf_of_a_team() -> None:
    teaming = "<teaming type='transient' persistent='ua-standby'/>"
    assert list(check_devices(vm_with_vf("vfio-pci", teaming))) == []
