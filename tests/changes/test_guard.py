"""The guard, on inspections of real hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.changes import AttachInterface, Command, HostStep, Setting, check, protected_interfaces
from kvmlab.changes.guard import Refusal, refuse
from kvmlab.domain import TestVM
from kvmlab.errors import Refused
from kvmlab.facts import HostFacts, inspect
from kvmlab.facts.connections import Connections
from kvmlab.facts.management import find_management
from kvmlab.hosts import Cable
from kvmlab.schemes import SriovVf
from tests.facts.recorded_host import load


@pytest.fixture
def facts(data: Path) -> HostFacts:
    """Inspect the embedded host at rest."""
    return inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)


def touching(*names: str) -> HostStep:
    setting = Setting("/sys/x", None, "1")
    return HostStep("Touch it.", setting, (Command(("true",)),), (), touches=names)


def test_the_management_interface_and_its_nic_are_protected(facts: HostFacts) -> None:
    protected = protected_interfaces(facts)
    assert "mgmt0" in protected
    assert "p2p1" not in protected
    card = facts.port("mgmt0")
    assert card.address in protected
    for step in (touching("mgmt0"), touching(card.address), touching("p2p1", "mgmt0")):
        (refusal,) = check([step], facts)
        assert refusal.rule == "management-interface"
        assert "mgmt0" in refusal.message


def test_the_port_under_test_may_be_touched(facts: HostFacts) -> None:
    assert check([touching("p2p1"), touching("kvmlab0")], facts) == ()


def test_everything_below_the_management_interface_is_protected(data: Path) -> None:
    """A bridge over a VLAN over a bond over a port, were it the one with the default route."""
    facts = inspect(load(data / "facts" / "embedded_busy.json"), prove_kvm=False)
    port = facts.port("p1p1")
    through_port = replace(
        facts,
        management="p1p1",
        carriers=("p1p1",),
        default_route_interfaces=("p1p1",),
    )
    protected = protected_interfaces(through_port)
    assert port.address in protected
    group = next(g for g in facts.iommu.groups if port.address in g.members)
    for member in group.members:
        assert member in protected, "its IOMMU group goes down with it"


def test_another_domain_than_the_one_named_is_refused(facts: HostFacts, plain_vm: TestVM) -> None:
    step = AttachInterface("Attach.", "web1", "52:54:00:00:00:01", "<interface/>")
    (refusal,) = check([step], facts, plain_vm)
    assert refusal.rule == "not-the-named-domain"


def test_refusals_are_raised_together() -> None:
    refuse(())
    with pytest.raises(Refused, match=r"One\. Two\. Nothing was changed\.") as caught:
        refuse((Refusal("a", "One."), Refusal("b", "Two.")))
    assert caught.value.rule == "a"


def test_ports_with_connections_are_protected(facts: HostFacts) -> None:
    """A port whose address has established connections is in use, with all it depends on."""
    link = facts.link("p2p1")
    assert link is not None
    busy = replace(
        facts,
        links=tuple(
            replace(link, addresses=("198.51.100.9/24",)) if link.name == "p2p1" else link
            for link in facts.links
        ),
        connections=(Connections("198.51.100.9", 3, "2049 from 198.51.100.1:700"),),
    )
    (refusal,) = check([touching("p2p1")], busy)
    assert refusal.rule == "port-carries-connections"
    assert "3 connections of the host end at 198.51.100.9 (port 2049" in refusal.message
    assert "p2p1: hardware" in refusal.evidence
    assert check([touching("p1p1")], busy) == ()


def test_master_parent_and_pf_of_the_management_are_protected(facts: HostFacts) -> None:
    """A VLAN on a bond of a VF of p2p1 as the management interface."""
    port = facts.port("p2p1")
    vf = replace(port, address="0000:0b:10.0", names=("vf0",), vf_of=port.address)
    first = facts.links[0]
    links = (
        *facts.links,
        replace(first, name="vf0", kind="", master="bond0", netns=None, loopback=False),
        replace(first, name="bond0", kind="bond", master=None, netns=None, loopback=False),
        replace(first, name="bond0.7", kind="vlan", parent="bond0", netns=None, loopback=False),
    )
    management = find_management(
        links=links, ssh_connection="", route_to_peer=(), default_routes=("bond0.7",)
    )
    assert set(management.carriers) == {"bond0.7", "bond0", "vf0"}
    through = replace(
        facts,
        links=links,
        ports=(*facts.ports, vf),
        management=management.interface,
        carriers=management.carriers,
        default_route_interfaces=("bond0.7",),
    )
    for name in ("bond0.7", "bond0", "vf0", vf.address, port.address, "p2p1"):
        (refusal,) = check([touching(name)], through)
        assert refusal.rule == "management-interface"
        assert refusal.message
    (refusal,) = check([touching("p2p1")], through)
    assert "vf0 is a VF of it" in refusal.message


def test_ports_of_the_same_module_go_down_together(data: Path) -> None:
    """Reloading igb is refused where the management interface is another port of igb."""
    facts = inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)
    names = {port.driver: port.name for port in facts.ports}
    assert names["igb"] == "p2p2", "two ports of one driver are needed for this test"
    own = tuple(replace(port, netns=None) if port.name == "p2p2" else port for port in facts.ports)
    links = tuple(
        replace(link, netns=None) if link.name == "p2p2" else link for link in facts.links
    )
    through = replace(facts, ports=own, links=links, management="p2p2", carriers=("p2p2",))
    cable = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24")
    plan = SriovVf(way="max_vfs").plan(through, cable=cable)
    assert {refusal.rule for refusal in plan.refusals} == {"management-interface"}
    assert SriovVf().plan(through, cable=cable).refusals == ()
