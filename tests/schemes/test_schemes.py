"""Plans of the schemes on the recorded embedded host, against golden XML and text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from kvmlab.changes import (
    AttachInterface,
    Command,
    ConfigureGuest,
    HostStep,
    Plan,
    common_steps,
)
from kvmlab.domain import Domain, HostDevice, Interface, diff_of_attaching, validate
from kvmlab.domain.declared_xml import Element
from kvmlab.errors import Refused, Unavailable, UsageError
from kvmlab.facts import HostFacts, LinkState, ModuleState, Rule, inspect
from kvmlab.hosts import Cable
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.schemes.base import mac_for
from kvmlab.schemes.bridge import BRIDGE_MAC
from kvmlab.schemes.port import BRIDGE
from kvmlab.schemes.vfs import VfOptions, vf_address
from tests.facts.recorded_host import load

CARD = Cable("p1p1", "198.51.100.10/24", "198.51.100.1/24", "peer", "p3p1")
CABLE = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", "peer", "p2p2")
ON_THE_BRIDGE: list[Scheme] = [
    FullEmulation("e1000"),
    FullEmulation("e1000e"),
    Virtio(),
    Virtio(backend="vhost"),
    Virtio(backend="vhost", queues=4, channels=2),
]
MACVTAPS: list[Scheme] = [
    Macvtap(),
    Macvtap(mode="vepa", trust_guest_rx_filters=True),
    Macvtap(mode="passthrough", model="e1000e"),
]
VFS: list[Scheme] = [
    SriovVf(),
    SriovVf(vfs=2, vf=1, vlan=7, trust=True, max_tx_rate=100, mac="52:54:00:00:00:07"),
    SriovVf(how="hostdev", spoofchk=False),
    SriovVf(how="network", vfs=1),
]
WHOLE_CARDS: list[Scheme] = [
    PciPassthrough(group="take"),
    PciPassthrough(group="take", managed=False),
]
SCHEMES = [*ON_THE_BRIDGE, *MACVTAPS, *VFS, *WHOLE_CARDS]


@pytest.fixture(scope="module")
def facts(data: Path) -> HostFacts:
    """Return the facts of the embedded host at rest."""
    return inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)


def changed_link(facts: HostFacts, which: str, /, **values: object) -> HostFacts:
    links = tuple(
        replace(link, **values) if link.name == which and link.netns is None else link  # type: ignore[arg-type]
        for link in facts.links
    )
    return replace(facts, links=links)


def cable_for(scheme: Scheme) -> Cable:
    return CARD if isinstance(scheme, PciPassthrough) else CABLE


def device(plan: Plan) -> Element:
    kind = HostDevice if plan.interface_xml.startswith("<hostdev") else Interface
    return kind.parse(plan.interface_xml)


def attached(domain_xml: str, plan: Plan) -> str:
    domain = Domain.parse(domain_xml)
    domain.add("devices", device(plan))
    return domain.xml()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.id)
def test_golden(
    scheme: Scheme, facts: HostFacts, data: Path, golden: Callable[[Path, str], None]
) -> None:
    """in: the lab's own VM; out: the same with its interface, valid by libvirt's own schema."""
    before = (data / "domain" / "lab-vm.xml").read_text()
    plan = scheme.plan(facts, cable=cable_for(scheme))
    folder = data / "schemes" / scheme.id
    golden(folder / "domain.xml", attached(before, plan))
    golden(folder / "interface.xml", plan.interface_xml)
    golden(folder / "plan.txt", str(plan))
    assert validate(attached(before, plan)), "this machine has no /usr/share/libvirt/schemas"


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.id)
def test_golden_with_a_users_domain(
    scheme: Scheme, facts: HostFacts, data: Path, golden: Callable[[Path, str], None]
) -> None:
    text = (data / "domain" / "users-own.xml").read_text()
    plan = scheme.plan(facts, cable=cable_for(scheme))
    golden(
        data / "schemes" / scheme.id / "users-own.diff",
        diff_of_attaching(text, device(plan)),
    )


def test_schemes_have_names_of_their_own() -> None:
    ids = [scheme.id for scheme in SCHEMES]
    assert ids[:5] == ["e1000", "e1000e", "virtio-qemu", "virtio-vhost", "virtio-vhost-q4-c2"]
    assert ids[5:8] == ["macvtap", "macvtap-vepa-trust", "macvtap-passthrough-e1000e"]
    assert len({scheme.label for scheme in SCHEMES}) == len(ids)
    assert len({mac_for(name) for name in ids}) == len(ids)
    assert ids[8] == "sriov-vf"
    assert ids[9] == "sriov-vf-vlan7-trust-on-rate100"
    assert ids[10:12] == ["sriov-vf-hostdev-spoofchk-off", "sriov-vf-network"]
    assert ids[12:] == ["passthrough", "passthrough-unmanaged"]
    assert {scheme.backend for scheme in SCHEMES} == {"qemu", "vhost", "hardware"}


def test_schemes_over_the_bridge_share_it(facts: HostFacts) -> None:
    plans = [scheme.plan(facts, cable=CABLE) for scheme in ON_THE_BRIDGE]
    shared = common_steps(*plans)
    assert [step.what.split()[0] for step in shared] == ["Make", "Put"]
    assert all(isinstance(step, HostStep) for step in shared)
    assert common_steps(plans[0]) == shared
    assert common_steps() == ()


def test_only_what_is_missing_is_changed(facts: HostFacts) -> None:
    down = changed_link(facts, "p2p1", up=False)
    steps = Virtio().plan(down, cable=CABLE).steps
    assert [step.after for step in steps[:3]] == [BRIDGE_MAC, BRIDGE, "up"]
    assert "ip link set dev p2p1 down" in steps[2].undo_text
    port = facts.link("p2p1")
    assert port is not None
    bridge = replace(port, name=BRIDGE, kind="bridge", mac=BRIDGE_MAC)
    there = replace(facts, links=(*facts.links, bridge))
    there = changed_link(there, "p2p1", master=BRIDGE)
    assert [step.kind for step in Virtio().plan(there, cable=CABLE).steps] == [
        "attach",
        "configure",
    ]


def test_a_port_with_vfs_is_refused(facts: HostFacts) -> None:
    ports = tuple(
        replace(port, sriov_numvfs=7) if "p2p1" in port.names else port for port in facts.ports
    )
    with pytest.raises(Unavailable, match="p2p1 has 7 VFs") as caught:
        Virtio().plan(replace(facts, ports=ports), cable=CABLE)
    assert caught.value.rule == "bridge-on-port-with-vfs"
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda f: changed_link(f, "p2p1", master="br0"), "port-in-use"),
        (lambda f: changed_link(f, "p2p1", name="other"), "port-missing"),
        (lambda f: changed_link(f, "p1p1", name=BRIDGE, kind="bridge"), "bridge-name-taken"),
    ],
)
def test_what_is_in_the_way_is_said(
    change: Callable[[HostFacts], HostFacts], rule: str, facts: HostFacts
) -> None:
    with pytest.raises(Unavailable) as caught:
        Virtio().plan(change(facts), cable=CABLE)
    assert caught.value.rule == rule
    assert caught.value.todo


@pytest.mark.parametrize("scheme", [*ON_THE_BRIDGE, *MACVTAPS], ids=lambda scheme: scheme.id)
def test_the_management_port_is_refused_before_anything(scheme: Scheme, facts: HostFacts) -> None:
    plan = scheme.plan(facts, cable=replace(CABLE, port="mgmt0"))
    assert {refusal.rule for refusal in plan.refusals} == {"management-interface"}
    assert "mgmt0" in str(plan)
    with pytest.raises(Refused, match="mgmt0"):
        plan.apply(None)  # type: ignore[arg-type]  # refused before the VM matters


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.id)
def test_the_port_that_manages_the_host_is_refused(scheme: Scheme, facts: HostFacts) -> None:
    cable = cable_for(scheme)
    facts = replace(facts, management=cable.port, carriers=(cable.port,))
    plan = scheme.plan(facts, cable=cable)
    assert {refusal.rule for refusal in plan.refusals} == {"management-interface"}


def test_a_port_with_an_address_is_in_use(facts: HostFacts) -> None:
    addressed = changed_link(facts, "p2p1", addresses=("198.51.100.7/24", "fe80::1/64"))
    with pytest.raises(Unavailable, match=r"198\.51\.100\.7/24 \(address of the host\)") as caught:
        Virtio().plan(addressed, cable=CABLE)
    assert caught.value.rule == "port-in-use"
    assert "fe80" not in caught.value.message


def test_without_a_cable_there_is_no_plan(facts: HostFacts) -> None:
    with pytest.raises(UsageError, match="no cable"):
        Virtio().plan(facts)


def test_a_plan_shows_itself_escaped(facts: HostFacts) -> None:
    plan = Virtio().plan(facts, cable=CABLE)
    html = plan._repr_html_()
    assert "&lt;interface" in html
    assert "<interface" not in html
    tree = etree.HTML(html)
    assert len(tree.findall(".//tbody/tr")) == len(plan.steps)
    evil = replace(plan, label="<script>alert(1)</script>")
    assert "<script>" not in evil._repr_html_()


def test_a_plan_is_fit_for_json(facts: HostFacts) -> None:
    import json

    plan = Virtio().plan(facts, cable=CABLE)
    read = json.loads(json.dumps(plan.to_dict()))
    assert read["scheme"] == "virtio-qemu"
    assert read["steps"][0]["undo"] == ["ip link delete dev kvmlab0"]


def test_commands_of_the_bridge_fit_one_batch(facts: HostFacts) -> None:
    steps = [s for s in Virtio().plan(facts, cable=CABLE).steps if isinstance(s, HostStep)]
    commands: list[Command] = [command for step in steps for command in step.do]
    assert {command.argv[0] for command in commands if command.only_when is None} == {"ip"}


def with_modules(facts: HostFacts, **states: ModuleState) -> HostFacts:
    return replace(facts, modules={**facts.modules, **states})


@pytest.mark.parametrize("scheme", [Virtio(backend="vhost"), Macvtap()], ids=lambda s: s.id)
def test_vhost_is_loaded_where_it_can_be(scheme: Scheme, facts: HostFacts) -> None:
    asleep = with_modules(facts, vhost_net=ModuleState.AVAILABLE)
    steps = scheme.plan(asleep, cable=CABLE).steps
    load = next(step for step in steps if "vhost_net" in step.what)
    assert load.do_text == ("modprobe vhost_net",)
    assert load.undo_text == ("modprobe -r vhost_net",)
    with pytest.raises(Unavailable) as caught:
        scheme.plan(with_modules(facts, vhost_net=ModuleState.MISSING), cable=CABLE)
    assert caught.value.rule == "vhost-net-missing"


def test_only_vhost_needs_vhost(facts: HostFacts) -> None:
    without = with_modules(facts, vhost_net=ModuleState.MISSING)
    for scheme in (Virtio(), Macvtap(backend="qemu"), Macvtap(model="e1000")):
        steps = scheme.plan(without, cable=CABLE).steps
        assert [s.vhost_workers for s in steps if isinstance(s, AttachInterface)] == [0]


def test_as_many_workers_as_queues_are_expected(facts: HostFacts) -> None:
    for scheme in (Virtio(backend="vhost", queues=4), Macvtap(queues=4)):
        steps = scheme.plan(facts, cable=CABLE).steps
        assert [s.vhost_workers for s in steps if isinstance(s, AttachInterface)] == [4]


def test_macvtap_needs_a_port_of_its_own(facts: HostFacts) -> None:
    in_bridge = changed_link(facts, "p2p1", master=BRIDGE)
    with pytest.raises(Unavailable, match="kvmlab0") as caught:
        Macvtap().plan(in_bridge, cable=CABLE)
    assert caught.value.rule == "port-in-use"
    down = Macvtap().plan(changed_link(facts, "p2p1", up=False), cable=CABLE)
    assert down.steps[0].do_text == ("ip link set dev p2p1 up",)
    assert any("cannot reach each other" in note for note in down.notes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Virtio(queues=0),
        lambda: Virtio(queues=257),
        lambda: Virtio(queues=2, channels=3),
        lambda: Macvtap(mode="hub"),  # type: ignore[arg-type]
        lambda: Macvtap(model="e1000", queues=2),
        lambda: Macvtap(model="e1000", trust_guest_rx_filters=True),
        lambda: SriovVf(how="bridge"),  # type: ignore[arg-type]
        lambda: SriovVf(vfs=0),
        lambda: SriovVf(vfs=2, vf=2),
        lambda: SriovVf(how="network", vf=0),
        lambda: SriovVf(how="network", trust=True),
        lambda: PciPassthrough(group="ask"),  # type: ignore[arg-type]
        lambda: SriovVf(way="modprobe"),  # type: ignore[arg-type]
        lambda: SriovVf(mac="52:54:00:00:00"),
        lambda: SriovVf(mac="01:00:5e:00:00:01"),
        lambda: SriovVf(vlan=4095),
        lambda: SriovVf(vlan="7"),  # type: ignore[arg-type]
        lambda: SriovVf(link_state="up"),  # type: ignore[arg-type]
        lambda: FullEmulation(model="rtl8139"),  # type: ignore[arg-type]
        lambda: Virtio(backend="vhsot"),  # type: ignore[arg-type]
        lambda: Virtio(queues="4"),  # type: ignore[arg-type]
        lambda: Virtio(queues=True),
        lambda: Virtio(with_vfs=-1),
        lambda: Virtio(learning=1),  # type: ignore[arg-type]
        lambda: PciPassthrough(managed=None),  # type: ignore[arg-type]
        lambda: VfOptions(vlan=4095),
        lambda: VfOptions(max_tx_rate=-1),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert caught.value.todo


def test_queues_that_no_vcpu_serves_are_noted(facts: HostFacts, data: Path) -> None:
    domain = Domain.parse((data / "domain" / "lab-vm.xml").read_text())
    vcpus = domain.vcpus or 1
    assert not Virtio(queues=vcpus).notes_on_vm(domain)
    (note,) = Virtio(queues=vcpus + 1).notes_on_vm(domain)
    assert "queues-mismatch" in note


def changed_port(facts: HostFacts, address: str, /, **values: object) -> HostFacts:
    ports = tuple(
        replace(port, **values) if port.address == address else port  # type: ignore[arg-type]
        for port in facts.ports
    )
    return replace(facts, ports=ports)


PF = "0000:0b:00.0"


def test_vfs_appear_where_the_article_saw_them(facts: HostFacts) -> None:
    first, second = facts.port(PF), facts.port("0000:0b:00.1")
    addresses = [str(vf_address(pf, index)) for pf in (first, second) for index in range(7)]
    slots = [f"0000:0b:{slot}.{function}" for slot in (10, 11) for function in range(8)]
    assert sorted(addresses) == slots[:14]
    with pytest.raises(Unavailable):
        vf_address(replace(first, sriov_offset=None), 0)


def test_vfs_that_there_are_stay(facts: HostFacts) -> None:
    there = changed_port(facts, PF, sriov_numvfs=2, vfs=("0000:0b:10.0", "0000:0b:10.2"))
    plan = SriovVf(vfs=7, vf=1).plan(there, cable=CABLE)
    assert [step.kind for step in plan.steps] == ["attach", "configure"]
    source = Interface.parse(plan.interface_xml).source_pci
    assert str(source) == "0000:0b:10.2"


@pytest.mark.parametrize(
    ("scheme", "values", "rule"),
    [
        (SriovVf(vfs=8), {}, "numvfs-refused"),
        (SriovVf(vf=5), {"sriov_numvfs": 2}, "numvfs-refused"),
        (SriovVf(), {"sriov_totalvfs": None}, "sriov-missing"),
        (SriovVf(trust=True), {"sriov_numvfs": 2}, "port-in-use"),
        (SriovVf(how="hostdev"), {"sriov_numvfs": 2}, "port-in-use"),
        (SriovVf(link_state="enable"), {}, "vf-option-unsupported"),
        (SriovVf(max_tx_rate=100), {"link": LinkState.NO_CARRIER}, "pf-down"),
        (SriovVf(), {"sriov_offset": None}, "numvfs-refused"),
    ],
)
def test_vfs_that_cannot_be_had(
    scheme: Scheme, values: dict[str, object], rule: str, facts: HostFacts
) -> None:
    with pytest.raises(Unavailable) as caught:
        scheme.plan(changed_port(facts, PF, **values), cable=CABLE)
    assert caught.value.rule == rule
    assert caught.value.todo


def awaited(facts: HostFacts, scheme: Scheme) -> list[str]:
    """Return the waits in the commands of the scheme's plan."""
    steps = scheme.plan(facts, cable=CABLE).steps
    return [line for step in steps for line in (*step.do_text, *step.undo_text) if "wait" in line]


