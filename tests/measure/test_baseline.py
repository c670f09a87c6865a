"""The host's own port as a result: what its script printed, and that nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvmlab.errors import MeasureError, OutputError, Unavailable
from kvmlab.measure import Trials
from kvmlab.measure.baseline import parse_run
from kvmlab.results.journal import recovered

if TYPE_CHECKING:
    from kvmlab.lab import Lab

PRINTED = """\
=== before
  p2p2: 1000 10 0 0 0 0 0 0  2000 20 0 0 0 0 0 0
=== client
{"start": 1}

=== after
  p2p2: 9000 90 0 0 0 0 0 0  2500 25 0 0 0 0 0 0
=== code 0
"""


def test_counters_move_by_what_was_sent() -> None:
    run = parse_run(PRINTED, "tcp_up", at_peer=True)
    assert (run.received, run.packets, run.bytes) == (80, 85, 8500)
    assert '{"start": 1}' in run.client
    assert parse_run(PRINTED, "tcp_up", at_peer=False).received == 5


def test_a_client_that_failed() -> None:
    with pytest.raises(MeasureError, match="`tcp_up` failed on the host"):
        parse_run(PRINTED.replace("code 0", "code 1"), "tcp_up", at_peer=True)


@pytest.mark.parametrize("text", ["", "=== before\n", PRINTED.replace("1000 10", "x 10")])
def test_something_else(text: str) -> None:
    with pytest.raises(OutputError):
        parse_run(text, "tcp_up", at_peer=True)


@pytest.mark.host
def test_the_port_alone(lab: Lab) -> None:
    before = lab.inspect().link("p2p1")
    result = lab.baseline(Trials(count=1, workloads=("tcp_up", "latency", "pps")))
    assert lab.inspect().link("p2p1") == before
    assert result.scheme == "host"
    assert {trial.workload for trial in result.trials} == {"tcp_up", "latency", "pps"}
    (up,) = result.of("tcp_up")
    (mbps,) = (metric.value for metric in up.metrics if metric.name == "tcp_up_mbps")
    # What iperf3 said went over the wire, and little else did.
    assert 0.9 < mbps * 1e6 / 8 * up.window.seconds / up.window.bytes < 1.1
    (took,) = (one.value for one in up.conditions if one.name == "client_sec")
    assert took > 0
    assert result.summary("udp_received_pps").median > 0
    # It is a run as every measurement is, from its first trial on.
    folder = lab.keep(result).folder
    assert (folder / "trials.jsonl").read_text().count("\n") == 4
    assert recovered(folder)[0].trials == result.trials


@pytest.mark.host
def test_a_port_in_a_bridge_is_not_measured_alone(lab: Lab) -> None:
    run = lab.host.run
    run(("ip", "link", "add", "other", "type", "bridge"), timeout_sec=60)
    try:
        run(("ip", "link", "set", "p2p1", "master", "other"), timeout_sec=60)
        with pytest.raises(Unavailable, match="belongs to other"):
            lab.baseline(Trials(count=1, workloads=("tcp_up",)))
    finally:
        run(("ip", "link", "delete", "other"), timeout_sec=60)
        lab.inspect()  # later tests plan with what was read last
