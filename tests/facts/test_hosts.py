"""Every layout of `tests/data/hosts` against inspection, guard, schemes, doctor and adviser.

The truth stands beside each layout:

`management`, `carriers`: the management interface (eno1 where it is left out) and all it needs;
`free`: ports that may be offered; `refused`: names that the guard refuses (left out: every other
hardware interface); `users`: all users of an interface or function, by name; `vms`: the VMs among
them; `handover`: the rule that keeps a function from going to a VM; `schemes`: "possible" or the
rule that stands in the way ("bridge" stands for the four schemes on a bridge, "all" for every
one); `vf`: the VF in the plan; `vf_interface`: the interface that macvtap on a VF names; `rules`:
verdicts of the doctor; `evidence`: the tunings of which the adviser says what the atlas has.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kvmlab.advice import advise
from kvmlab.changes import Command, HostStep, Setting, check
from kvmlab.domain import Interface
from kvmlab.facts.interface_users import InterfaceUsers, function_users, interface_users
from kvmlab.report.names import number
from kvmlab.results.atlas import Atlas
from kvmlab.schemes.feasibility import attempt, cables_for
from kvmlab.schemes.registry import CATALOGUE
from tests.facts.host_builder import Layout, described

FILES = sorted((Path(__file__).resolve().parents[1] / "data" / "hosts").glob("*.yaml"))
ON_A_BRIDGE = ("e1000", "e1000e", "virtio-qemu", "virtio-vhost")
STEP = HostStep("Touch.", Setting("/sys/x", None, "1"), (Command(("true",)),), ())


@cache
def layout(path: Path) -> Layout:
    return Layout(described(path))


def users_of(one: Layout, name: str) -> InterfaceUsers:
    is_address = re.fullmatch(r"[0-9a-f]+:[0-9a-f]+:[0-9a-f]+\.\d", name) is not None
    return function_users(one.facts, name) if is_address else interface_users(one.facts, name)


def expected_schemes(truth: dict[str, Any]) -> dict[str, str]:
    expected = truth["schemes"]
    by_id = {scheme.id: expected.get("all", expected.get(scheme.id, "")) for scheme in CATALOGUE}
    return by_id | {name: expected.get("bridge", expected.get("all")) for name in ON_A_BRIDGE}


@pytest.fixture(params=FILES, ids=[path.stem for path in FILES])
def one(request: pytest.FixtureRequest) -> Layout:
    return layout(request.param)


def test_there_are_forty_layouts_and_more() -> None:
    assert len(FILES) >= 40


def test_inspection(one: Layout) -> None:
    truth, facts = one.description["truth"], one.facts
    assert facts.management == truth.get("management", "eno1")
    if "carriers" in truth:
        assert set(facts.carriers) == set(truth["carriers"])
    for name, rule in truth.get("handover", {}).items():
        assert facts.port(name).handover.rule == rule
    for name, users in truth.get("users", {}).items():
        tree = users_of(one, name)
        assert {part.name for user in tree.users for part in user.walk()} == set(users), str(tree)
        assert tree.in_use
    for name, vms in truth.get("vms", {}).items():
        assert users_of(one, name).vms == tuple(vms)


def test_guard(one: Layout) -> None:
    truth, facts = one.description["truth"], one.facts
    free = truth.get("free", [])
    hardware = [
        link.name
        for link in facts.links
        if not link.kind and not link.loopback and link.netns is None
    ]
    vfs = {name for port in facts.ports if port.vf_of for name in port.names}
    others = [name for name in hardware if name not in free and name not in vfs]
    refused = [*truth.get("refused", others), *facts.carriers]
    for name in refused:
        assert check([replace(STEP, touches=(name,))], facts), f"{name} may be touched"
    for name in set(free) - set(refused):
        assert not check([replace(STEP, touches=(name,))], facts), f"{name} may not be touched"


def test_schemes(one: Layout) -> None:
    truth, facts = one.description["truth"], one.facts
    assert [cable.port for cable in cables_for(facts)] == truth.get("free", [])
    attempts = {scheme.id: attempt(scheme, facts) for scheme in CATALOGUE}
    verdicts = {name: "possible" if x.possible else x.rule for name, x in attempts.items()}
    assert verdicts == expected_schemes(truth)
    if "vf" in truth:
        plan = attempts["sriov-vf"].plan
        assert plan is not None
        assert str(Interface.parse(plan.interface_xml).source_pci) == truth["vf"]


def test_doctor(one: Layout) -> None:
    diagnosis = one.diagnosis()
    rules = one.description["truth"].get("rules", {})
    verdicts = {rule: str(diagnosis.finding(rule).verdict) for rule in rules}
    assert verdicts == rules, "\n".join(diagnosis.finding(rule).observed for rule in rules)
    for scheme in diagnosis.schemes:
        if not scheme.possible and scheme.rule != "port-carries-connections":
            assert str(diagnosis.finding(scheme.rule).verdict) in ("problem", "warning")


def test_adviser(one: Layout) -> None:
    truth, facts = one.description["truth"], one.facts
    for load in ("bulk", "latency"):
        for migration in (False, True):
            advice = advise(facts, load=load, migration=migration)
            for recommendation in advice.recommendations:
                assert named_interfaces(recommendation.interface_xml) <= allowed(one)
    if "vf_interface" in truth:
        (answer,) = (x for x in advise(facts, migration=True).migration if x.id == "macvtap-on-vf")
        assert named_interfaces(answer.interface_xml) == {truth["vf_interface"]}


def test_the_adviser_says_what_the_atlas_has_of_the_settings_at_hand(one: Layout) -> None:
    atlas = Atlas.shipped()
    notes = [
        note for note in advise(one.facts, diagnosis=one.diagnosis()).notes if "The atlas" in note
    ]
    sentence = r"The atlas (?:says of|shows no difference for) ([\w-]+=\w+)"
    named = [name for note in notes for name in re.findall(sentence, note)]
    assert named == one.description["truth"].get("evidence", [])
    for name in named:
        main = atlas.row(name).main("tcp_down")
        assert main is not None
        if main.shown and main.ratio is not None:
            (note,) = (note for note in notes if f" {name} on an embedded host" in note)
            assert f"TCP to the VM {number(main.ratio)} times" in note


def named_interfaces(xml: str) -> set[str]:
    """Return the ports of the host that an interface names, apart from the lab's bridge."""
    names = set(re.findall(r'<source dev="([^"]+)"', xml))
    return names | (set(re.findall(r'bridge="([^"]+)"', xml)) - {"kvmlab0"})


def allowed(one: Layout) -> set[str]:
    """Return free ports, free VFs of theirs, and what stands for VFs that are yet to come."""
    facts = one.facts
    free = set(one.description["truth"].get("free", []))
    names = {name for port in free for name in facts.port(port).names} if free and all(
        any(port in (*p.names, *getattr(facts.link(port), "altnames", ())) for p in facts.ports)
        for port in free
    ) else set(free)  # fmt: skip
    vfs = {
        name
        for port in facts.ports
        if port.vf_of and not function_users(facts, port.address).in_use
        for name in port.names
    }
    coming = {one.description["truth"].get("vf_interface", "")}
    foretold = {f"{name}v0" for name in free} | {f"NAME-OF-VF-{number}" for number in range(8)}
    return free | names | vfs | coming | foretold
