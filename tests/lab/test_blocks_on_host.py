"""One comparison on the lab's host alone, and with a second one that is killed in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from kvmlab.changes import in_place
from kvmlab.lab import Lab
from kvmlab.measure import Progress, Trials
from kvmlab.results import Result, compare
from kvmlab.schemes import Virtio

pytestmark = pytest.mark.host

TRIALS = Trials(count=4, seconds=1, workloads=("tcp_up", "latency"), trace_path=False)
METRICS = (("tcp_up_mbps", "tcp_up"), ("rtt_p50_us", "latency"), ("vm_exits_per_packet", "tcp_up"))
# Smaller differences than this share are left to `python -m bench parallel_blocks`.
SAME = 0.03


@dataclass(frozen=True)
class Measured:
    """The same comparison on one host and on two; the process that was killed meanwhile."""

    alone: Result
    several: Result
    killed: psutil.Process


@pytest.fixture(scope="module")
def measured(lab: Lab) -> Measured:
    plan = lab.plan(Virtio(backend="vhost"))
    own = emulators()
    killed: list[psutil.Process] = []

    def kill_one() -> None:
        end = time.monotonic() + 120
        while not emulators() - own and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(4)  # in the middle of its first block
        victim = min(emulators() - own, key=lambda process: process.pid)
        victim.kill()
        killed.append(victim)

    (alone,) = lab.compare(plan, trials=TRIALS, jobs=1)
    killer = threading.Thread(target=kill_one)
    killer.start()
    steps: list[Progress] = []
    (several,) = lab.compare(plan, trials=TRIALS, jobs=2, progress=steps.append)
    killer.join()
    assert emulators() == own, "the hosts of the comparison ended with it"
    assert (steps[-1].done, steps[-1].total) == (4, 4)
    return Measured(alone, several, killed[0])


def emulators() -> set[psutil.Process]:
    """Return the QEMU processes of embedded hosts that this process has started."""
    children = psutil.Process().children(recursive=True)
    return {child for child in children if is_emulator(child)}


def is_emulator(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "-incoming" in process.cmdline()
    except psutil.Error:
        return False


def own_run_dir(lab: Lab) -> Path:
    """Return the directory of the lab's own host, which the command of its terminal names."""
    return Path(lab.terminal().argv[-1])


def agree(one: Result, other: Result, metric: str, workload: str) -> bool:
    """Return True unless the whole interval shows a difference of more than `SAME`."""
    comparison = compare(one, other, metric, workload)
    print(comparison)
    return comparison.low <= 1 + SAME and comparison.high >= 1 - SAME


def test_a_block_whose_host_was_killed_is_measured_again_and_once(measured: Measured) -> None:
    assert not measured.killed.is_running()
    trials = measured.several.trials
    numbers = [(trial.workload, trial.number) for trial in trials]
    assert numbers == [(name, number) for name in ("tcp_up", "latency") for number in range(1, 5)]
    hosts: Sequence[str] = [*measured.several.meta["hosts"].values()]
    assert len(hosts) == 4
    assert len(set(hosts)) >= 2, "several hosts measured"


def test_the_labs_own_host_measures_too(lab: Lab, measured: Measured) -> None:
    hosts = measured.several.meta["hosts"].values()
    assert [host for host in hosts if f" {own_run_dir(lab).name} " in host]


@pytest.mark.parametrize(("metric", "workload"), METRICS)
def test_several_hosts_measure_what_one_does(
    measured: Measured, metric: str, workload: str
) -> None:
    assert agree(measured.alone, measured.several, metric, workload)


@pytest.mark.parametrize(("metric", "workload"), METRICS)
def test_which_host_measured_makes_no_difference(
    measured: Measured, metric: str, workload: str
) -> None:
    hosts = measured.several.meta["hosts"]
    by_host = [
        replace(
            measured.several,
            trials=tuple(t for t in measured.several.trials if hosts[str(t.number)] == host),
        )
        for host in sorted(set(hosts.values()))
    ]
    for other in by_host[1:]:
        assert agree(by_host[0], other, metric, workload)


def test_an_interrupted_comparison_leaves_the_labs_own_host_at_rest(lab: Lab) -> None:
    qemu, vhost = lab.plan(Virtio(backend="qemu")), lab.plan(Virtio(backend="vhost"))
    own = emulators()

    def interrupt(step: Progress) -> None:
        if step.done:
            end = time.monotonic() + 60
            while not in_place(lab.host):  # its next block has begun
                assert time.monotonic() < end
                time.sleep(0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.compare(qemu, vhost, trials=TRIALS, jobs=2, progress=interrupt)
    assert emulators() == own
    assert in_place(lab.host) == ()
    assert "<interface" not in lab.vm.xml()
    again = lab.compare(qemu, vhost, trials=replace(TRIALS, count=1), jobs=1)
    assert [len(result.trials) for result in again] == [2, 2]
