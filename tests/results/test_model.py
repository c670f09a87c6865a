"""Metrics, trials and results."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from kvmlab.errors import MeasureError, UsageError
from kvmlab.results import Metric
from tests.results.builders import PATH, result, trial


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("tcp_up_mbps", "Mbit/s"),
        ("rtt_p50_us", "µs"),
        ("udp_received_pps", "packets/s"),
        ("udp_loss_percent", "%"),
        ("vm_exits_per_packet", "exits/packet"),
        ("cpu_us_per_mb", "µs/MB"),
        ("retransmits_count", ""),
    ],
)
def test_a_name_ends_in_its_unit(name: str, unit: str) -> None:
    assert Metric(name, 1.0, unit, "higher").unit == unit


@pytest.mark.parametrize(
    ("name", "unit"),
    [("tcp_up_mbps", "Gbit/s"), ("tcp_up", "Mbit/s"), ("vm_exits_per_packet", "exits")],
)
def test_a_unit_other_than_that_of_the_name_is_refused(name: str, unit: str) -> None:
    with pytest.raises(UsageError, match=name):
        Metric(name, 1.0, unit, "higher")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_is_a_finite_number(value: float) -> None:
    with pytest.raises(MeasureError):
        Metric("tcp_up_mbps", value, "Mbit/s", "higher")


def test_unlike_units_do_not_mix() -> None:
    speed = Metric("tcp_up_mbps", 10.0, "Mbit/s", "higher")
    assert Metric("tcp_down_mbps", 20.0, "Mbit/s", "higher").ratio_to(speed) == 2
    with pytest.raises(UsageError, match="cannot be compared"):
        Metric("rtt_p50_us", 20.0, "µs", "lower").ratio_to(speed)


def test_costs_per_packet_and_per_megabyte() -> None:
    costs = {metric.name: metric for metric in trial(1, 100.0).cost_metrics}
    assert costs["vm_exits_per_packet"].value == pytest.approx(0.6)
    assert costs["vm_exits_per_mb"].value == pytest.approx(400)
    assert costs["cpu_us_per_packet"].unit == "µs/packet"
    assert trial(1, 100.0).cost("vm_exits", "hlt") == 10
    assert trial(1, 100.0).cost("nothing") is None


def test_a_trial_without_packets_has_no_cost_per_packet() -> None:
    names = [metric.name for metric in trial(1, 100.0, packets=0).cost_metrics]
    assert "vm_exits_per_packet" not in names
    assert "vm_exits_per_mb" in names


def test_costs_of_a_result_are_medians_with_the_largest_part_first() -> None:
    parts = result(exits=[50, 70, 60]).costs("tcp_up", name="vm_exits")
    assert [(c.part, c.summary.median, c.unit) for c in parts] == [
        ("npf", 0.6, "exits/packet"),
        ("hlt", 0.1, "exits/packet"),
    ]
    (whole,) = result(exits=[50, 70, 60]).costs("tcp_up", name="vm_exits", parts=False, per="trial")
    assert (whole.summary.median, whole.unit) == (70, "exits")


def test_an_error_about_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="tcp_up_mbps"):
        result().summary("rtt_p50_us")
    with pytest.raises(UsageError, match="tcp_up"):
        result().of("latency")


def test_a_metric_of_several_workloads_needs_the_workload() -> None:
    both = replace(result(), trials=(trial(1, 1.0), trial(1, 2.0, workload="pps")))
    with pytest.raises(UsageError, match="several workloads"):
        both.summary("vm_exits_per_packet")
    assert both.summary("vm_exits_per_packet", "pps").median == pytest.approx(0.6)


def test_a_path_lists_its_devices_by_leg_and_side() -> None:
    assert PATH.devices() == ("eth0", "vnet0", "br0", "p2p2")
    assert PATH.devices("host") == ("vnet0", "br0")
    assert PATH.devices("host", "reply") == ("vnet0",)
    assert len(PATH.host_hops) == 3
    assert "(inferred)" in str(PATH)


def test_one_part_of_a_cost_is_a_metric_of_its_own() -> None:
    both = result(exits=[50, 70, 60])
    assert both.summary("vm_exits_per_packet", "tcp_up", ("npf",)).values == (0.5, 0.7, 0.6)
    assert both.summary("vm_exits_per_packet", "tcp_up", ("io",)).values == (0, 0, 0)
