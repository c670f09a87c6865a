"""Scheduling a fleet of simulated hosts: seconds of overhead per host, memory of the scheduler.

Each job sleeps for a latency drawn from a log-normal distribution around ``--latency`` seconds and
returns a doctor's answer of the usual size, as a real one does. The overhead is the wall time less
what the sleeps alone take on so many threads, divided by the number of hosts.

``--real N`` checks N embedded hosts behind ssh instead, each by `kvmlab doctor` and all of them by
`kvmlab fleet doctor --jobs 1`, in turn: the difference for each host is the fleet's.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench._harness import Bench
from kvmlab.fleet import FleetHost, FleetRecord, HostJob, HostOutcome, Rollout, Status
from tests.fleet.strangers import kvmlab, strangers, uri_of

_ANSWER = "x" * 20_000


def simulate(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    """Sleep as long as the host's parameter says, and return a doctor's answer."""
    seconds = float(job.host.parameters["SECONDS"])
    time.sleep(seconds)
    return HostOutcome(job.host.name, Status.OK, 0, stdout=_ANSWER, elapsed_sec=seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """``--hosts`` simulated hosts, ``--jobs`` at a time, ``--latency`` seconds each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--real", type=int, metavar="N", help="embedded hosts in place of sleeps")
    parser.add_argument("--count", type=int, default=2, help="rounds with --real")
    chosen, _ = parser.parse_known_args(argv)
    if chosen.real:
        _real(chosen.real, chosen.count)
        return
    drawn = random.Random(1)
    names = tuple(f"kvm{number:04d}" for number in range(chosen.hosts))
    jobs = {
        name: HostJob(
            FleetHost(name, "embedded", parameters={"SECONDS": str(seconds)}), ("doctor", "--json")
        )
        for name in names
        for seconds in [chosen.latency * drawn.lognormvariate(0, 0.5)]
    }
    bench = Bench("fleet_overhead", "a rollout over simulated hosts")
    before_mib = _peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        record = FleetRecord(Path(folder), ("kvmlab fleet doctor",), names)
        done = Rollout(jobs=chosen.jobs, canary=0).run(record, jobs, work=simulate)
        wall_sec = time.monotonic() - started
    assert all(outcome.status is Status.OK for outcome in done.outcomes.values())
    slept = sum(outcome.elapsed_sec for outcome in done.outcomes.values()) / chosen.jobs
    bench.add("wall", wall_sec, "s")
    bench.add("overhead for each host", (wall_sec - slept) / chosen.hosts, "s")
    bench.add("peak memory more than before", _peak_mib() - before_mib, "MiB")
    bench.finish()


def _real(number: int, count: int) -> None:
    """Check so many embedded hosts one by one, and by the fleet, in turn."""
    bench = Bench("fleet_overhead_real", "a rollout over embedded hosts behind ssh")
    with tempfile.TemporaryDirectory() as folder, strangers(Path(folder), number) as fleet:
        for round_number in range(count):
            begin = time.monotonic()
            for name in fleet.leases:
                _see(kvmlab("doctor", "--json", "--host", uri_of(name)))
            alone_sec = time.monotonic() - begin
            out = Path(folder) / f"fleet{round_number}"
            words = ("fleet", "doctor", "--jobs", "1", "-i", fleet.inventory, "--out", out)
            begin = time.monotonic()
            _see(kvmlab(*map(str, words)))
            fleet_sec = time.monotonic() - begin
            bench.add("a host by itself", alone_sec / number)
            bench.add("a host in the fleet", fleet_sec / number)
            bench.add("overhead for each host", (fleet_sec - alone_sec) / number)
    bench.notes["goal"] = "2 s or less for each host"
    bench.finish()


def _see(command: subprocess.Popen[str]) -> None:
    """Wait for a command; 3 says that a doctor found a problem."""
    with command:
        printed = command.communicate()[0]
    if command.returncode not in (0, 3):
        raise RuntimeError(printed)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
