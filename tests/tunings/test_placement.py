"""Pinning: its plans, its refusal under the virtual clock, and its script on real threads."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kvmlab.changes import HostStep
from kvmlab.cli import answer
from kvmlab.errors import Unavailable
from kvmlab.facts import HostFacts, inspect
from kvmlab.hosts import Cable, script_text
from kvmlab.schemes import Virtio
from kvmlab.tunings import TUNINGS, tuned
from tests.facts.recorded_host import load

CABLE = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", "peer", "p2p2")
VHOST = Virtio(backend="vhost")
DOMAIN = f"kvmlab-pinned-{os.getpid()}"
#: A process that looks as QEMU does to who reads /proc: two vCPUs, and a main thread.
QEMU = """
import sys, threading, time
def vcpu(number):
    open(f"/proc/self/task/{threading.get_native_id()}/comm", "w").write(f"CPU {number}/KVM")
    time.sleep(600)
for number in range(2):
    threading.Thread(target=vcpu, args=(number,), daemon=True).start()
time.sleep(600)
"""
#: One that looks as a vhost worker does that is a thread of the kernel.
WORKER = """
import sys, time
open("/proc/self/comm", "w").write(sys.argv[1])
time.sleep(600)
"""


@pytest.fixture(scope="module")
def facts(data: Path) -> HostFacts:
    recorded = inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)
    return replace(recorded, emulated="Embedded host.")


def with_cpus(facts: HostFacts, count: int) -> HostFacts:
    return replace(facts, cpu=replace(facts.cpu, logical_cpus=count))


@pytest.mark.parametrize("value", ["together", "apart"])
def test_under_the_virtual_clock_there_is_no_second_cpu(value: str, facts: HostFacts) -> None:
    assert TUNINGS["pinning"].needs_wall_clock
    scheme = tuned(VHOST, f"pinning={value}")
    with pytest.raises(Unavailable, match=r"has one CPU.*adds up the work.*clock='wall'"):
        scheme.plan(with_cpus(facts, 1), cable=CABLE)


@pytest.mark.parametrize("thread", ["task", "kernel"])
@pytest.mark.parametrize("value", ["together", "apart"])
def test_a_host_with_two_cpus_has_a_plan(value: str, thread: str, facts: HostFacts) -> None:
    names = (f"vhost-thread={thread}", f"pinning={value}")
    steps = tuned(VHOST, *names).plan(with_cpus(facts, 2), cable=CABLE).steps
    (step,) = (s for s in steps if isinstance(s, HostStep) and s.setting.path.startswith("pinning"))
    assert step.after_attach  # vhost's worker is there only then
    assert (step.setting.before, step.setting.after) == ("none", value)
    assert step.do_text[0].endswith("CPU 0" if value == "together" else "CPU 1")
    assert "all CPUs" in step.undo_text[0]


def test_the_list_of_tunings_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["tunings"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pinning ")]
    (line,) = lines
    assert "none (default), together, apart" in line


@dataclass(frozen=True)
class PinnedThreads:
    """The process of a VM and its vhost worker, with the CPUs that each thread may use."""

    qemu: int
    worker: int

    def cpus(self) -> dict[str, set[int]]:
        """Return the CPUs by the thread's name."""
        tasks = [int(path.name) for path in Path(f"/proc/{self.qemu}/task").iterdir()]
        return {
            Path(f"/proc/{task}/comm").read_text().strip(): os.sched_getaffinity(task)
            for task in (*tasks, self.worker)
        }


@contextmanager
def running(*words: str) -> Iterator[int]:
    process = subprocess.Popen((sys.executable, "-c", *words))
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def threads() -> Iterator[PinnedThreads]:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("CPUs 0 and 1 are needed.")
    with (
        running(QEMU, "-name", f"guest={DOMAIN},debug-threads=on") as qemu,
        running(WORKER, f"vhost-{qemu}") as worker,
    ):
        there = PinnedThreads(qemu, worker)
        deadline = time.monotonic() + 60
        while not {"CPU 0/KVM", "CPU 1/KVM", f"vhost-{qemu}"} <= there.cpus().keys():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield there


def run(script: str, *words: str) -> str:
    return subprocess.run(
        ("sh", "-s", "--", *words),
        input=script_text("kvmlab.changes", script),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def read_pinning() -> str:
    return run("read_settings.sh", f"pinning:{DOMAIN}").splitlines()[2]


def test_threads_go_to_their_cpus_and_back_also_a_worker_of_the_kernel(
    threads: PinnedThreads,
) -> None:
    before = threads.cpus()
    worker = f"vhost-{threads.qemu}"
    assert read_pinning() == "none"
    run("pin_threads.sh", "pin", DOMAIN, "apart")
    cpus = threads.cpus()
    assert cpus["CPU 0/KVM"] == cpus["CPU 1/KVM"] == {0}
    assert cpus[worker] == {1}
    assert all(of == {1} for name, of in cpus.items() if not name.startswith("CPU"))
    assert read_pinning() == "apart"
    run("pin_threads.sh", "pin", DOMAIN, "together")
    assert all(of == {0} for of in threads.cpus().values())
    assert read_pinning() == "together"
    run("pin_threads.sh", "unpin", DOMAIN, "-")
    assert read_pinning() == "none"
    assert all(before[name] <= of for name, of in threads.cpus().items())
