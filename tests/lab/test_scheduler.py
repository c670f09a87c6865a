"""Blocks on a dask cluster of other processes: found by its address, killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from kvmlab.changes import Plan
from kvmlab.embedded import Settings
from kvmlab.errors import HostUnreachable
from kvmlab.hosts import Host
from kvmlab.lab.block_pool import SCHEDULER_VARIABLE, BlockResults, BlockTask, compare_in_blocks
from kvmlab.lab.result_store import ResultStore
from kvmlab.measure import Progress
from kvmlab.results import Result, find_runs
from kvmlab.scheduler import connected
from tests.lab.test_block_pool import TRIALS, host, measured, plans

__all__ = ["host", "plans"]  # fixtures

PROGRAM = """
import dask, os, sys
from distributed import LocalCluster
if __name__ == '__main__':
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, host='127.0.0.1',
                           dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""
# Where a block notes that it began, in a file of its process and number.
MARKS = "KVMLAB_TEST_MARKS"


@dataclass(frozen=True)
class Cluster:
    """A dask cluster of two worker processes; ``process`` is its scheduler."""

    address: str
    process: psutil.Process


@pytest.fixture
def cluster(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Start one, name it by the variable, and end it."""
    monkeypatch.setenv(MARKS, str(tmp_path / "marks"))
    (tmp_path / "marks").mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(repository)},
        text=True,
        start_new_session=True,
    )
    process = psutil.Process(child.pid)
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        address = child.stdout.readline().strip()
        monkeypatch.setenv(SCHEDULER_VARIABLE, address)
        workers = process.children(recursive=True)
        yield Cluster(address, process)
        child.stdin.close()
        child.wait(30)
    _, left = psutil.wait_procs(workers, timeout=30)
    for worker in left:
        worker.kill()


def in_a_worker(block: BlockTask) -> BlockResults:
    return measured(block)


def die_once(block: BlockTask) -> BlockResults:
    """Kill the worker in the middle of the third block, the first time."""
    mark = Path(os.environ[MARKS]) / f"block-{block.number}-{os.getpid()}"
    mark.touch()
    if block.number == 3 and len([*mark.parent.glob("block-3-*")]) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return measured(block)


def kill_the_scheduler(block: BlockTask) -> BlockResults:
    """Kill the cluster's main process in the middle of the third block."""
    if block.number == 3:
        os.kill(int((Path(os.environ[MARKS]) / "scheduler").read_text()), signal.SIGKILL)
        time.sleep(60)
    return measured(block)


def compared(plans: tuple[Plan, ...], host: Host, folder: Path, work: object) -> tuple[Result, ...]:
    store = ResultStore(folder / "results")
    with store.journal(host, [plan.label for plan in plans], TRIALS, None) as journal:
        results = compare_in_blocks(
            plans,
            TRIALS,
            jobs=2,
            settings=Settings(),
            progress=list[Progress]().append,
            journal=journal,
            work=work,  # type: ignore[arg-type]
        )
        return store.measured(journal, *results)


def test_a_scheduler_named_by_its_address_measures_the_blocks(
    plans: tuple[Plan, ...], host: Host, tmp_path: Path, cluster: Cluster
) -> None:
    results = compared(plans, host, tmp_path, in_a_worker)
    assert [len(result.trials) for result in results] == [10, 10]


def test_a_block_of_a_killed_worker_is_measured_again_and_once(
    plans: tuple[Plan, ...], host: Host, tmp_path: Path, cluster: Cluster
) -> None:
    results = compared(plans, host, tmp_path, die_once)
    assert len([*(tmp_path / "marks").glob("block-3-*")]) == 2
    for result in results:
        numbers = [(trial.workload, trial.number) for trial in result.trials]
        assert sorted(numbers) == [
            (workload, number) for workload in ("latency", "tcp_up") for number in range(1, 6)
        ]


def test_a_killed_scheduler_is_one_sentence_and_what_was_measured_stays(
    plans: tuple[Plan, ...],
    host: Host,
    tmp_path: Path,
    cluster: Cluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "marks" / "scheduler").write_text(str(cluster.process.pid))
    with pytest.raises(HostUnreachable, match=r"The dask scheduler tcp://.* ended"):
        compared(plans, host, tmp_path, kill_the_scheduler)
    assert not caplog.records, "no traceback of dask's"
    (run,) = find_runs([tmp_path / "results"])
    assert (run.status, run.trials) == ("unfinished", 8)


def test_a_scheduler_that_is_not_there_is_one_sentence(
    plans: tuple[Plan, ...], host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvmlab.scheduler._CONNECT_SEC", 1)
    monkeypatch.setenv(SCHEDULER_VARIABLE, "tcp://127.0.0.1:1")
    with pytest.raises(HostUnreachable, match="does not answer"):
        compared(plans, host, tmp_path, in_a_worker)


def test_the_scheduler_in_this_process_listens_on_no_port() -> None:
    before = listening()
    with connected("", 2) as client:
        assert listening() == before
        assert client.submit(sum, (1, 2)).result() == 3
        assert [*client.nthreads().values()] == [2]


def listening() -> set[int]:
    connections = psutil.Process().net_connections()
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
