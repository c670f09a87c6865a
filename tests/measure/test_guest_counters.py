"""Counters of queue pairs as a VM really printed them, and the shares that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.errors import OutputError
from kvmlab.measure import Trials
from kvmlab.measure.guest_counters import GuestCounters, busiest, parse_queues
from kvmlab.measure.procfs import DeviceCounters
from kvmlab.measure.workloads import workload
from kvmlab.results import Share

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
# Recorded after `iperf3 -P 8` with two of four queue pairs in use.
TEXT = (DATA / "guest-queues.txt").read_text()


def test_packets_and_interrupts_belong_to_a_queue_pair() -> None:
    counters = parse_queues(TEXT)
    assert counters.sent == {0: 8581, 1: 2754}
    assert counters.interrupts == {0: 129 + 599 + 1, 1: 1 + 128 + 299, 2: 0, 3: 0}


def test_a_kernel_without_such_statistics_has_interrupts_alone() -> None:
    head, _, rest = TEXT.partition("qdisc mq")
    counters = parse_queues(head + rest[rest.index("=== interrupts") :])
    assert counters.sent == {}
    assert counters.interrupts[0] == 729


def test_output_that_was_cut_off_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="cut off"):
        parse_queues(TEXT.removesuffix("=== end\n"))


def test_shares_are_differences_and_a_new_queue_begins_at_zero() -> None:
    before, after = GuestCounters({0: 5}, {0: 7}), GuestCounters({0: 9, 1: 2}, {0: 8})
    assert after.since(before).shares == (
        Share("sent_packets", 0, 4.0, "packets"),
        Share("sent_packets", 1, 2.0, "packets"),
        Share("queue_interrupts", 0, 1.0, "interrupts"),
    )


def test_the_share_of_the_busiest() -> None:
    shares = [Share("sent_packets", 0, 30.0, "packets"), Share("sent_packets", 1, 10.0, "packets")]
    shares += [Share("worker_us", 0, 8.0, "µs"), Share("worker_us", 1, 0.0, "µs")]
    percents = {metric.name: metric.value for metric in busiest(shares)}
    assert percents == {"busiest_queue_percent": 75.0, "busiest_worker_percent": 100.0}


def test_many_flows_are_one_client_with_so_many_connections() -> None:
    trials = Trials(flows=6)
    many = workload("tcp_up_flows", trials, "192.0.2.1")
    assert " ".join(many.client[-3:]) == "-P 6 -J"
    small = workload("pps_flows", trials, "192.0.2.1")
    assert {"-u", "-P", "6"} <= set(small.client)
    assert "-P" not in workload("tcp_up", trials, "192.0.2.1").client


def test_the_interface_is_a_window_where_nobody_else_counts() -> None:
    before = GuestCounters(interface=DeviceCounters(100, 1, 200, 2))
    moved = GuestCounters(interface=DeviceCounters(1100, 11, 3200, 32)).since(before)
    window = moved.window(2, "eth1 in the VM")
    assert (window.packets, window.bytes, window.seconds) == (40, 4000, 2.0)
    assert moved.sent_pps(2).value == 15


def test_a_digit_that_is_no_number_is_no_count() -> None:
    # "²" is a digit to Python, and no number.
    counters = parse_queues(TEXT.replace("129", "12²"))
    assert 0 in counters.interrupts