def test_a_vf_waits_for_the_link_that_its_port_loses(facts: HostFacts) -> None:
    down, more = "(wait until p2p1 has its link again)", ", if it had one)"
    assert awaited(facts, SriovVf()) == [down, down.replace(")", more)]
    assert down in awaited(facts, Virtio(with_vfs=1))
    assert down in awaited(facts, SriovVf(way="max_vfs"))
    # A port without a cable never gets one; its VFs can be made all the same.
    without = changed_port(facts, PF, link=LinkState.NO_CARRIER)
    assert down not in awaited(without, SriovVf())


def test_vfs_that_vms_have_are_left_to_them(facts: HostFacts) -> None:
    port = facts.port(PF)
    held = replace(port, address="0000:0b:10.0", names=(), driver="vfio-pci", vf_of=PF)
    there = changed_port(facts, PF, sriov_numvfs=2, vfs=("0000:0b:10.0", "0000:0b:10.2"))
    there = replace(there, ports=(*there.ports, held))
    source = Interface.parse(SriovVf().plan(there, cable=CABLE).interface_xml).source_pci
    assert str(source) == "0000:0b:10.2"
    with pytest.raises(Unavailable, match=r"VF 0: 0000:0b:10\.0 is in use: vfio-pci"):
        SriovVf(vf=0).plan(there, cable=CABLE)


