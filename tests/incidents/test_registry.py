"""Faults by seed and level, their texts in both languages, and what probes print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes.guest_state import SetGuestState
from kvmlab.changes.host_state import set_state
from kvmlab.changes.journal_format import step_of, step_record
from kvmlab.changes.operations import command_of
from kvmlab.doctor import Diagnosis
from kvmlab.doctor.model import Finding, ok, problem
from kvmlab.errors import UsageError
from kvmlab.facts import Rule
from kvmlab.incidents import FAULTS, Effect, Fault, Health, draw, find_fault
from kvmlab.incidents.health import FILE_MIB, parse_health
from kvmlab.incidents.phrases import HOW_TO_LOOK, WHERE
from kvmlab.incidents.session import doctors_word
from tests.notebooks.test_terms import refused

if TYPE_CHECKING:
    from pathlib import Path

    from kvmlab.course import Bilingual

PRINTED = """ping PING 192.0.2.1 (192.0.2.1): 56 data bytes
ping 20 packets transmitted, 18 packets received, 10% packet loss
ping round-trip min/avg/max = 0.121/0.250/0.464 ms
large 4 packets transmitted, 0 packets received, 100% packet loss
download 141.00 143.00
upload 500000000
"""


def test_there_are_at_least_twenty_five_faults() -> None:
    assert len(FAULTS) >= 25
    assert {fault.level for fault in FAULTS.values()} == {1, 2, 3}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_a_fault_is_told_in_both_languages(fault: Fault) -> None:
    texts: list[Bilingual] = [fault.symptom, fault.cause]
    texts += [HOW_TO_LOOK[fault.effects[0]], WHERE[fault.layer]]
    for text in texts:
        assert text.en.endswith((".", "”.", "?"))
        assert re.search(r"[\u4e00-\u9fff]", text.zh)
        assert text.zh.endswith(("。", "。”", "？"))
    assert fault.evidence
    assert fault.name not in fault.symptom.en


def test_a_seed_always_draws_the_same_faults() -> None:
    for level in (1, 2, 3, 4):
        assert draw(7, level) == draw(7, level)
    drawn = {draw(seed, 2)[0].name for seed in range(60)}
    assert len(drawn) >= 8
    assert {FAULTS[name].level for name in drawn} == {2}


def test_two_faults_at_a_time_do_not_hide_each_other() -> None:
    for seed in range(200):
        first, second = draw(seed, 4)
        assert first.layer is not second.layer
        assert not set(first.effects) & set(second.effects)
        assert Effect.UNREACHABLE not in (*first.effects, *second.effects)


def test_every_fault_that_leaves_a_network_takes_part_in_combinations() -> None:
    """One that cuts the VM off would hide the other; so would another NIC."""
    drawn = {fault.name for seed in range(400) for fault in draw(seed, 4)}
    assert {"interrupt-throttling", "short-ring", "port-delay"} <= drawn
    for name in drawn:
        assert FAULTS[name].scheme == Fault.scheme
        assert not FAULTS[name].near_peer


def test_an_unknown_fault_or_level_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="tap-shaper"):
        find_fault("tap-shapr")
    with pytest.raises(UsageError, match="no level 9"):
        draw(1, 9)


def test_the_probes_are_read() -> None:
    health = parse_health(PRINTED)
    assert (health.loss, health.round_trip_ms, health.large_loss) == (10, 0.25, 100)
    assert health.download == 3 * FILE_MIB / 2
    assert health.upload == 3 * FILE_MIB / 0.5
    cut = parse_health("ping PING 192.0.2.1 (192.0.2.1): 56 data bytes\ndownload 0 0\n")
    assert (cut.loss, cut.download, cut.upload) == (100, 0, None)


@pytest.mark.parametrize(
    ("finding", "word"),
    [
        (
            problem(Rule.VHOST_NOT_USED, "threads", "52:54:00:6b:00:01 of vm: QEMU serves them."),
            "vhost-not-used: 52:54:00:6b:00:01 of vm: QEMU serves them. ",
        ),
        (ok(Rule.VHOST_NOT_USED, "threads", "-"), "A rule is near it, and finds nothing: "),
    ],
    ids=["problem", "nothing"],
)
def test_the_doctors_word_is_in_both_languages(finding: Finding, word: str) -> None:
    read = doctors_word(find_fault("qemu-back-end"), Diagnosis("host", None, (finding,)))
    assert read.en.startswith(word)
    assert not re.search(r"[A-Za-z]+ [a-z]+ [a-z]+", read.zh.replace("`", ""))


def test_health_is_compared_with_that_before() -> None:
    usual = Health(loss=0, round_trip_ms=0.2, large_loss=0, download=100, upload=100)
    assert usual.effects(usual) == ()
    assert Health(loss=0, round_trip_ms=1.2, download=80, upload=80).effects(usual) == ()
    worse = Health(loss=5, round_trip_ms=40, large_loss=100, download=0, upload=50)
    assert set(worse.effects(usual)) == set(Effect) - {Effect.UNREACHABLE}
    assert Health(loss=100, large_loss=100).effects(usual) == (Effect.UNREACHABLE,)
    sentences = [sentence.en for sentence in worse.sentences(usual)]
    assert "A round trip takes 40.00 ms; it took 0.20 ms before." in sentences


def test_a_state_of_the_guest_outlives_its_process_in_the_journal() -> None:
    step = SetGuestState(
        what="Put in.",
        domain="kvmlab-vm",
        state="sysctl",
        mac="-",
        name="net/ipv4/tcp_rmem",
        value="4096,4096,4096",
        value_before="4096,131072,3469184",
    )
    assert step_of(step_record(step)) == step
    assert step.undo_text == ("in the VM: sysctl -w net.ipv4.tcp_rmem='4096 131072 3469184'",)


@pytest.mark.parametrize(
    "words",
    [
        ("rm", "p2p1", "root", "none"),
        ("file", "p2p1", "../../x", "1"),
        ("file", "p2p1", "mtu", "1; reboot"),
        ("qdisc", "$(reboot)", "root", "none"),
    ],
)
def test_a_journal_cannot_make_anything_else_run(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no value"):
        command_of(("set-state", *words))
    with pytest.raises(ValueError, match=r"value of a guest|no state"):
        SetGuestState("Put in.", "kvmlab-vm", "sysctl", "-", "../../etc/passwd", words[-1], "x")


def test_commands_are_shown_as_a_person_types_them() -> None:
    assert set_state("qdisc", "vnet0", "root", "none").shown == "tc qdisc delete dev vnet0 root"
    shaped = set_state("qdisc", "vnet0", "root", "netem_delay_40ms")
    assert shaped.shown == "tc qdisc replace dev vnet0 root netem delay 40ms"


def test_the_reference_page_lists_every_fault(repository: Path) -> None:
    page = (repository / "docs" / "incidents.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (\d) \| (\w+) \|", page, re.MULTILINE)
    faults = [(fault.name, str(fault.level), str(fault.layer)) for fault in FAULTS.values()]
    assert rows == faults


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_the_chinese_uses_the_terms_of_the_glossary(fault: Fault, repository: Path) -> None:
    texts = [fault.symptom.zh, fault.cause.zh]
    texts += [HOW_TO_LOOK[fault.effects[0]].zh, WHERE[fault.layer].zh]
    wrong = [
        match[0] for text in texts for match in refused(repository, chinese=True).finditer(text)
    ]
    assert not wrong
