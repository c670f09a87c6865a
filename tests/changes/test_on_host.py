"""Changes on the embedded host: each scheme works and leaves nothing, whatever happens."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes import ConfigureGuest, leftovers, prepared
from kvmlab.domain import Domain, TestVM
from kvmlab.errors import Refused, StepFailed, Unavailable
from kvmlab.facts import HostFacts, inspect
from kvmlab.schemes import FullEmulation, Scheme, Virtio

if TYPE_CHECKING:
    from kvmlab.hosts import Host

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

SCHEMES = [Virtio(), FullEmulation("e1000e"), FullEmulation("e1000")]
DRIVERS = {"virtio-qemu": "virtio_net", "e1000": "e1000", "e1000e": "e1000e"}


def snapshot(host: Host, vm: TestVM) -> tuple[object, ...]:
    """Read everything that a change could leave behind, on the host and in the VM."""
    addresses = json.loads(host.run(("ip", "-j", "-d", "address"), timeout_sec=60).stdout)
    links = {
        link["ifname"]: (
            link["address"],
            link["mtu"],
            "UP" in link["flags"],
            link.get("master"),
            link["promiscuity"],
            [(entry["local"], entry["prefixlen"]) for entry in link["addr_info"]],
        )
        for link in addresses
    }
    interfaces = [interface.xml() for interface in Domain.parse(vm.xml()).interfaces]
    inside = vm.agent.run(("ls", "/sys/class/net"), timeout_sec=60).stdout.split()
    return links, interfaces, inside


@pytest.fixture
def facts(host: Host) -> HostFacts:
    return inspect(host, prove_kvm=False)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.id)
def test_a_scheme_works_and_leaves_nothing(
    scheme: Scheme, facts: HostFacts, host: Host, vm: TestVM
) -> None:
    before = snapshot(host, vm)
    plan = scheme.plan(facts, vm=vm)
    with plan.applied(vm) as nic:
        assert nic.guest_driver == DRIVERS[scheme.id]
        assert nic.host_device is not None
        during = inspect(host, prove_kvm=False)
        tap = during.link(nic.host_device)
        assert tap is not None
        assert tap.master == "kvmlab0"
        ping = vm.agent.run(("ping", "-c", "2", nic.peer_ip), timeout_sec=60)
        assert " 0% packet loss" in ping.stdout
        inside = vm.agent.run(("ip", "address", "show", nic.guest_interface), timeout_sec=60)
        assert nic.mac in inside.stdout
        assert nic.vm_address in inside.stdout
        assert leftovers(host) == ()
    assert snapshot(host, vm) == before
    assert leftovers(host) == ()


def test_schemes_take_turns_over_one_bridge(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = snapshot(host, vm)
    plans = [Virtio().plan(facts, vm=vm), FullEmulation("e1000e").plan(facts, vm=vm)]
    with prepared(*plans, vm=vm):
        index = inspect(host, prove_kvm=False).link("kvmlab0")
        for plan in (*plans, *reversed(plans)):
            with plan.applied(vm) as nic:
                assert nic.scheme == plan.scheme
        assert inspect(host, prove_kvm=False).link("kvmlab0") == index
    assert snapshot(host, vm) == before


def test_a_failing_cell_leaves_nothing(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = snapshot(host, vm)

    def cell() -> None:
        with Virtio().plan(facts, vm=vm).applied(vm):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cell()
    assert snapshot(host, vm) == before


def test_a_peer_that_does_not_answer(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = snapshot(host, vm)
    assert host.cable is not None
    deaf = replace(host.cable, peer_address="192.0.2.99/24")
    plan = Virtio().plan(facts, cable=deaf, vm=vm)
    patient = plan.steps[-1]
    assert isinstance(patient, ConfigureGuest)
    short = replace(plan, steps=(*plan.steps[:-1], replace(patient, timeout_sec=3)))
    with pytest.raises(StepFailed, match="could not be used inside") as caught:
        short.apply(vm)
    assert "failed: an answer from 192.0.2.99" in caught.value.evidence
    assert snapshot(host, vm) == before


def test_a_port_with_vfs(host: Host, vm: TestVM) -> None:
    path = "/sys/class/net/p2p1/device/sriov_numvfs"
    host.run(("tee", path), input_text="1\n", timeout_sec=60, root=True)
    try:
        with pytest.raises(Unavailable) as caught:
            Virtio().plan(inspect(host, prove_kvm=False), vm=vm)
        assert caught.value.rule == "bridge-on-port-with-vfs"
    finally:
        host.run(("tee", path), input_text="0\n", timeout_sec=60, root=True)


def test_the_management_port_is_not_touched(facts: HostFacts, host: Host, vm: TestVM) -> None:
    assert host.cable is not None
    plan = Virtio().plan(facts, cable=replace(host.cable, port="mgmt0"), vm=vm)
    with pytest.raises(Refused, match="mgmt0"):
        plan.apply(vm)
    assert inspect(host, prove_kvm=False).link("kvmlab0") is None


def test_a_port_that_was_down_is_down_again(host: Host, vm: TestVM) -> None:
    host.run(("ip", "link", "set", "dev", "p2p1", "down"), timeout_sec=60, root=True)
    try:
        before = snapshot(host, vm)
        with Virtio().plan(inspect(host, prove_kvm=False), vm=vm).applied(vm):
            pass
        assert snapshot(host, vm) == before
    finally:
        host.run(("ip", "link", "set", "dev", "p2p1", "up"), timeout_sec=60, root=True)


def test_the_vm_dies_under_a_change(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = snapshot(host, vm)
    change = Virtio().plan(facts, vm=vm).apply(vm)
    host.run(("kill", "-9", str(vm.pid())), timeout_sec=60, root=True)
    change.revert()
    assert inspect(host, prove_kvm=False).link("kvmlab0") is None
    TestVM.ensure(host, vm.name)
    assert snapshot(host, vm) == before
