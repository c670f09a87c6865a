"""Output that iperf3, sockperf and ping really printed, and the same cut short."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure import tool_output
from kvmlab.results import Metric

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"


def text(name: str) -> str:
    return (DATA / name).read_text()


def values(metrics: tuple[Metric, ...]) -> dict[str, float]:
    return {metric.name: round(metric.value, 3) for metric in metrics}


def test_tcp_throughput_is_what_the_receiver_saw() -> None:
    document = json.loads(text("iperf3-tcp-up.json"))["end"]
    figures = values(tool_output.iperf3_tcp(text("iperf3-tcp-up.json"), "up"))
    assert figures["tcp_up_mbps"] == pytest.approx(
        document["sum_received"]["bits_per_second"] / 1e6, rel=0.02
    )
    assert figures["tcp_up_retransmits_count"] == document["sum_sent"]["retransmits"]


def test_tcp_the_other_way() -> None:
    figures = values(tool_output.iperf3_tcp(text("iperf3-tcp-down.json"), "down"))
    assert figures["tcp_down_mbps"] > 1


def test_udp_counts_datagrams_at_both_ends() -> None:
    figures = values(tool_output.iperf3_udp(text("iperf3-udp.json")))
    assert 0 < figures["udp_delivered_pps"] <= figures["udp_sent_pps"] * 1.05
    assert 0 <= figures["udp_loss_percent"] <= 100


def test_iperf3_says_why_it_failed() -> None:
    with pytest.raises(MeasureError, match="Connection refused"):
        tool_output.iperf3_tcp(text("iperf3-refused.json"), "up")


def test_sockperf_percentiles() -> None:
    figures = values(tool_output.sockperf_ping_pong(text("sockperf-ping-pong.txt")))
    assert figures == {
        "response_p50_us": 3914.768,
        "response_p90_us": 8916.029,
        "response_mean_us": 4941.165,
        "response_observations_count": 514,
    }


def test_a_percentile_needs_ten_observations_beyond_it() -> None:
    many = text("sockperf-ping-pong.txt").replace("Total 514", "Total 5140")
    assert values(tool_output.sockperf_ping_pong(many))["response_p99_us"] == 14240.641


def test_sockperf_without_a_server() -> None:
    with pytest.raises(MeasureError, match="came back"):
        tool_output.sockperf_ping_pong(text("sockperf-no-server.txt"))


def test_ping_of_busybox() -> None:
    figures = values(tool_output.ping_times(text("ping-busybox.txt")))
    assert figures["rtt_observations_count"] == 20
    assert "rtt_p90_us" not in figures
    assert figures["rtt_p50_us"] > 0


def test_ping_without_an_answer() -> None:
    silent = "\n--- 192.0.2.1 ping statistics ---\n3 packets transmitted, 0 packets received\n"
    with pytest.raises(MeasureError, match="No echo"):
        tool_output.ping_times(silent)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("iperf3-tcp-up.json", partial(tool_output.iperf3_tcp, direction="up")),
        ("iperf3-udp.json", tool_output.iperf3_udp),
        ("sockperf-ping-pong.txt", tool_output.sockperf_ping_pong),
        ("ping-busybox.txt", tool_output.ping_times),
    ],
)
@settings(max_examples=40)
@given(share=st.floats(min_value=0, max_value=0.9))
def test_output_that_breaks_off_is_an_output_error(name: str, read, share: float) -> None:  # type: ignore[no-untyped-def]
    whole = text(name)
    with pytest.raises(OutputError):
        read(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("broken", ["[]", "3", "null", '{"end": {}}', '{"start": 1}', '{"end": 3}'])
def test_json_that_is_not_iperf3s_is_an_output_error(broken: str) -> None:
    with pytest.raises(OutputError):
        tool_output.iperf3_tcp(broken, "up")
    with pytest.raises(OutputError):
        tool_output.iperf3_udp(broken)


def test_the_only_sum_of_an_older_iperf3_is_read() -> None:
    total = {"seconds": 1.0, "bytes": 6_400_000, "lost_packets": 10_000, "packets": 100_000}
    metrics = {m.name: m.value for m in tool_output.iperf3_udp(json.dumps({"end": {"sum": total}}))}
    assert metrics["udp_sent_pps"] == 100_000
    assert metrics["udp_delivered_pps"] == pytest.approx(90_000)
    assert metrics["udp_loss_percent"] == pytest.approx(10)


def test_a_sender_without_retransmits_and_a_warning_before_the_json() -> None:
    sums = {key: {"seconds": 1.0, "bytes": 10**9} for key in ("sum_sent", "sum_received")}
    (speed,) = tool_output.iperf3_tcp(
        "warning: Ignoring MSS 0\n" + json.dumps({"end": sums}), "down"
    )
    assert (speed.name, speed.value) == ("tcp_down_mbps", 8000)
