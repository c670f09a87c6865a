"""Numbers, sentences and tables."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.language import reading, translate
from kvmlab.report import names, sentences, tables
from kvmlab.results import Reach, compare
from tests.report import builders


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
def test_a_printed_number_is_within_one_percent(value: float) -> None:
    printed = float(names.number(value).replace(",", ""))
    assert printed == pytest.approx(value, rel=0.01)


def test_comparisons_name_both_sides_and_the_interval() -> None:
    speed = compare(builders.e1000(), builders.virtio(), "tcp_up_mbps")
    latency = compare(builders.e1000(), builders.virtio(), "rtt_p50_us")
    text = str(sentences.comparisons(speed, latency))
    assert "25.0 against 0.800 Mbit/s, better: 31.2 times" in text
    assert "22.0 against 35.0 ms" in text
    assert "Medians of 3 trials" in text
    assert "Wall time" in text


def test_no_difference_is_called_that() -> None:
    same = builders.result("e1000e", "e1000e", (0.75, 0.95, 0.8), (35_000,), 38)
    text = str(sentences.comparisons(compare(builders.e1000(), same, "tcp_up_mbps")))
    assert "no difference shown" in text
    assert "better" not in text


def test_one_trial_claims_nothing() -> None:
    one = builders.result("virtio-qemu", "virtio", (25.0,), (22_000,), 0.4)
    speed = compare(builders.e1000(), one, "tcp_up_mbps")
    assert "no interval" in str(sentences.comparisons(speed))
    assert sentences.claim("Faster.", speed, at_least=1).outcome == "inconclusive"


def test_claims_follow_the_interval() -> None:
    exits = compare(builders.e1000(), builders.virtio(), "vm_exits_per_packet", "tcp_up")
    back = compare(builders.virtio(), builders.e1000(), "vm_exits_per_packet", "tcp_up")
    assert sentences.claim("Fewer.", exits, at_most=0.1).outcome == "confirmed"
    assert sentences.claim("Fewer.", back, at_most=0.1).outcome == "rejected"
    assert sentences.claim("More.", back, at_least=10).outcome == "confirmed"
    assert "**Rejected**" in str(sentences.claim("Fewer.", back, at_most=0.1))


def test_a_claim_needs_one_bound() -> None:
    exits = compare(builders.e1000(), builders.virtio(), "vm_exits_per_packet", "tcp_up")
    with pytest.raises(UsageError, match="one bound"):
        sentences.claim("Fewer.", exits)


def test_layers_are_counted() -> None:
    text = str(sentences.layers(builders.virtio()))
    assert "4 stations of the host, 1 of them in user space" in text
    assert "QEMU (main loop), vnet3 (tap), kvmlab0 (bridge), p2p1 (port)" in text


def test_the_summary_has_every_metric_once_for_each_workload() -> None:
    frame = tables.summary(builders.e1000(), builders.virtio())
    assert list(frame.columns) == ["e1000, fully emulated", "virtio, QEMU back end"]
    cell = frame.loc[("TCP from the VM", "TCP from the VM"), "virtio, QEMU back end"]
    assert str(cell).startswith("25.0 [")
    assert str(cell).endswith("] Mbit/s")


def test_the_table_of_hops_is_in_order_of_time() -> None:
    frame = tables.hops(builders.virtio())
    assert list(frame["device"])[:4] == ["eth1", "vnet3", "kvmlab0", "p2p1"]
    assert frame.index[0] == ""  # concluded, not timed


def test_the_table_of_emitters_names_the_thread_and_the_path() -> None:
    row = tables.emitters(builders.virtio()).loc[builders.virtio().label]
    assert row["emitted by"] == "QEMU main loop"
    assert row["into"] == "vnet3, a tap"
    assert row["path through the host"] == "vnet3 → kvmlab0 → p2p1"
    with pytest.raises(UsageError, match="no traced path"):
        tables.emitters(builders.e1000())


def test_the_table_of_reach_has_answers_and_macs() -> None:
    mac = "52:54:00:00:00:01"
    frame = tables.reach(
        Reach("macvtap", "p2p1", mac, True, vm_to_peer=True, vm_to_host=False, host_to_vm=False),
        Reach("macvtap", "p2p1", mac, False, vm_to_peer=False, vm_to_host=False, host_to_vm=False),
    )
    assert list(frame["VM → peer"]) == ["answers", "no answer"]
    assert list(frame["VM → host"]) == ["no answer", "no answer"]
    assert list(frame["MAC of the VM"]) == [f"{mac} (its own)", f"{mac} (changed)"]


@dataclass(frozen=True)
class SentenceSetting:
    """Something with fields."""

    name: str
    value_now: str


def test_rows_show_every_cell_whole() -> None:
    long = "igb p2p2 up mtu 1500 00:1b:21:76:00:11 192.0.2.1/24 198.51.100.1/24"
    frame = tables.rows([SentenceSetting("port", long)], "name", "value_now")
    assert list(frame.columns) == ["value now"]
    assert long in str(frame._repr_html_())  # type: ignore[operator]
    assert long in repr(frame)
    assert repr(frame).splitlines()[0].split() == ["name", "value", "now"]


def test_an_interval_that_ends_at_one_is_inconclusive() -> None:
    latency = compare(builders.e1000(), builders.virtio(), "rtt_p50_us")
    short = replace(latency, low=0.25, high=1.0)
    assert sentences.claim("It is shorter.", short, at_most=1.0).outcome == "inconclusive"
    assert sentences.claim(
        "It is longer.", replace(latency, low=1.0, high=4.0), at_least=1.0
    ).outcome == ("inconclusive")


@pytest.mark.parametrize("clock", Clock)
def test_a_chinese_report_describes_host_and_clock_in_chinese(clock: Clock) -> None:
    label = f"QEMU 10.0.13, TCG, 1 CPU, {clock.value} clock"
    for text in (
        clock.meaning,
        f"Embedded host: a whole KVM host inside one QEMU process, not hardware ({label}).",
        f"embedded host ({label})",
        "restored from the state saved at 2026-11-22T13:35:09+00:00",
    ):
        with reading("zh-CN"):
            chinese = translate(text)
        assert not re.search(r"(?:\b[A-Za-z]{2,}\b[ ,]+){3,}", chinese), chinese
        assert translate(text) == text


@pytest.mark.parametrize(
    ("ratio", "low", "high", "text"),
    [
        (0.1, 0.08, 0.12, "0.0800 to 0.120"),
        (2.0, 1e-8, 1e10, "not bounded by these trials"),
        (2.0, 1.5, math.inf, "at least 1.50"),
        (0.5, 0.0, 0.7, "at most 0.700"),
        (0.0, 0.0, 0.3, "at most 0.300"),
        (0.0, 0.0, 0.0, "0"),
        (math.inf, math.inf, math.inf, "∞"),
        (1.0, 0.0, math.inf, "not bounded by these trials"),
    ],
)
def test_an_interval_names_only_the_ends_that_bound_something(
    ratio: float, low: float, high: float, text: str
) -> None:
    assert names.interval(ratio, low, high) == text


def test_a_claim_carries_its_data_for_the_report() -> None:
    exits = compare(
        builders.e1000(), builders.virtio(), "vm_exits_per_packet", "tcp_up", parts=("npf",)
    )
    bundle = sentences.claim("Fewer.", exits, at_most=0.1)._repr_mimebundle_()
    assert bundle[sentences.CLAIM_MIME] == {
        "claim": "Fewer.",
        "outcome": "confirmed",
        "ratio": "0.0105",
        "interval": "0.0103 to 0.0107",
        "needed": "at most 0.100",
        "metric": "VM exits (npf) a packet, TCP from the VM",
        "schemes": ["virtio, QEMU back end", "e1000, fully emulated"],
    }
    assert bundle["text/markdown"].startswith("✓ Fewer. **Confirmed**: VM exits (npf) a packet")


def test_an_interval_that_bounds_nothing_is_not_printed() -> None:
    speed = compare(builders.e1000(), builders.virtio(), "tcp_up_mbps")
    wide = replace(speed, low=1e-8, high=1e10)
    text = str(sentences.claim("Faster.", wide, at_least=1.0))
    assert "95 % interval not bounded by these trials" in text
    assert "not bounded" in str(sentences.comparisons(wide))
    assert "not bounded" in tables.comparisons(wide)["95 % interval"].iloc[0]