def test_without_iommu_or_vfio_there_is_no_vf(facts: HostFacts) -> None:
    with pytest.raises(Unavailable) as caught:
        SriovVf().plan(replace(facts, iommu=replace(facts.iommu, groups=())), cable=CABLE)
    assert caught.value.rule == "iommu-off"
    with pytest.raises(Unavailable) as caught:
        SriovVf().plan(with_modules(facts, vfio_pci=ModuleState.MISSING), cable=CABLE)
    assert caught.value.rule == "module-missing"


def test_the_hosts_drivers_are_kept_away_from_vfs(facts: HostFacts) -> None:
    first = SriovVf().plan(facts, cable=CABLE).steps[0]
    assert first.do_text == ("echo 0 > /sys/bus/pci/devices/0000:0b:00.0/sriov_drivers_autoprobe",)
    off = changed_port(facts, PF, sriov_drivers_autoprobe=False)
    assert "sriov_numvfs" in SriovVf().plan(off, cable=CABLE).steps[0].do_text[0]


def test_a_card_finds_its_own_cable(facts: HostFacts) -> None:
    both = replace(facts, cable=CABLE, cables=(CABLE, CARD))
    assert PciPassthrough(group="take").plan(both).peer_address == CARD.peer_address
    named = PciPassthrough(port="0000:04:00.0", group="take")
    assert named.plan(both).peer_address == CARD.peer_address
    one = replace(facts, cable=CABLE, cables=(CABLE,))
    plan = PciPassthrough().plan(one)
    assert plan.peer_address == CABLE.peer_address
    assert 'bus="0x0b"' in plan.interface_xml
    with pytest.raises(UsageError, match="no cable"):
        PciPassthrough(port="p1p2", group="take").plan(both)


