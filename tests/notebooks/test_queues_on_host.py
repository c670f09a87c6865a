"""What the article claims of several queues, and its conclusion, as notebooks 05 and 06 show them.

Counts and paths are judged, and no speed: they hold on a busy machine.
"""

from __future__ import annotations

import io
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from kvmlab.results import Result, load
from kvmlab.runbook import Outcome, run

pytestmark = [pytest.mark.host, pytest.mark.timeout(1200)]

QUEUES, CONCLUSION = "05-multi-queue", "06-conclusion"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Both notebooks, run once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(["05", "06"], given={"TRIALS": "1"}, out=out, console=Console(file=io.StringIO()))


def kept(done: Outcome, name: str) -> dict[str, Result]:
    """The results that a notebook kept at its end, by their schemes."""
    (found,) = Path(done.folder / "results" / name).glob("*/results.json")
    return {result.scheme: result for result in load(found.parent)}


def shown(done: Outcome, name: str, cell_id: str) -> str:
    """The plain text or HTML that a cell of an executed notebook shows."""
    node = nbformat.read(done.folder / "notebooks" / f"{name}.ipynb", as_version=4)
    (cell,) = (cell for cell in node.cells if cell.id == cell_id)
    data = [dict(out.get("data", {})) for out in cell.outputs]
    texts = [out.get("text", "") for out in cell.outputs]
    return "\n".join([*texts, *(str(value) for one in data for value in one.values())])


def at_work(result: Result, name: str, workload: str = "tcp_up_flows") -> int:
    """How many queues, workers or vCPUs did at least a hundredth of a trial's work."""
    (trial,) = result.of(workload)
    values = [share.value for share in trial.shares if share.name == name]
    return sum(value > 0.01 * sum(values) for value in values)


def test_each_queue_pair_has_a_worker_of_its_own(done: Outcome) -> None:
    assert "0 before, 4 with the card" in shown(done, QUEUES, "workers-seen")


def test_the_driver_takes_a_channel_for_each_cpu_and_obeys_ethtool(done: Outcome) -> None:
    text = shown(done, QUEUES, "channels-seen").splitlines()
    rows = [line.split() for line in text]
    assert [row for row in rows if row[:1] == ["4"]] == [["4", "2"], ["4", "1"], ["4", "4"]]


def test_more_channels_put_more_workers_queues_and_interrupts_to_work(done: Outcome) -> None:
    results = kept(done, QUEUES)
    one, two, four = (results[f"virtio-vhost-q4-c{used}"] for used in (1, 2, 4))
    for what in ("worker_us", "sent_packets", "queue_interrupts"):
        assert at_work(one, what) == 1, what
        assert at_work(two, what) == 2, what
        assert at_work(four, what) > 2, what


def test_one_flow_never_has_more_queues_than_the_vm_has_cpus(done: Outcome) -> None:
    four = kept(done, QUEUES)["virtio-vhost-q4-c4"]
    assert at_work(four, "worker_us", "tcp_up") <= 2 < at_work(four, "worker_us")


def test_each_scheme_takes_something_off_the_way(done: Outcome) -> None:
    results = kept(done, CONCLUSION)
    ways = {
        scheme: [hop.kind for hop in result.path.leg("request") if hop.side == "host"]
        for scheme, result in results.items()
        if result.path is not None
    }
    assert ways["e1000"] == ways["virtio-qemu"] == ways["virtio-vhost"] == ["tap", "bridge", "port"]
    assert ways["macvtap"] == ["macvtap", "port"]
    assert ways["passthrough"] == ways["sriov-vf"] == []


def test_the_ranking_of_the_article_is_in_the_costs(done: Outcome) -> None:
    results = kept(done, CONCLUSION)
    to_qemu = {
        scheme: result.summary("userspace_exits_per_packet", "tcp_up").median
        for scheme, result in results.items()
        if scheme != "host"
    }
    assert to_qemu.pop("e1000") > 20 * max(to_qemu.values(), default=0.0)
    trip = {scheme: result.summary("rtt_p50_us").median for scheme, result in results.items()}
    assert trip["host"] < trip["sriov-vf"] < trip["virtio-vhost"] < trip["virtio-qemu"]


def test_the_advice_has_reasons_evidence_xml_and_four_answers(done: Outcome) -> None:
    page = shown(done, CONCLUSION, "advice-panel")
    for word in ("no-layer", "a single trial", "&lt;interface", "Four answers"):
        assert word in page
    answers = shown(done, CONCLUSION, "migration-answers")
    assert answers.count("this host can") >= 2
    assert "persistent" in shown(done, CONCLUSION, "migration-xml")
