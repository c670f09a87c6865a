"""Numbers, sentences and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import names, sentences, tables
from kvmlab.report.wording import wording
from kvmlab.results import Reach, compare
from tests.report import made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (0.4, "0.400"),
        (1.944, "1.94"),
        (25.06, "25.1"),
        (99.96, "100.0"),
        (360.4, "360"),
        (1144, "1,140"),
        (123456, "123,000"),
        (-2.5, "−2.50"),
        (float("inf"), "∞"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert names.number(value) == text


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_a_number_is_within_one_percent_of_what_it_says(value: float) -> None:
    said = float(names.number(value).replace(",", ""))
    assert said == pytest.approx(value, rel=0.01)


def test_what_was_seen_names_both_sides_and_the_interval() -> None:
    speed = compare(made.e1000(), made.virtio(), "tcp_up_mbps")
    latency = compare(made.e1000(), made.virtio(), "rtt_p50_us")
    said = str(sentences.seen(speed, latency))
    assert "25.0 against 0.800 Mbit/s, better: 31.2 times" in said
    assert "22.0 against 35.0 ms" in said
    assert "Medians of 3 trials" in said
    assert "Wall time" in said


def test_no_difference_is_told_as_none() -> None:
    same = made.result("e1000e", "e1000e", (0.75, 0.95, 0.8), (35_000,), 38)
    said = str(sentences.seen(compare(made.e1000(), same, "tcp_up_mbps")))
    assert "no difference shown" in said
    assert "better" not in said


def test_one_trial_claims_nothing() -> None:
    one = made.result("virtio-qemu", "virtio", (25.0,), (22_000,), 0.4)
    speed = compare(made.e1000(), one, "tcp_up_mbps")
    assert "no interval" in str(sentences.seen(speed))
    assert sentences.claim("Faster.", speed, at_least=1).outcome == "not shown"


def test_claims_follow_the_interval() -> None:
    exits = compare(made.e1000(), made.virtio(), "vm_exits_per_packet", "tcp_up")
    back = compare(made.virtio(), made.e1000(), "vm_exits_per_packet", "tcp_up")
    assert sentences.claim("Fewer.", exits, at_most=0.1).outcome == "borne out"
    assert sentences.claim("Fewer.", back, at_most=0.1).outcome == "contradicted"
    assert sentences.claim("More.", back, at_least=10).outcome == "borne out"
    assert "**Contradicted**" in str(sentences.claim("Fewer.", back, at_most=0.1))


def test_a_claim_needs_one_bound() -> None:
    exits = compare(made.e1000(), made.virtio(), "vm_exits_per_packet", "tcp_up")
    with pytest.raises(UsageError, match="one bound"):
        sentences.claim("Fewer.", exits)


def test_layers_are_counted() -> None:
    said = str(sentences.layers(made.virtio()))
    assert "4 stations of the host, 1 of them in user space" in said
    assert "QEMU (main loop), vnet3 (tap), kvmlab0 (bridge), p2p1 (port)" in said


def test_the_summary_has_every_metric_once_for_each_workload() -> None:
    frame = tables.summary(made.e1000(), made.virtio())
    assert list(frame.columns) == ["e1000, fully emulated", "virtio, QEMU back end"]
    cell = frame.loc[("TCP from the VM", "TCP from the VM"), "virtio, QEMU back end"]
    assert str(cell).startswith("25.0 [")
    assert str(cell).endswith("] Mbit/s")


def test_the_table_of_hops_is_in_order_of_time() -> None:
    frame = tables.hops(made.virtio())
    assert list(frame["device"])[:4] == ["eth1", "vnet3", "kvmlab0", "p2p1"]
    assert frame.index[0] == ""  # concluded, not timed


def test_the_table_of_emitters_names_the_thread_and_the_way() -> None:
    row = tables.emitters(made.virtio()).loc[made.virtio().label]
    assert row["emitted by"] == "QEMU main loop"
    assert row["into"] == "vnet3, a tap"
    assert row["way through the host"] == "vnet3 → kvmlab0 → p2p1"
    with pytest.raises(UsageError, match="no traced path"):
        tables.emitters(made.e1000())


def test_the_table_of_reach_says_who_answered_and_whose_mac_it_was() -> None:
    mac = "52:54:00:00:00:01"
    frame = tables.reach(
        Reach("macvtap", "p2p1", mac, True, vm_to_peer=True, vm_to_host=False, host_to_vm=False),
        Reach("macvtap", "p2p1", mac, False, vm_to_peer=False, vm_to_host=False, host_to_vm=False),
    )
    assert list(frame["VM → peer"]) == ["answers", "no answer"]
    assert list(frame["VM → host"]) == ["no answer", "no answer"]
    assert list(frame["MAC of the VM"]) == [f"{mac} (its own)", f"{mac} (changed)"]


@dataclass(frozen=True)
class Setting:
    """Something with fields."""

    name: str
    value_now: str


def test_rows_show_every_cell_whole() -> None:
    long = "igb p2p2 up mtu 1500 00:1b:21:76:00:11 192.0.2.1/24 198.51.100.1/24"
    frame = tables.rows([Setting("port", long)], "name", "value_now")
    assert list(frame.columns) == ["value now"]
    assert long in str(frame._repr_html_())  # type: ignore[operator]
    assert long in repr(frame)
    assert repr(frame).splitlines()[0].split() == ["name", "value", "now"]


def test_an_interval_that_ends_at_one_bears_nothing_out() -> None:
    found = replace(compare(made.e1000(), made.virtio(), "rtt_p50_us"), low=0.25, high=1.0)
    assert sentences.claim("It is shorter.", found, at_most=1.0).outcome == "not shown"
    assert sentences.claim(
        "It is longer.", replace(found, low=1.0, high=4.0), at_least=1.0
    ).outcome == ("not shown")


@pytest.mark.parametrize("clock", Clock)
def test_the_head_of_a_chinese_report_speaks_of_host_and_clock_in_chinese(clock: Clock) -> None:
    said = wording("zh-CN").said
    label = f"QEMU 10.0.13, TCG, 1 CPU, {clock.value} clock"
    for text in (
        clock.meaning,
        f"Embedded host: a whole KVM host inside one QEMU process, not hardware ({label}).",
        f"embedded host ({label})",
        "restored from the state saved at 2026-11-22T13:35:09+00:00",
    ):
        assert not re.search(r"(?:\b[A-Za-z]{2,}\b[ ,]+){3,}", said(text)), said(text)
        assert wording("en").said(text) == text
