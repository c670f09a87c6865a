"""Tunings without a host: their plans on recorded facts, ids, texts and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.changes import AttachInterface, HostStep, TuneGuest, operations
from kvmlab.changes.journal_format import step_of, step_record
from kvmlab.domain import Interface
from kvmlab.domain.description import LabVm
from kvmlab.domain.diff import with_device
from kvmlab.domain.schema import validate
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import HostFacts, inspect
from kvmlab.facts.rules import Rule
from kvmlab.hosts import Cable
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, Virtio
from kvmlab.tunings import (
    TUNINGS,
    Tuning,
    split_id,
    surveyed,
    tuned,
    tuned_scheme_from_text,
    tuning_from_text,
    values_of,
)
from kvmlab.tunings.base import TAP, Target
from kvmlab.tunings.filters import pass_all
from tests.facts.recorded_host import load

CABLE = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", "peer", "p2p2")
VHOST = Virtio(backend="vhost")
#: Refused on every host of today, or where the recorded one has one CPU.
NEVER = {"in-order=on", "mitigations-host=auto", "avic=on"}


@pytest.fixture(scope="module")
def facts(data: Path) -> HostFacts:
    recorded = inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)
    return replace(recorded, emulated="Embedded host.", cpu=replace(recorded.cpu, logical_cpus=2))


def attached(facts: HostFacts, scheme: Scheme) -> Interface:
    steps = scheme.plan(facts, cable=CABLE).steps
    (step,) = (step for step in steps if isinstance(step, AttachInterface))
    return Interface.parse(step.interface_xml)


@pytest.mark.parametrize("tuning", values_of(), ids=str)
def test_a_tuning_can_be_planned_journalled_and_undone_or_says_why_not(
    tuning: Tuning, facts: HostFacts
) -> None:
    scheme: Scheme = VHOST if str(tuning) != "packed=on" else Virtio()
    if str(tuning) in NEVER:
        with pytest.raises(Unavailable) as caught:
            tuned(scheme, tuning).plan(facts, cable=CABLE)
        assert caught.value.rule == Rule.TUNING_UNAVAILABLE
        return
    plan = tuned(scheme, tuning).plan(facts, cable=CABLE)
    assert plan.scheme == f"{scheme.id}+{tuning}"
    assert not plan.refusals
    base = scheme.plan(facts, cable=CABLE)
    # A VM is needed to plan what starts it anew, or what is written inside it.
    if not tuning.restarts_vm and not tuning.guest_settings():
        assert plan.steps != base.steps
    device = Interface.parse(plan.interface_xml)
    validate(with_device(LabVm().domain().xml(), device).xml())
    for step in plan.steps:
        again = step_of(step_record(step))
        assert again.undo_text == step.undo_text
        if isinstance(step, HostStep) and not step.after_attach:
            assert step.undo, f"{step.what} has no undo"


@pytest.mark.parametrize("kind", TUNINGS.values(), ids=lambda kind: kind.id)
def test_a_tuning_has_a_default_and_sentences_in_both_languages(kind: type[Tuning]) -> None:
    assert kind.default in kind.values
    assert len(kind.values) > 1
    text = kind(kind.default).text
    for sentence in (text.does, text.use, text.elsewhere):
        assert sentence.en.endswith(".")
        assert sentence.zh.endswith("。")
        assert sentence.in_language("zh-CN") != sentence.in_language("en")


def test_an_atlas_has_filters_with_no_rule_and_up_to_a_thousand() -> None:
    rows = [str(tuning) for tuning in surveyed()]
    for tool in ("iptables", "nft"):
        counts = [row.partition("=")[2] for row in rows if row.startswith(f"{tool}-rules=")]
        assert counts == ["0", "10", "100", "1000"]
    assert len(set(rows)) == len(rows)


def test_a_default_changes_nothing_of_the_host(facts: HostFacts) -> None:
    own = {step for step in VHOST.plan(facts, cable=CABLE).steps if isinstance(step, HostStep)}
    for kind in TUNINGS.values():
        plan = tuned(VHOST, kind(kind.default)).plan(facts, cable=CABLE)
        more = [s for s in plan.steps if isinstance(s, HostStep) and s not in own]
        assert all(step.after_attach for step in more), kind.id


def test_a_scheme_with_tunings_is_made_from_text() -> None:
    scheme = tuned_scheme_from_text("virtio-vhost+rx-ring=256+mtu=9000")
    assert scheme == tuned(VHOST, "rx-ring=256", "mtu=9000")
    assert scheme.id == "virtio-vhost+rx-ring=256+mtu=9000"
    assert scheme.label == "virtio, vhost, rx-ring=256, mtu=9000"
    assert split_id(scheme.id) == ("virtio-vhost", ("rx-ring=256", "mtu=9000"))
    assert tuned_scheme_from_text("virtio-vhost") == VHOST
    with_options = tuned_scheme_from_text("virtio-vhost", {"queues": "2", "rx-ring": "64"})
    assert with_options == tuned(Virtio(backend="vhost", queues=2), "rx-ring=64")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("virtio-vhost+rx-rings=256", "Did you mean rx-ring"),
        ("virtio-vhost+rx-ring", "is no tuning"),
        ("virtio-vhost+rx-ring=7", "no value of the tuning rx-ring"),
        ("virtio-vhost+mtu=1500+mtu=9000", "do not go together"),
    ],
)
def test_text_that_names_no_tuning_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tuned_scheme_from_text(text)


def test_the_xml_has_what_was_asked_for(facts: HostFacts) -> None:
    interface = attached(facts, tuned(VHOST, "rx-ring=256", "event-idx=off", "mtu=9000"))
    assert (interface.rx_queue_size, interface.event_idx, interface.mtu) == (256, False, 9000)
    interface = attached(facts, tuned(VHOST, "offloads=off"))
    assert (interface.host_tso4, interface.guest_csum, interface.host_mrg_rxbuf) == (False,) * 3
    interface = attached(facts, tuned(VHOST, "nwfilter=clean-traffic"))
    assert (interface.filter, interface.filter_ip) == ("clean-traffic", "192.0.2.10")
    # The tap gets a name only where something is set at it.
    assert attached(facts, tuned(VHOST, "tap-tso=off")).target_dev == TAP
    assert attached(facts, tuned(VHOST, "rx-ring=64")).target_dev is None


def test_steps_of_the_tap_come_after_it_and_those_of_the_guest_last(facts: HostFacts) -> None:
    steps = tuned(VHOST, "tap-qdisc=pfifo", "guest-tso=off").plan(facts, cable=CABLE).steps
    place = next(i for i, step in enumerate(steps) if isinstance(step, AttachInterface))
    qdisc = steps[place + 1]
    assert isinstance(qdisc, HostStep)
    assert qdisc.after_attach
    assert isinstance(steps[-1], TuneGuest)


@pytest.mark.parametrize(
    ("scheme", "tuning", "message"),
    [
        (VHOST, "packed=on", "vhost-net in the kernel offers no packed ring"),
        (FullEmulation("e1000e"), "rx-ring=64", "Only a virtio NIC"),
        (Macvtap(), "br-netfilter=on", "No bridge"),
        (Macvtap(), "mtu=9000", "not one of tap, bridge and port"),
        (Virtio(), "zerocopy=on", "vhost does not serve"),
        (VHOST, "in-order=on", "libvirt has no attribute"),
    ],
)
def test_what_does_not_fit_is_refused(
    scheme: Scheme, tuning: str, message: str, facts: HostFacts
) -> None:
    with pytest.raises(Unavailable, match=message):
        tuned(scheme, tuning).plan(facts, cable=CABLE)


def test_a_whole_card_has_no_ring_to_tune(facts: HostFacts) -> None:
    cable = Cable("p1p1", "198.51.100.10/24", "198.51.100.1/24", "peer", "p3p1")
    with pytest.raises(Unavailable, match="Only a virtio NIC"):
        tuned(PciPassthrough(group="take"), "rx-ring=64").plan(facts, cable=cable)


def test_a_vm_is_not_started_anew_on_a_host_of_others(facts: HostFacts) -> None:
    with pytest.raises(Unavailable, match="started anew"):
        tuned(VHOST, "viommu=strict").plan(replace(facts, emulated=None), cable=CABLE)


def test_a_journal_makes_nothing_else_run() -> None:
    for operation in (
        ("drop-rules", "rm", "kvmlab0"),
        ("write-sysctl", "/proc/sys/kernel/core_pattern", "x"),
        ("set-mtu", "p2p1", "9000; reboot", "-"),
        ("detach-xdp", "p2p1", "off"),
    ):
        with pytest.raises(ValueError, match="no value"):
            operations.command_of(operation)


def test_the_xdp_program_passes_every_frame() -> None:
    assert pass_all().hex() == "b700000002000000" + "9500000000000000"


def test_second_meters_are_made_for_the_vms_threads_or_refused(facts: HostFacts) -> None:
    tuning = tuning_from_text("meters=twice")
    target = Target(facts, CABLE, VHOST, attached(facts, VHOST))
    settings = {
        "record:kvm/kvm_exit": "common_pid:4 exit_reason:8",
        "record:sched/sched_switch": "prev_pid:24 next_pid:56",
        "vcpus:kvmlab": "812 816 817",
    }
    assert set(tuning.reads(target)) == {
        path.replace("kvmlab", target.vm_name) for path in settings
    }
    settings = {path.replace("kvmlab", target.vm_name): text for path, text in settings.items()}
    target = replace(target, settings=settings)
    assert tuning.refusal(target) == ""
    (step,) = tuning.host_steps(target)
    there, load = step.do
    assert there.argv == ("ls", "-d", "/proc/812/task/816", "/proc/812/task/817")
    assert load.input_text is not None
    _, _, lines = load.input_text.partition("__END__\n")
    programs = [line.split("\t")[2:] for line in lines.splitlines()]
    assert [len(group) for group in programs] == [4, 5, 1]
    # A jump at each thread's id, 32 bits of it, stands in the code.
    for tid in (816, 817):
        assert all(tid.to_bytes(4, "little").hex() in word for word in programs[0])
    no_vcpu = replace(target, settings={**settings, f"vcpus:{target.vm_name}": "812"})
    assert tuning.refusal(no_vcpu) == f"No vCPU of {target.vm_name} runs on the host."
    no_trace = replace(target, settings={**settings, "record:kvm/kvm_exit": None})
    assert "tracepoints kvm/kvm_exit cannot be read" in tuning.refusal(no_trace)
