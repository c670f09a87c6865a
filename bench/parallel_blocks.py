"""Blocks of one comparison on one embedded host and on several: time, and whether figures agree.

    python -m bench parallel_blocks [--count ROUNDS] [--jobs N]

The same plans are compared twice in one run, first on this process's host and then on ``--jobs``
hosts side by side. The time of the second includes restoring its hosts. CPU seconds are QEMU's, and
depend less on what else the machine does. "Host effect" compares the trials of two hosts of the
second comparison with each other: an A/A test, whose intervals should hold 1.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Final

import psutil

import kvmlab
from bench._harness import Bench
from kvmlab.lab.parallelism import jobs_that_fit
from kvmlab.results import Comparison, Result, compare

METRICS: Final = (
    ("tcp_up_mbps", "tcp_up"),
    ("rtt_p50_us", "latency"),
    ("vm_exits_per_packet", "tcp_up"),
)
WORKLOADS: Final = ("tcp_up", "latency")


def main(argv: Sequence[str] | None = None) -> None:
    """Compare e1000 with virtio on one host and on several."""
    parser = argparse.ArgumentParser(prog="python -m bench parallel_blocks", description=__doc__)
    parser.add_argument("--count", type=int, default=6, help="rounds of the comparison")
    parser.add_argument("--jobs", type=int, default=jobs_that_fit(), help="hosts at a time")
    options = parser.parse_args(argv)
    bench = Bench("parallel_blocks", "seconds of a comparison on one host and on several")
    bench.notes["hosts at a time"] = str(options.jobs)
    bench.notes["deviation"] = "median with several hosts / median with one, goal within 2 %"
    trials = kvmlab.Trials(count=options.count, workloads=WORKLOADS)
    with (
        TemporaryDirectory(prefix="kvmlab-bench-", dir="/var/tmp") as scratch,
        kvmlab.open_lab(out=scratch) as lab,
    ):
        plans = [lab.plan(kvmlab.FullEmulation()), lab.plan(kvmlab.Virtio(backend="vhost"))]
        before = _emulators_cpu_sec()
        with bench.timed("one host"):
            alone = lab.compare(*plans, trials=trials, jobs=1)
        between = _emulators_cpu_sec()
        bench.add("one host, CPU", between - before)
        with bench.timed("several hosts"):
            several = lab.compare(*plans, trials=trials, jobs=options.jobs)
        bench.add("several hosts, CPU", _emulators_cpu_sec() - between)
    for one, other in zip(alone, several, strict=True):
        for metric, workload in METRICS:
            ratio = other.summary(metric, workload).median / one.summary(metric, workload).median
            bench.add(f"{one.scheme}: {metric}", 100 * (ratio - 1), "%")
    claims = [
        comparison.shown
        for result in several
        for metric, workload in METRICS
        for comparison in _host_effects(result, metric, workload)
    ]
    bench.notes["host effects claimed"] = f"{sum(claims)} of {len(claims)} comparisons"
    cpus = ("several hosts, CPU", "one host, CPU")
    bench.ratio("CPU of several hosts over that of one", *cpus)
    bench.ratio("times faster", "one host", "several hosts", goal="1.8 or more on two idle cores")
    bench.finish()


def _host_effects(result: Result, metric: str, workload: str) -> Iterator[Comparison]:
    """Yield each further host of a comparison against the first, and print it."""
    hosts = result.meta["hosts"]
    by_host = [
        replace(result, trials=tuple(t for t in result.trials if hosts[str(t.number)] == host))
        for host in sorted(set(hosts.values()))
    ]
    for other in by_host[1:]:
        comparison = compare(by_host[0], other, metric, workload)
        print(f"  host effect, {comparison}", file=sys.stderr)
        yield comparison


def _emulators_cpu_sec() -> float:
    """Return the CPU seconds of all processes below this one, those that ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = (child.cpu_times() for child in psutil.Process().children(recursive=True))
    return ended.ru_utime + ended.ru_stime + sum(each.user + each.system for each in running)
