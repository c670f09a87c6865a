"""Changes on the embedded host: each scheme works and leaves nothing, whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes import ConfigureGuest, leftovers, prepared, restore
from kvmlab.domain import Domain, TestVM
from kvmlab.errors import Refused, StepFailed, Unavailable
from kvmlab.facts import HostFacts, inspect
from kvmlab.schemes import FullEmulation, Scheme, Virtio

if TYPE_CHECKING:
    from kvmlab.hosts import Host
    from kvmlab.lab import Lab

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

SCHEMES = [Virtio(), FullEmulation("e1000e"), FullEmulation("e1000")]
DRIVERS = {"virtio-qemu": "virtio_net", "e1000": "e1000", "e1000e": "e1000e"}


def seen(host: Host, vm: TestVM) -> tuple[object, ...]:
    """Everything that a change could leave behind, on the host and in the VM."""
    told = json.loads(host.run(("ip", "-j", "-d", "address"), timeout_sec=60).stdout)
    links = {
        link["ifname"]: (
            link["address"],
            link["mtu"],
            "UP" in link["flags"],
            link.get("master"),
            link["promiscuity"],
            [(entry["local"], entry["prefixlen"]) for entry in link["addr_info"]],
        )
        for link in told
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
    before = seen(host, vm)
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
    assert seen(host, vm) == before
    assert leftovers(host) == ()


def test_schemes_take_turns_over_one_bridge(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = seen(host, vm)
    plans = [Virtio().plan(facts, vm=vm), FullEmulation("e1000e").plan(facts, vm=vm)]
    with prepared(*plans, vm=vm):
        index = inspect(host, prove_kvm=False).link("kvmlab0")
        for plan in (*plans, *reversed(plans)):
            with plan.applied(vm) as nic:
                assert nic.scheme == plan.scheme
        assert inspect(host, prove_kvm=False).link("kvmlab0") == index
    assert seen(host, vm) == before


def test_a_failing_cell_leaves_nothing(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = seen(host, vm)

    def cell() -> None:
        with Virtio().plan(facts, vm=vm).applied(vm):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cell()
    assert seen(host, vm) == before


def test_a_peer_that_does_not_answer(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = seen(host, vm)
    assert host.wire is not None
    deaf = replace(host.wire, peer_address="192.0.2.99/24")
    plan = Virtio().plan(facts, wire=deaf, vm=vm)
    patient = plan.steps[-1]
    assert isinstance(patient, ConfigureGuest)
    short = replace(plan, steps=(*plan.steps[:-1], replace(patient, timeout_sec=3)))
    with pytest.raises(StepFailed, match="could not be used inside") as caught:
        short.apply(vm)
    assert "failed: an answer from 192.0.2.99" in caught.value.evidence
    assert seen(host, vm) == before


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
    assert host.wire is not None
    plan = Virtio().plan(facts, wire=replace(host.wire, port="mgmt0"), vm=vm)
    with pytest.raises(Refused, match="mgmt0"):
        plan.apply(vm)
    assert inspect(host, prove_kvm=False).link("kvmlab0") is None


def test_a_port_that_was_down_is_down_again(host: Host, vm: TestVM) -> None:
    host.run(("ip", "link", "set", "dev", "p2p1", "down"), timeout_sec=60, root=True)
    try:
        before = seen(host, vm)
        with Virtio().plan(inspect(host, prove_kvm=False), vm=vm).applied(vm):
            pass
        assert seen(host, vm) == before
    finally:
        host.run(("ip", "link", "set", "dev", "p2p1", "up"), timeout_sec=60, root=True)


def test_the_vm_dies_under_a_change(facts: HostFacts, host: Host, vm: TestVM) -> None:
    before = seen(host, vm)
    change = Virtio().plan(facts, vm=vm).apply(vm)
    host.run(("kill", "-9", str(vm.pid())), timeout_sec=60, root=True)
    change.revert()
    assert inspect(host, prove_kvm=False).link("kvmlab0") is None
    TestVM.ensure(host, vm.name)
    assert seen(host, vm) == before


@pytest.fixture
def coordinates(lab: Lab, facts: HostFacts, tmp_path: Path) -> Path:
    """How another process reaches the same host, and what it shall do there."""
    lease = lab._lease
    assert lease is not None
    plan = Virtio().plan(facts, wire=lab.wire, vm=lab.vm)
    path = tmp_path / "coordinates.json"
    path.write_text(
        json.dumps(
            {
                "spec": lab.host.spec,
                "ssh": {
                    "address": lease.address,
                    "port": lease.port,
                    "user": lease.user,
                    "key": str(lease.key_path),
                    "known_hosts": str(lease.known_hosts),
                },
                "plan": {
                    **vars(plan),
                    "steps": [step.to_dict() for step in plan.steps],
                },
            }
        )
    )
    return path


def die(coordinates: Path, moment: int, repository: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "tests.changes.dying_on_host", str(coordinates), str(moment)),
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.timeout(1200)
def test_killed_at_every_moment(
    coordinates: Path, repository: Path, facts: HostFacts, host: Host, vm: TestVM
) -> None:
    before = seen(host, vm)
    whole = die(coordinates, -1, repository)
    assert whole.returncode == 0, whole.stderr
    moments = json.loads(whole.stdout)
    assert {"attach", "attached", "configuring", "in use", "detach", "detached"} <= set(moments)
    assert seen(host, vm) == before
    for number, name in enumerate(moments):
        done = die(coordinates, number, repository)
        assert done.returncode == -9, (name, done.stderr)
        left, said = leftovers(host), restore(host)
        assert seen(host, vm) == before, (number, name)
        assert not said or left, (number, name)
        assert not leftovers(host), (number, name)
        assert not restore(host), (number, name)
    after = inspect(host, prove_kvm=False)
    assert (after.links, after.ports) == (facts.links, facts.ports)
