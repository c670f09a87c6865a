"""The guard, on inspections of real hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.changes import AttachInterface, Command, HostStep, Setting, check, protected_interfaces
from kvmlab.changes.guard import Refusal, refuse
from kvmlab.domain import TestVM
from kvmlab.errors import Refused
from kvmlab.facts import HostFacts, inspect
from tests.facts.record import load


@pytest.fixture
def facts(data: Path) -> HostFacts:
    """The embedded host at rest."""
    return inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)


def touching(*names: str) -> HostStep:
    setting = Setting("/sys/x", None, "1")
    return HostStep("Touch it.", setting, (Command(("true",)),), (), touches=names)


def test_management_and_its_card_are_protected(facts: HostFacts) -> None:
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


def test_everything_below_the_management_is_protected(data: Path) -> None:
    """A bridge over a VLAN over a bond over a port, were it the one with the default route."""
    from dataclasses import replace

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
        assert member in protected, "what shares the IOMMU group goes down with it"


def test_another_domain_than_the_one_named_is_refused(facts: HostFacts, plain_vm: TestVM) -> None:
    step = AttachInterface("Attach.", "web1", "52:54:00:00:00:01", "<interface/>")
    (refusal,) = check([step], facts, plain_vm)
    assert refusal.rule == "not-the-named-domain"


def test_refusals_are_told_together() -> None:
    refuse(())
    with pytest.raises(Refused, match=r"One\. Two\. Nothing was changed\.") as caught:
        refuse((Refusal("a", "One."), Refusal("b", "Two.")))
    assert caught.value.rule == "a"
