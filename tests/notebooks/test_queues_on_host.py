"""The article's claims on several queues, and its conclusion, as notebooks 05 and 06 show them.

Counts and paths are judged, and no speed: they hold on a busy machine.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kvmlab.results import Result
from kvmlab.runbook import Outcome, run
from tests.notebooks.executed import (
    host_devices,
    page,
    stored_by_scheme,
    table,
    text,
    verdicts,
)

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.timeout(1200)]

QUEUES, CONCLUSION = "05-multi-queue", "06-conclusion"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run both notebooks once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(
        ["05", "06"], parameters={"TRIALS": "1"}, out=out, console=Console(file=io.StringIO())
    )


def at_work(result: Result, name: str, workload: str = "tcp_up_flows") -> int:
    """Count the queues, workers or vCPUs that did at least a hundredth of a trial's work."""
    (trial,) = result.of(workload)
    values = [share.value for share in trial.shares if share.name == name]
    return sum(value > 0.01 * sum(values) for value in values)


def test_each_queue_pair_has_a_worker_of_its_own(done: Outcome) -> None:
    assert "0 before, 4 with the NIC" in text(done, QUEUES, "workers-seen")


def test_the_driver_takes_a_channel_for_each_cpu_and_obeys_ethtool(done: Outcome) -> None:
    lines = text(done, QUEUES, "channels-seen").splitlines()
    rows = [line.split() for line in lines]
    assert [row for row in rows if row[:1] == ["4"]] == [["4", "2"], ["4", "1"], ["4", "4"]]


def test_more_channels_put_more_workers_queues_and_interrupts_to_work(done: Outcome) -> None:
    results = stored_by_scheme(done, QUEUES)
    one, two, four = (results[f"virtio-vhost-q4-c{used}"] for used in (1, 2, 4))
    for what in ("worker_us", "sent_packets", "queue_interrupts"):
        assert at_work(one, what) == 1, what
        assert at_work(two, what) == 2, what
        assert at_work(four, what) > 2, what


def test_the_table_says_what_is_full_in_place_of_the_worker(done: Outcome) -> None:
    limits = table(done, QUEUES, "gain-compare").set_index("channels")
    bounds = [float(cell.split()[0]) for cell in limits["bound by the busiest worker"]]
    assert bounds[0] == 1
    assert max(bounds[1:]) > 1.1
    assert all(cell.endswith("% of a CPU") for cell in limits["busiest worker"])
    assert all(cell.endswith(" %") for cell in limits["host's CPUs idle"])
    assert verdicts(done, QUEUES).keys() == {"gain-share"}


def test_one_flow_never_has_more_queues_than_the_vm_has_cpus(done: Outcome) -> None:
    four = stored_by_scheme(done, QUEUES)["virtio-vhost-q4-c4"]
    assert at_work(four, "worker_us", "tcp_up") <= 2 < at_work(four, "worker_us")


def test_each_scheme_takes_something_off_the_path(done: Outcome) -> None:
    results = stored_by_scheme(done, CONCLUSION)
    devices = {
        scheme: host_devices(result)
        for scheme, result in results.items()
        if result.path is not None
    }
    assert (
        devices["e1000"]
        == devices["virtio-qemu"]
        == devices["virtio-vhost"]
        == ["tap", "bridge", "port"]
    )
    assert devices["macvtap"] == ["macvtap", "port"]
    assert devices["passthrough"] == devices["sriov-vf"] == []


def test_the_ranking_of_the_article_is_in_the_costs(done: Outcome) -> None:
    results = stored_by_scheme(done, CONCLUSION)
    to_qemu = {
        scheme: result.summary("userspace_exits_per_packet", "tcp_up").median
        for scheme, result in results.items()
        if scheme != "host"
    }
    assert to_qemu.pop("e1000") > 20 * max(to_qemu.values(), default=0.0)
    trip = {scheme: result.summary("rtt_p50_us").median for scheme, result in results.items()}
    order = ("host", "sriov-vf", "virtio-vhost", "virtio-qemu", "e1000")
    assert sorted(order, key=trip.__getitem__) == list(order), trip


def test_the_advice_has_reasons_evidence_xml_and_four_answers(done: Outcome) -> None:
    advice = page(done, CONCLUSION, "advice-panel")
    for word in ("no-layer", "a single trial", "&lt;interface", "Four answers"):
        assert word in advice
    answers = text(done, CONCLUSION, "migration-answers")
    assert answers.count("this host can") >= 2
    assert "persistent" in text(done, CONCLUSION, "migration-xml")
