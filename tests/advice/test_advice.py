"""The adviser: each rule, each contradiction, and never a scheme that the host cannot do."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from kvmlab.advice import Advice, GuestOs, Load, Recommendation, advise
from kvmlab.advice.candidates import Kind
from kvmlab.advice.needs import Need
from kvmlab.advice.rules import RULES
from kvmlab.clock import Clock
from kvmlab.domain import Interface
from kvmlab.errors import UsageError
from kvmlab.facts import HostFacts, Rule
from kvmlab.language import reading
from kvmlab.report.sentences import bullet_list
from kvmlab.results import Cost, Metric, Result, Trial, Window
from kvmlab.results.migration import Packet
from kvmlab.results.migration_figures import MigrationFigures
from kvmlab.schemes.feasibility import attempt, cables_for
from kvmlab.schemes.registry import CATALOGUE
from tests.advice.builders import (
    embedded,
    in_bridge,
    recorded,
    with_vfs,
    without_iommu,
    without_kvm,
    without_module,
)
from tests.report.builders import MIGRATION


def order(advice: Advice) -> list[str]:
    return [item.scheme for item in advice.recommendations]


def of(advice: Advice, scheme: str) -> Recommendation:
    return next(item for item in advice.recommendations if item.scheme == scheme)


def reason_against(advice: Advice, scheme: str) -> str:
    return next(item.rule for item in advice.excluded if item.scheme == scheme)


def measured(scheme: str, value: float, metric: str, *, emulated: bool = False) -> Result:
    """Five trials around ``value``, in the unit of the metric."""
    unit, better, workload = {
        "tcp_up_mbps": ("Mbit/s", "higher", "tcp_up"),
        "rtt_p50_us": ("µs", "lower", "latency"),
        "udp_received_pps": ("packets/s", "higher", "pps"),
    }[metric]
    trials = tuple(
        Trial(
            workload=workload,
            number=number,
            block=number,
            metrics=(Metric(metric, value * (1 + number / 200), unit, better),),  # type: ignore[arg-type]
            costs=(Cost("cpu_us", "vCPU", value * 1000, "µs"),),
            window=Window(1.0, 1000, 1_000_000, "p2p2"),
        )
        for number in range(1, 6)
    )
    texts = "Embedded host." if emulated else None
    return Result(scheme, scheme, "host", Clock.WALL, texts, trials)


def test_latency_wants_hardware() -> None:
    advice = advise(embedded(), load="latency")
    assert advice.best.scheme == "sriov-vf"
    assert 'type="hostdev"' in advice.best.interface_xml
    assert {reason.rule for reason in advice.best.pros} == {"no-layer", "latency-is-layers"}
    assert {reason.rule for reason in advice.best.cons} == {"memory-pinned"}
    assert order(advice).index("virtio-vhost") < order(advice).index("virtio-qemu")
    assert order(advice).index("e1000e") < order(advice).index("e1000")
    assert order(advice)[-1] == "user-network"


def test_small_packets_want_one_queue() -> None:
    advice = advise(embedded(), load="packets")
    assert advice.best.scheme == "sriov-vf"
    many = next(scheme for scheme in order(advice) if scheme.startswith("virtio-vhost-q"))
    assert order(advice).index("virtio-vhost") < order(advice).index(many)


def test_a_light_load_wants_what_is_simple() -> None:
    assert advise(embedded(), load="light").best.scheme == "virtio-vhost"


def test_many_vms_share_vfs_and_not_cards() -> None:
    advice = advise(embedded(), load="bulk", density=7)
    assert advice.best.scheme == "sriov-vf"
    assert reason_against(advice, "passthrough") == "one-card-a-vm"


def test_a_card_goes_with_its_group() -> None:
    advice = advise(embedded(), load="latency", density=2)
    card = of(advice, "passthrough")
    # p1p1 and p1p2 share a group and count once; p2p1 has SR-IOV and is worth more than one VM.
    assert card.label == "PCI passthrough (p1p1)"
    assert 'bus="0x04"' in card.interface_xml
    assert any("0000:04:00.1" in step or "p1p2" in step for step in card.steps)
    assert reason_against(advise(embedded(), density=3), "passthrough") == "one-card-a-vm"


def test_more_vms_than_vfs() -> None:
    advice = advise(embedded(), load="latency", density=8)
    assert reason_against(advice, "sriov-vf") == Rule.NUMVFS_REFUSED
    assert advice.best.scheme == "macvtap-trust"


def test_a_vm_that_migrates_gets_a_pair() -> None:
    advice = advise(embedded(), load="latency", migration=True)
    assert advice.best.scheme == "vf-teaming"
    assert reason_against(advice, "sriov-vf") == Rule.VF_BLOCKS_MIGRATION
    assert reason_against(advice, "passthrough") == Rule.VF_BLOCKS_MIGRATION
    assert "macvtap-on-vf" in order(advice)


def test_the_pair_shares_a_mac_and_names_its_standby() -> None:
    advice = advise(embedded(), migration=True)
    xml = of(advice, "vf-teaming").interface_xml
    standby, vf = (Interface(node) for node in etree.fromstring(f"<two>{xml}</two>".encode()))
    assert standby.mac == vf.mac
    assert (standby.teaming_type, vf.teaming_type) == ("persistent", "transient")
    assert vf.teaming_persistent == standby.alias
    assert standby.alias is not None
    assert standby.alias.startswith("ua-")
    assert (standby.model, vf.type) == ("virtio", "hostdev")


def test_a_macvtap_on_a_vf() -> None:
    card = Interface.parse(of(advise(embedded(), migration=True), "macvtap-on-vf").interface_xml)
    # Nothing says how a VF of a port with such a name will be called.
    assert (card.type, card.source_mode) == ("direct", "passthrough")
    assert card.source_dev == "NAME-OF-VF-0"
    steps = of(advise(embedded(), migration=True), "macvtap-on-vf").steps
    assert not any("away from VFs" in step for step in steps)


def test_four_answers_to_the_migration_question() -> None:
    answers = {item.id: item for item in advise(embedded()).migration}
    assert list(answers) == ["teaming", "macvtap-on-vf", "vfio-migration", "vdpa"]
    assert answers["teaming"].possible is True
    assert "teaming" in answers["teaming"].interface_xml
    assert "passthrough" in answers["macvtap-on-vf"].interface_xml
    assert answers["vfio-migration"].possible is False
    off = {item.id: item for item in advise(without_iommu(embedded())).migration}
    assert off["teaming"].possible is False
    assert "IOMMU" in off["teaming"].why


def test_a_measured_migration_is_evidence_for_its_answer() -> None:
    moved = replace(
        MIGRATION,
        scheme="vf-teaming",
        traffic="receives",
        downtime_ms=600,
        packets=(Packet(1, 1.0), Packet(2, 1.02), Packet(3, 1.7)),
        remedy="no learning at the uplink",
    )
    advice = advise(embedded(), migration=True, migrations=(MigrationFigures.of(moved),))
    answers = {item.id: item for item in advice.migration}
    (sentence,) = answers["teaming"].measured
    assert "only receives datagrams was out of reach for 680 ms, with 600 ms" in sentence
    assert sentence in str(answers["teaming"])
    assert "reach for 680 ms" in " ".join(str(advice).split())
    assert "reach for 680 ms" in advice._repr_html_()
    assert answers["macvtap-on-vf"].measured == ()


def test_windows_gets_virtio_and_the_corrections() -> None:
    advice = advise(embedded(), guest_os="windows", load="light")
    assert advice.best.scheme == "virtio-vhost"
    texts = " ".join(advice.guidance)
    for word in ("NetKVM", "LSO", "RSC", "e1000e and not e1000", "issue 237"):
        assert word in texts
    rules = {reason.rule for item in advice.recommendations for reason in item.reasons}
    assert {"windows-netkvm", "windows-macvtap", "windows-queues", "windows-fallback"} <= rules
    assert advise(embedded()).guidance == ()
    migrating = advise(embedded(), guest_os="windows", migration=True)
    assert reason_against(migrating, "vf-teaming") == Rule.GUEST_DRIVER_MISSING


def test_a_guest_without_virtio_gets_e1000e() -> None:
    advice = advise(embedded(), guest_os="legacy", load="latency")
    assert order(advice) == ["e1000e", "e1000", "user-network"]
    assert "e1000e" in of(advice, "user-network").interface_xml


def test_a_cloud_kernel_gets_no_igbvf() -> None:
    advice = advise(embedded(), guest_os="linux-cloud", load="latency")
    assert advice.best.scheme == "macvtap-trust"
    for scheme in ("sriov-vf", "e1000", "e1000e", "passthrough"):
        assert reason_against(advice, scheme) == Rule.GUEST_DRIVER_MISSING


@pytest.mark.parametrize(
    ("facts", "missing", "rule"),
    [
        (without_iommu(embedded()), ("sriov-vf", "vf-teaming", "passthrough"), Rule.IOMMU_OFF),
        (without_module(embedded(), "vhost_net"), ("virtio-vhost",), Rule.VHOST_NET_MISSING),
        (without_module(embedded(), "macvtap"), ("macvtap-trust",), Rule.MODULE_MISSING),
        (without_module(embedded(), "vfio_pci"), ("sriov-vf", "passthrough"), Rule.MODULE_MISSING),
        (without_kvm(embedded()), ("sriov-vf", "passthrough"), Rule.KVM_NOT_USABLE),
    ],
)
def test_what_a_host_lacks(facts: HostFacts, missing: Sequence[str], rule: Rule) -> None:
    advice = advise(facts, load="latency", migration="vf-teaming" in missing)
    for scheme in missing:
        assert scheme not in order(advice)
        assert reason_against(advice, scheme) == rule


def test_vfs_on_the_port_shut_the_bridge_out() -> None:
    advice = advise(with_vfs(embedded(), "p2p1", 2), load="bulk")
    # Another free port can still have a bridge; the one with VFs cannot.
    attempted = attempt(CATALOGUE[0], with_vfs(embedded(), "p2p1", 2))
    assert attempted.rule == Rule.BRIDGE_ON_PORT_WITH_VFS
    assert any("no bridge on it" in note for note in advice.notes)


def test_a_host_without_a_free_port_still_gets_an_answer() -> None:
    advice = advise(recorded("paravirtual"), load="bulk", density=20)
    assert order(advice) == ["user-network"]
    assert any("KVM" in note for note in advice.notes)
    assert any("share" in note for note in advice.notes)


def test_measured_figures_count_and_are_told() -> None:
    results = [
        measured("virtio-qemu", 900.0, "tcp_up_mbps"),
        measured("virtio-vhost", 300.0, "tcp_up_mbps"),
    ]
    advice = advise(embedded(), load="bulk", results=results)
    assert (
        of(advice, "virtio-vhost").evidence
        == ("TCP from the VM: 304.5 [299.1 … 310] Mbit/s, wall time",)
        or "304.5" in of(advice, "virtio-vhost").evidence[0]
    )
    assert [r.points for r in of(advice, "virtio-qemu").reasons if r.rule == "measured"] == [1]
    assert [r.points for r in of(advice, "virtio-vhost").reasons if r.rule == "measured"] == [-1]
    assert len(advice.contradictions) == 1
    assert "virtio, vhost above virtio, QEMU back end" in advice.contradictions[0]
    assert of(advice, "sriov-vf").evidence == ()


def test_measurements_that_bear_the_rules_out_contradict_nothing() -> None:
    results = [
        measured("sriov-vf", 80.0, "rtt_p50_us"),
        measured("virtio-vhost", 300.0, "rtt_p50_us"),
        measured("virtio-qemu", 1100.0, "rtt_p50_us"),
    ]
    advice = advise(embedded(), load="latency", results=results)
    assert advice.contradictions == ()
    points = {
        scheme: [r.points for r in of(advice, scheme).reasons if r.rule == "measured"]
        for scheme in ("sriov-vf", "virtio-vhost", "virtio-qemu")
    }
    assert points == {"sriov-vf": [2], "virtio-vhost": [], "virtio-qemu": [-2]}


def test_knobs_make_no_other_scheme() -> None:
    results = [
        measured("macvtap", 90.0, "rtt_p50_us"),
        measured("virtio-vhost-q4-c2", 300.0, "rtt_p50_us"),
    ]
    advice = advise(embedded(), load="latency", results=results)
    assert of(advice, "macvtap-trust").evidence
    assert of(advice, "virtio-vhost-q2").evidence


def test_a_difference_that_is_not_shown_counts_for_nothing() -> None:
    results = [
        measured("virtio-qemu", 100.0, "tcp_up_mbps"),
        measured("virtio-vhost", 100.0, "tcp_up_mbps"),
    ]
    advice = advise(embedded(), load="bulk", results=results)
    assert advice.contradictions == ()
    assert not [r for item in advice.recommendations for r in item.reasons if r.rule == "measured"]


def test_emulated_throughput_gives_way_to_costs() -> None:
    # By throughput vhost is faster; a packet costs it less CPU time, too.
    results = [
        measured("virtio-qemu", 900.0, "tcp_up_mbps", emulated=True),
        measured("virtio-vhost", 300.0, "tcp_up_mbps", emulated=True),
    ]
    advice = advise(embedded(), load="bulk", results=results)
    assert advice.contradictions == ()
    (sentences,) = of(advice, "virtio-vhost").evidence
    assert "CPU time a packet, TCP from the VM" in sentences
    assert "emulated host" in sentences
    assert any("emulated host" in note for note in advice.notes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"guest_os": "beos"},
        {"load": "heavy"},
        {"density": 0},
        {"density": True},
        {"density": 10**9},
    ],
)
def test_words_that_it_does_not_know(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        advise(embedded(), **wrong)  # type: ignore[arg-type]


def test_every_rule_is_met_by_some_need() -> None:
    met = {
        reason.rule
        for guest in GuestOs
        for load in Load
        for density in (1, 2, 4)
        for migration in (False, True)
        for item in advise(
            embedded(), guest_os=guest, load=load, density=density, migration=migration
        ).recommendations
        for reason in item.reasons
    }
    assert met == {rule.id for rule in RULES}
    assert {kind for rule in RULES for kind in rule.points} == set(Kind)


def test_shown_as_text_html_and_json() -> None:
    advice = advise(embedded(), guest_os="windows", migration=True)
    text = str(advice)
    assert text.startswith("embedded host")
    assert "Answers to the migration question" in text
    html = advice._repr_html_()
    assert "&lt;interface" in html
    assert json.loads(json.dumps(advice.to_dict()))["need"]["guest_os"] == "windows"
    assert str(Need()) == (
        "one VM (linux) that stays where it is, with much traffic in large packets"
    )


HOSTS = {
    "embedded": embedded(),
    "busy": recorded("embedded_busy"),
    "paravirtual": recorded("paravirtual"),
}


@st.composite
def hosts(draw: st.DrawFn) -> HostFacts:
    """Return a recorded host, with things taken away or in the way."""
    facts = HOSTS[draw(st.sampled_from(sorted(HOSTS)))]
    missing = draw(st.sets(st.sampled_from(["vhost_net", "macvtap", "vfio_pci", "igbvf", "tun"])))
    facts = without_module(facts, *missing)
    if draw(st.booleans()):
        facts = without_iommu(facts)
    if draw(st.booleans()):
        facts = without_kvm(facts)
    for name in draw(st.sets(st.sampled_from(["p1p1", "p2p1"]))):
        facts = in_bridge(facts, name, "br-of-somebody")
    vfs = draw(st.integers(0, 7))
    return with_vfs(facts, "p2p1", vfs) if vfs else facts


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    facts=hosts(),
    guest=st.sampled_from(GuestOs),
    load=st.sampled_from(Load),
    density=st.integers(1, 64),
    migration=st.booleans(),
)
def test_always_something_and_never_what_the_host_cannot_do(
    facts: HostFacts, guest: GuestOs, load: Load, density: int, migration: bool
) -> None:
    advice = advise(facts, guest_os=guest, load=load, density=density, migration=migration)
    offered = advice.recommendations
    assert offered
    assert [item.rank for item in offered] == list(range(1, len(offered) + 1))
    assert [item.points for item in offered] == sorted(
        (item.points for item in offered), reverse=True
    )
    names = [item.scheme for item in offered]
    assert len(set(names)) == len(names)
    assert not set(names) & {item.scheme for item in advice.excluded}
    assert all(item.reason for item in advice.excluded)
    possible = {
        scheme.id
        for scheme in CATALOGUE
        if any(attempt(scheme, facts, cable).possible for cable in cables_for(facts))
    }
    known = {scheme.id for scheme in CATALOGUE} - {"sriov-vf", "passthrough"}
    assert set(names) & known <= possible
    for item in offered:
        node = etree.fromstring(f"<all>{item.interface_xml}</all>".encode())
        assert {child.tag for child in node} <= {"interface", "hostdev"}
        hands_over = "hostdev" in item.interface_xml
        assert not (hands_over and not facts.iommu.on)
        assert not (hands_over and not facts.kvm.usable)
        assert not (hands_over and migration and "teaming" not in item.interface_xml)
        if guest is GuestOs.LEGACY:
            assert "virtio" not in item.interface_xml
        if guest is GuestOs.LINUX_CLOUD:
            assert "e1000" not in item.interface_xml
    for address in facts.ports:
        if set(address.names) & set(facts.carriers):
            bus = address.address
            assert not any(bus in step for item in offered for step in item.steps)


def test_commands_in_an_answer_to_migration_are_code_in_both_languages() -> None:
    advice = advise(embedded(), migration=True)
    for language in ("en", "zh"):
        with reading(language):
            page = advice._repr_html_()
        assert "<code>bridge link set dev PORT learning off</code>" in page
        assert "`" not in page


def test_answers_to_migration_are_chinese_in_a_list() -> None:
    advice = advise(embedded(), migration=True)
    with reading("zh"):
        printed = str(bullet_list(*advice.migration)).splitlines()
    assert len(printed) == len(advice.migration)
    assert not [line for line in printed if re.search(r"(?:\b[a-z]{2,}\b ){2}", line)]
