"""What each queue pair carried: as a VM really printed it, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.errors import OutputError
from kvmlab.measure import Trials
from kvmlab.measure.queues import QueueCounters, busiest, parse_queues, queue_shares
from kvmlab.measure.workloads import workload
from kvmlab.results import Share

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
# Recorded after `iperf3 -P 8` with two of four queue pairs in use.
TEXT = (DATA / "guest-queues.txt").read_text()


def test_packets_and_interrupts_are_told_by_queue_pair() -> None:
    found = parse_queues(TEXT)
    assert found.sent == {0: 8581, 1: 2754}
    assert found.interrupts == {0: 129 + 599 + 1, 1: 1 + 128 + 299, 2: 0, 3: 0}


def test_a_kernel_without_such_statistics_has_interrupts_alone() -> None:
    head, _, rest = TEXT.partition("qdisc mq")
    found = parse_queues(head + rest[rest.index("=== interrupts") :])
    assert found.sent == {}
    assert found.interrupts[0] == 729


def test_output_that_broke_off_is_no_count() -> None:
    with pytest.raises(OutputError, match="broke off"):
        parse_queues(TEXT.removesuffix("=== end\n"))


def test_shares_are_differences_and_a_new_queue_begins_at_zero() -> None:
    shares = queue_shares(QueueCounters({0: 5}, {0: 7}), QueueCounters({0: 9, 1: 2}, {0: 8}))
    assert shares == (
        Share("sent_packets", 0, 4.0, "packets"),
        Share("sent_packets", 1, 2.0, "packets"),
        Share("queue_interrupts", 0, 1.0, "interrupts"),
    )


def test_the_busiest_has_all_where_one_did_it_all() -> None:
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