def test_a_group_is_not_taken_unasked(facts: HostFacts) -> None:
    with pytest.raises(Unavailable, match="group is not viable") as caught:
        PciPassthrough().plan(facts, cable=CARD)
    assert caught.value.rule == "group-not-viable"
    assert "0000:04:00.1" in caught.value.message
    assert "take" in caught.value.todo


def with_handover(facts: HostFacts, **values: object) -> HostFacts:
    port = facts.port("0000:04:00.0")
    handover = replace(port.handover, **values)  # type: ignore[arg-type]
    return changed_port(facts, port.address, handover=handover)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda f: with_handover(f, rule=Rule.IOMMU_OFF), "iommu-off"),
        (lambda f: with_handover(f, rule=Rule.NO_RESET), "no-reset"),
        (lambda f: with_handover(f, in_the_way=("0000:00:1f.0",)), "group-not-viable"),
        (lambda f: with_modules(f, vfio_pci=ModuleState.MISSING), "module-missing"),
        (lambda f: changed_port(f, "0000:04:00.0", sriov_numvfs=2), "port-in-use"),
        (lambda f: changed_port(f, "0000:04:00.0", driver="vfio-pci", names=()), "port-in-use"),
        (lambda f: changed_port(f, "0000:04:00.0", driver=None, names=()), "port-missing"),
        (lambda f: changed_link(f, "p1p1", master="br0"), "port-in-use"),
    ],
)
def test_cards_that_cannot_be_given_away(
    change: Callable[[HostFacts], HostFacts], rule: str, facts: HostFacts
) -> None:
    with pytest.raises(Unavailable) as caught:
        PciPassthrough(port="0000:04:00.0", group="take").plan(change(facts), cable=CARD)
    assert caught.value.rule == rule
    assert caught.value.todo


