"""Every scheme on the embedded host: it works as described, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes import (
    Channels,
    HostStep,
    Plan,
    install,
    leftovers,
    read_channels,
    set_channels,
    uninstall,
)
from kvmlab.domain import HostDevice, TestVM, node_device, node_tree
from kvmlab.domain.interface import alias_for
from kvmlab.errors import StepFailed, Unavailable
from kvmlab.facts import HostFacts, inspect
from kvmlab.schemes import Macvtap, PciPassthrough, Scheme, SriovVf, Virtio, persistence

if TYPE_CHECKING:
    from kvmlab.hosts import Host

pytestmark = [pytest.mark.host, pytest.mark.minutes(4), pytest.mark.timeout(600)]

PF = "/sys/bus/pci/devices/0000:0b:00.0"


@dataclass(frozen=True)
class Expected:
    """The state of the host and the VM that a scheme gives while it is applied."""

    scheme: Scheme
    guest_driver: str
    workers: int = 0
    device_kind: str | None = None
    vfs: int = 0

    def __str__(self) -> str:
        return self.scheme.id


SCHEMES = [
    Expected(Virtio(backend="vhost"), "virtio_net", 1, "tun"),
    Expected(Virtio(backend="vhost", queues=2, channels=1), "virtio_net", 2, "tun"),
    Expected(Macvtap(), "virtio_net", 1, "macvtap"),
    Expected(Macvtap(backend="qemu"), "virtio_net", 0, "macvtap"),
    Expected(Macvtap(mode="vepa", trust_guest_rx_filters=True), "virtio_net", 1, "macvtap"),
    Expected(Macvtap(mode="private"), "virtio_net", 1, "macvtap"),
    Expected(Macvtap(mode="passthrough"), "virtio_net", 1, "macvtap"),
    Expected(Macvtap(model="e1000e"), "e1000e", 0, "macvtap"),
    Expected(PciPassthrough(group="take"), "e1000e"),
    Expected(PciPassthrough(group="take", managed=False), "e1000e"),
    Expected(SriovVf(), "igbvf", vfs=7),
    Expected(SriovVf(how="hostdev", vfs=2, vf=1, trust=True), "igbvf", vfs=2),
    Expected(SriovVf(how="network", vfs=1), "igbvf", vfs=1),
    Expected(SriovVf(way="max_vfs"), "igbvf", vfs=14),
]


def host_state(host: Host) -> tuple[object, ...]:
    """Return everything that a scheme could leave changed, except the carrier of links."""
    facts = inspect(host, prove_kvm=False)
    links = sorted(
        (link.netns or "", link.name, link.up, link.mtu, link.mac, link.master, link.addresses)
        for link in facts.links
    )
    ports = [
        (
            port.address,
            port.driver,
            port.driver_override,
            port.names,
            port.netns,
            port.sriov_numvfs,
            port.sriov_drivers_autoprobe,
        )
        for port in facts.ports
    ]
    networks = host.run(("virsh", "net-list", "--name"), timeout_sec=60).stdout.split()
    return links, ports, networks


def pings(vm: TestVM, address: str) -> bool:
    words = ("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", address)
    return vm.agent.run(words, timeout_sec=90, check=False).returncode == 0


@pytest.fixture
def facts(host: Host) -> HostFacts:
    return inspect(host, prove_kvm=False)


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """Check that the host is afterwards as it was."""
    before = host_state(host)
    yield
    assert host_state(host) == before
    assert leftovers(host) == ()


@pytest.mark.parametrize("expected", SCHEMES, ids=str)
def test_a_scheme_works_as_described(
    expected: Expected, facts: HostFacts, host: Host, vm: TestVM
) -> None:
    workers = len(vm.threads().vhost)
    with expected.scheme.plan(facts, vm=vm).applied(vm) as nic:
        assert nic.guest_driver == expected.guest_driver
        assert len(vm.threads().vhost) - workers == expected.workers
        assert pings(vm, nic.peer_ip)
        during = inspect(host, prove_kvm=False)
        assert sum(port.vf_of is not None for port in during.ports) == expected.vfs
        device = during.link(nic.host_device) if nic.host_device else None
        assert (device.kind if device else None) == expected.device_kind
        if expected.device_kind == "macvtap":
            assert device is not None
            assert device.parent == "p2p1"
            assert not during.bridges


def test_a_group_is_not_taken_unasked(facts: HostFacts, vm: TestVM) -> None:
    with pytest.raises(Unavailable, match="group is not viable") as caught:
        PciPassthrough().plan(facts, vm=vm)
    assert caught.value.rule == "group-not-viable"


def test_the_card_is_gone_and_comes_back_as_it_was(host: Host, vm: TestVM) -> None:
    address = ("192.0.2.129/25", "dev", "p1p1")
    host.run(("ip", "address", "add", *address), timeout_sec=60, root=True)
    host.run(("ip", "link", "set", "dev", "p1p2", "down", "mtu", "1400"), timeout_sec=60, root=True)
    try:
        with pytest.raises(Unavailable, match=r"p1p1 .*is in use: 192\.0\.2\.129/25"):
            PciPassthrough(group="take").plan(inspect(host, prove_kvm=False), vm=vm)
        host.run(("ip", "address", "delete", *address), timeout_sec=60, root=True)
        before = host_state(host)
        plan = PciPassthrough(group="take").plan(inspect(host, prove_kvm=False), vm=vm)
        with plan.applied(vm):
            during = inspect(host, prove_kvm=False)
            assert during.link("p1p1") is None
            assert during.link("p1p2") is None
            assert during.port("0000:04:00.0").driver == "vfio-pci"
        assert host_state(host) == before
    finally:
        host.run(("ip", "address", "delete", *address), timeout_sec=60, root=True, check=False)
        back = ("ip", "link", "set", "dev", "p1p2", "up", "mtu", "1500")
        host.run(back, timeout_sec=60, root=True)


def test_vhost_is_verified_after_attaching(facts: HostFacts, host: Host, vm: TestVM) -> None:
    """The module is loaded, its node is gone: QEMU would move the packets."""
    plan = Virtio(backend="vhost").plan(facts, vm=vm)
    host.run(("mv", "/dev/vhost-net", "/dev/hidden"), timeout_sec=60, root=True)
    try:
        with pytest.raises(Unavailable) as caught:
            plan.apply(vm)
        assert caught.value.rule == "vhost-net-missing"
    finally:
        host.run(("mv", "/dev/hidden", "/dev/vhost-net"), timeout_sec=60, root=True)


def test_vhost_net_is_loaded_for_as_long_as_needed(host: Host, vm: TestVM) -> None:
    host.run(("modprobe", "-r", "vhost_net"), timeout_sec=60, root=True)
    try:
        plan = Virtio(backend="vhost").plan(inspect(host, prove_kvm=False), vm=vm)
        assert any("modprobe vhost_net" in step.do_text for step in plan.steps)
        with plan.applied(vm):
            assert vm.threads().vhost
        after = inspect(host, prove_kvm=False)
        assert after.modules["vhost_net"] == "available"
    finally:
        host.run(("modprobe", "vhost_net"), timeout_sec=60, root=True)


def test_the_trap_and_its_cure(facts: HostFacts, vm: TestVM) -> None:
    with Virtio(backend="vhost", with_vfs=1).plan(facts, vm=vm).applied(vm) as nic:
        assert not pings(vm, nic.peer_ip)
    cured = Virtio(backend="vhost", with_vfs=1, learning=False)
    with cured.plan(facts, vm=vm).applied(vm) as nic:
        assert pings(vm, nic.peer_ip)


def test_macvtap_keeps_host_and_vm_apart(facts: HostFacts, host: Host, vm: TestVM) -> None:
    address = ("192.0.2.77/24", "dev", "p2p1")
    host.run(("ip", "address", "add", *address), timeout_sec=60, root=True)
    try:
        with Macvtap().plan(facts, vm=vm).applied(vm) as nic:
            assert pings(vm, nic.peer_ip)
            assert not pings(vm, "192.0.2.77")
            ping = ("ping", "-n", "-q", "-c", "2", "-W", "1", nic.vm_ip)
            assert host.run(ping, timeout_sec=60, check=False).returncode != 0
    finally:
        host.run(("ip", "address", "delete", *address), timeout_sec=60, root=True)


def test_queue_pairs_step_by_step(facts: HostFacts, vm: TestVM) -> None:
    plan = Virtio(backend="vhost", queues=3, channels=1).plan(facts, vm=vm)
    with plan.applied(vm) as nic:
        assert read_channels(vm, nic) == Channels(offered=3, used=1)
        for used in (2, 3, 1):
            assert set_channels(vm, nic, used) == Channels(offered=3, used=used)
            assert pings(vm, nic.peer_ip)


def test_what_the_pf_decides_about_a_vf(facts: HostFacts, host: Host, vm: TestVM) -> None:
    scheme = SriovVf(vfs=2, vf=1, mac="52:54:00:00:00:07", spoofchk=False, trust=True, vlan=7)
    with scheme.plan(facts, vm=vm).applied(vm) as nic:
        links = json.loads(host.run(("ip", "-j", "link", "show", "p2p1"), timeout_sec=60).stdout)
        vf = links[0]["vfinfo_list"][1]
        assert (vf["address"], vf["spoofchk"], vf["trust"]) == ("52:54:00:00:00:07", False, True)
        assert vf["vlan_list"][0]["vlan"] == 7
        assert not pings(vm, nic.peer_ip), "the peer is in no VLAN"


def with_count(plan: Plan, count: int) -> Plan:
    """Return the plan with a number of VFs that its scheme would refuse."""

    def changed(step: HostStep) -> HostStep:
        write = replace(step.do[0], input_text=f"{count}\n")
        return replace(step, do=(write,), setting=replace(step.setting, after=str(count)))

    steps = tuple(
        changed(step) if isinstance(step, HostStep) and "sriov_numvfs" in step.do_text[0] else step
        for step in plan.steps
    )
    return replace(plan, steps=steps)


def test_more_vfs_than_there_can_be(facts: HostFacts, vm: TestVM) -> None:
    with pytest.raises(StepFailed, match="sriov_totalvfs is 7"):
        with_count(SriovVf().plan(facts, vm=vm), 8).apply(vm)


def test_from_the_nodedev_to_the_plan(facts: HostFacts, host: Host, vm: TestVM) -> None:
    card = node_device(host, "0000:04:00.0")
    assert card.driver == "e1000e"
    assert [str(member) for member in card.group_members] == ["0000:04:00.0", "0000:04:00.1"]
    plan = PciPassthrough(group="take").plan(facts, vm=vm)
    assert card.address is not None
    assert HostDevice.of(card.address, alias=alias_for(plan.mac)).xml() == plan.interface_xml
    assert "net_p1p1" in str(node_tree(host).with_kinds("net_"))


def test_files_for_the_next_boot(facts: HostFacts, host: Host) -> None:
    files = (
        persistence.by_modprobe(facts, "p2p1", vfs=7),
        persistence.by_systemd(facts, "p2p1", vfs=7),
        persistence.by_networkmanager(facts, "p2p1", vfs=7),
        persistence.by_modules_load("vhost_net"),
    )
    install(host, *files)
    try:
        for file in files:
            assert host.run(("cat", file.path), timeout_sec=60, root=True).stdout == file.text
        shown = host.run(("modprobe", "--showconfig"), timeout_sec=60, root=True).stdout
        assert "options igb max_vfs=7" in shown
    finally:
        uninstall(host, *files)
