"""Repeatability under the virtual clock: each scheme many times, on a quiet and a busy machine.

Two rounds, each on a freshly restored host: with this machine as it is, and with an endless loop
on each of its CPUs (``--load quiet`` or ``--load busy`` for one of them, ``--scheme`` for some
schemes). In a round each scheme is applied twice, with half of its trials each time.

A spread is the standard deviation of the trials over their mean. The goal is 2 % for throughput and
latency of virtio, vhost, macvtap and VF.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import kvmlab
from bench._harness import Bench, repeats
from kvmlab.measure import measure
from kvmlab.results import Result, tidy
from kvmlab.schemes import Scheme

SCHEMES: Mapping[str, Scheme] = {
    "e1000": kvmlab.FullEmulation("e1000"),
    "virtio, QEMU": kvmlab.Virtio(backend="qemu"),
    "virtio, vhost": kvmlab.Virtio(backend="vhost"),
    "macvtap": kvmlab.Macvtap(),
    "VF": kvmlab.SriovVf(),
}
METRICS = {
    "tcp_up_mbps": "Mbit/s",
    "tcp_down_mbps": "Mbit/s",
    "rtt_p50_us": "us",
}
COSTS = {"vm_exits_per_packet": "exits", "cpu_us_per_packet": "us"}
LOADS = ("quiet", "busy")
_LOOP = "while True: pass"


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``--count`` trials of each scheme and load."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", choices=LOADS, action="append")
    parser.add_argument("--scheme", choices=SCHEMES, action="append")
    chosen, further = parser.parse_known_args(argv)
    count = repeats(10, further)
    bench = Bench("repeatability", "the same schemes again and again, under the virtual clock")
    for load in chosen.load or LOADS:
        beside = _busy() if load == "busy" else nullcontext()
        with beside, _round(bench) as lab:
            _measure_all(bench, lab, count, load, chosen.scheme or tuple(SCHEMES))
    _add_spreads(bench)
    bench.finish()


@contextmanager
def _round(bench: Bench) -> Iterator[kvmlab.Lab]:
    with kvmlab.open_lab("embedded") as lab:
        bench.notes["clock"] = lab.host.clock.meaning
        lab.inspect()
        yield lab


@contextmanager
def _busy() -> Iterator[None]:
    loops = [subprocess.Popen((sys.executable, "-c", _LOOP)) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _measure_all(
    bench: Bench, lab: kvmlab.Lab, count: int, load: str, names: Sequence[str]
) -> None:
    for part in (count // 2, count - count // 2):
        settings = kvmlab.Trials(
            count=part, workloads=("tcp_up", "tcp_down", "latency"), trace_path=False
        )
        for name in names:
            with (
                bench.timed(f"wall time of {part} trials each, {name}, {load}"),
                lab.plan(SCHEMES[name]).applied(lab.vm) as nic,
            ):
                result = measure(lab.host, lab.vm, nic, settings)
            _keep(bench, result, name, load)


def _keep(bench: Bench, result: Result, name: str, load: str) -> None:
    table = tidy([result])
    for metric, unit in METRICS.items():
        for value in table[table["metric"] == metric]["value"]:
            bench.add(f"{name}: {metric}, {load}", float(value), unit)
    for metric, unit in COSTS.items():
        rows = table[(table["metric"] == metric) & (table["workload"] == "tcp_up")]
        for value in rows["value"]:
            bench.add(f"{name}: {metric}, {load}", float(value), unit)


def _add_spreads(bench: Bench) -> None:
    for series, samples in bench.series.items():
        if len(samples) > 1 and not series.startswith("wall time"):
            middle = statistics.fmean(samples)
            bench.notes[f"spread of {series}"] = f"{_spread(samples):.1%} of {middle:.4g}"


def _spread(samples: Sequence[float]) -> float:
    return statistics.stdev(samples) / statistics.fmean(samples)


if __name__ == "__main__":
    main()