def test_vfio_is_loaded_where_it_sleeps(facts: HostFacts) -> None:
    asleep = with_modules(facts, vfio_pci=ModuleState.AVAILABLE)
    texts = [step.do_text for step in PciPassthrough(group="take").plan(asleep, cable=CARD).steps]
    assert [text for text in texts if "modprobe vfio-pci" in text]


def test_max_vfs_remembers_every_port_of_the_driver(facts: HostFacts) -> None:
    plan = SriovVf(way="max_vfs").plan(facts, cable=CABLE)
    texts = [step.what for step in plan.steps]
    assert "p2p1 (0000:0b:00.0)" in texts[0]
    assert "p2p2 (0000:0b:00.1)" in texts[1]
    reload = plan.steps[3]
    assert isinstance(reload, HostStep)
    assert reload.do_text[:2] == ("modprobe -r igb", "modprobe igb max_vfs=7")
    assert "netns peer" in reload.do_text[3]
    assert {"p2p1", "p2p2"} <= set(reload.touches)
    managed = replace(facts, management="p2p1", carriers=("p2p1",))
    other = replace(CABLE, port="p2p1")
    assert SriovVf(way="max_vfs").plan(managed, cable=other).refusals


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda f: changed_port(f, PF, driver="i40e"), "vf-option-unsupported"),
        (lambda f: with_modules(f, igb=ModuleState.BUILTIN), "vf-option-unsupported"),
        (lambda f: changed_port(f, "0000:0b:00.1", sriov_numvfs=1), "numvfs-refused"),
        (lambda f: changed_port(f, "0000:0b:00.1", sriov_totalvfs=3), "numvfs-refused"),
    ],
)
def test_max_vfs_is_refused_where_it_cannot_work(
    change: Callable[[HostFacts], HostFacts], rule: str, facts: HostFacts
) -> None:
    with pytest.raises(Unavailable) as caught:
        SriovVf(way="max_vfs").plan(change(facts), cable=CABLE)
    assert caught.value.rule == rule


def test_the_trap_is_set_on_purpose_only(facts: HostFacts) -> None:
    trap = Virtio(backend="vhost", with_vfs=7)
    cured = Virtio(backend="vhost", with_vfs=7, learning=False)
    assert [trap.id, cured.id] == ["virtio-vhost-on-vfs", "virtio-vhost-on-vfs-cured"]
    plan = trap.plan(facts, cable=CABLE)
    assert "sriov_numvfs" in " ".join(plan.steps[1].do_text)
    configures = [p.steps[-1] for p in (plan, cured.plan(facts, cable=CABLE))]
    assert [c.must_answer for c in configures if isinstance(c, ConfigureGuest)] == [False, True]
    assert "learning off" in str(cured.plan(facts, cable=CABLE))
    assert any("drops answers" in note for note in plan.notes)
    there = changed_port(facts, PF, sriov_numvfs=2)
    assert "sriov_numvfs" not in str(FullEmulation(with_vfs=2).plan(there, cable=CABLE))
