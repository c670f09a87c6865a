"""Inspecting the embedded host itself."""

from __future__ import annotations

import pytest

from kvmlab.domain import TestVM
from kvmlab.facts import KvmProof, LinkState, inspect
from kvmlab.hosts import Host, HostKind, Recorder

pytestmark = pytest.mark.host

MOST_COMMANDS = 1


def test_the_articles_inventory(host: Host) -> None:
    facts = inspect(host)
    assert facts.kvm.usable
    assert facts.iommu.on
    for name, address, driver in (
        ("p1p1", "0000:04:00.0", "e1000e"),
        ("p1p2", "0000:04:00.1", "e1000e"),
        ("p2p1", "0000:0b:00.0", "igb"),
        ("p2p2", "0000:0b:00.1", "igb"),
        ("p3p1", "0000:05:00.0", "e1000e"),
    ):
        port = facts.port(name)
        assert (port.address, port.driver) == (address, driver)
    assert facts.port("p2p1").link is LinkState.UP
    assert facts.port("p2p2").netns == "peer"
    assert facts.port("p2p1").sriov_totalvfs == 7
    assert facts.port("p1p1").handover.in_the_way == ("0000:04:00.1",)
    assert facts.management == "mgmt0"
    assert facts.cable == host.cable
    for module in ("vhost_net", "macvtap", "tun", "bridge", "vfio_pci"):
        assert facts.modules[module] != "missing"


def test_libvirt_and_qemu(host: Host) -> None:
    facts = inspect(host).libvirt
    assert facts.problem == ""
    assert facts.capabilities is not None
    assert facts.capabilities.virt_type == "kvm"
    assert facts.capabilities.pci_hostdev
    assert facts.version is not None
    assert facts.qemu_version is not None


@pytest.mark.usefixtures("vm")
def test_a_running_vm_proves_kvm_and_few_commands_do(host: Host) -> None:
    recorder = Recorder(host.runner)
    facts = Host(
        spec=host.spec,
        kind=HostKind.EMBEDDED,
        label=host.label,
        runner=recorder,
        libvirt_uri=host.libvirt_uri,
    )
    assert inspect(facts).kvm.proof is KvmProof.GUEST
    assert recorder.count <= MOST_COMMANDS


def test_a_suspended_vm_proves_kvm_as_well(host: Host, vm: TestVM) -> None:
    vm.suspend()
    try:
        assert inspect(host).kvm.proof is KvmProof.GUEST
    finally:
        vm.resume()


def test_kvm_is_proven_by_booting_a_kernel_where_no_guest_runs(host: Host) -> None:
    alone = Host(
        spec=host.spec,
        kind=HostKind.EMBEDDED,
        label=host.label,
        runner=host.runner,
        libvirt_uri="test:///default",
        emulated=host.emulated,
    )
    assert inspect(alone).kvm.proof is KvmProof.KERNEL
