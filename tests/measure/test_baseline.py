"""The host's own port as a result, and nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvmlab.errors import Unavailable
from kvmlab.measure import Trials
from kvmlab.results.journal import recovered

if TYPE_CHECKING:
    from kvmlab.lab import Lab


@pytest.mark.host
def test_the_port_alone(lab: Lab) -> None:
    before = lab.inspect().link("p2p1")
    result = lab.baseline(Trials(count=1, workloads=("tcp_up", "latency", "pps")))
    assert lab.inspect().link("p2p1") == before
    assert result.scheme == "host"
    assert {trial.workload for trial in result.trials} == {"tcp_up", "latency", "pps"}
    (up,) = result.of("tcp_up")
    (mbps,) = (metric.value for metric in up.metrics if metric.name == "tcp_up_mbps")
    # The bytes that iperf3 reports went over the cable, and few others.
    assert 0.9 < mbps * 1e6 / 8 * up.window.seconds / up.window.bytes < 1.1
    (client_sec,) = (one.value for one in up.conditions if one.name == "client_sec")
    assert client_sec > 0
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
