"""The lab's own VM as XML, held against libvirt's own schema and libvirt's own answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvmlab.domain import (
    LAB_VM_NAME,
    Domain,
    Interface,
    LabVm,
    diff_of_attaching,
    validate,
)
from kvmlab.errors import OutputError


def test_lab_vm_is_the_golden_xml(data: Path, golden: Callable[[Path, str], None]) -> None:
    golden(data / "domain" / "lab-vm.xml", LabVm().domain().xml())


@pytest.mark.parametrize("vm", [LabVm(), LabVm(accelerator="qemu", vcpus=1, memory_mib=256)])
def test_lab_vm_fits_libvirts_schema(vm: LabVm) -> None:
    assert validate(vm.domain().xml()), "this machine has no /usr/share/libvirt/schemas"


def test_the_schema_rejects(data: Path) -> None:
    xml = LabVm().domain().xml().replace("<acpi/>", "<acpi/><nonsense/>")
    with pytest.raises(OutputError, match="schema"):
        validate(xml)


def test_without_a_schema_validate_returns_false(tmp_path: Path) -> None:
    assert validate("<domain/>", folder=tmp_path) is False


def test_the_mark_survives_libvirt(data: Path) -> None:
    """Return the lab's XML after a round trip through libvirt 11.3 on the embedded host."""
    for name in ("live", "inactive"):
        domain = Domain.parse((data / "domain" / f"{name}-{LAB_VM_NAME}.xml").read_text())
        assert domain.is_lab
        assert domain.name == LAB_VM_NAME
        assert not list(domain.interfaces)
        assert domain.hpet is False


def test_free_root_port_of_a_running_domain(data: Path) -> None:
    idle = Domain.parse((data / "domain" / "live-kvmlab-vm.xml").read_text())
    busy = Domain.parse((data / "domain" / "live-with-vhost-interface.xml").read_text())
    nic = busy.interface("52:54:00:11:22:33")
    assert nic is not None
    assert nic.pci_bus == idle.free_root_port()
    assert busy.free_root_port() not in (None, nic.pci_bus)
    assert (nic.driver, nic.source_bridge) == ("vhost", "kvmlab0")
    assert nic.target_dev is not None
    assert nic.target_dev.startswith("vnet")


def test_diff_shows_the_interface_and_nothing_else(data: Path) -> None:
    xml = (data / "domain" / "live-kvmlab-vm.xml").read_text()
    nic = Interface.on_bridge("br0", mac="52:54:00:00:00:01", model="virtio", driver="qemu")
    changed = [
        line
        for line in diff_of_attaching(xml, nic).splitlines()
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    ]
    assert [line[1:].strip() for line in changed] == [
        line.strip() for line in nic.xml().splitlines()
    ]
    assert all(line.startswith("+") for line in changed)


def test_diff_is_behind_existing_interfaces(data: Path) -> None:
    xml = (data / "domain" / "users-own.xml").read_text()
    nic = Interface.on_bridge("br0", mac="52:54:00:00:00:01", model="e1000e")
    text = diff_of_attaching(xml, nic)
    assert text.index("teaming") < text.index("52:54:00:00:00:01")


def test_diff_without_a_domain_is_the_interface() -> None:
    nic = Interface.on_bridge("br0", mac="52:54:00:00:00:01", model="e1000e")
    assert diff_of_attaching(None, nic).count("\n+") >= len(nic.xml().splitlines())
