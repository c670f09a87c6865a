"""The article's ranking of the schemes, measured.

One trial of each suffices under the virtual clock, where trials differ by a few percent.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from kvmlab import FullEmulation, SriovVf, Trials, Virtio

if TYPE_CHECKING:
    from kvmlab.lab import Lab
    from kvmlab.results import Result

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]

SLOWEST_FIRST = (
    FullEmulation("e1000"),
    Virtio(backend="qemu"),
    Virtio(backend="vhost"),
    SriovVf(),
)


@pytest.fixture(scope="module")
def ranked(lab: Lab) -> tuple[Result, ...]:
    trials = Trials(count=1, workloads=("tcp_up", "latency"), trace_path=False)
    lab.inspect()
    results = []
    for scheme in SLOWEST_FIRST:
        with lab.plan(scheme).applied(lab.vm) as nic:
            results.append(lab.measure(nic, trials))
    return tuple(results)


@pytest.mark.parametrize(
    ("metric", "workload", "better"),
    [("tcp_up_mbps", "tcp_up", "higher"), ("cpu_us_per_packet", "tcp_up", "lower")],
)
def test_each_layer_removed_is_a_gain(
    ranked: tuple[Result, ...], metric: str, workload: str, better: str
) -> None:
    medians = _medians(ranked, metric, workload)
    assert all(gain > 1.03 for gain in _gains(medians, better)), f"{metric}: {medians}"


def test_each_step_shortens_the_round_trip(ranked: tuple[Result, ...]) -> None:
    medians = _medians(ranked, "rtt_p50_us", "latency")
    assert all(gain > 1.3 for gain in _gains(medians, "lower")), medians


def _medians(ranked: tuple[Result, ...], metric: str, workload: str) -> list[float]:
    return [result.summary(metric, workload).median for result in ranked]


def _gains(medians: list[float], better: str) -> list[float]:
    steps = [after / before for before, after in itertools.pairwise(medians)]
    return steps if better == "higher" else [1 / step for step in steps]
