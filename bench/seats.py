"""Seats of a class on one machine: 1, 2, 4 and 8 embedded hosts that measure at the same time.

    python -m bench seats [--hosts 1 2 4 8] [--count TRIALS]

A seat is a process with an embedded host of its own, as a notebook's kernel is. All seats of a step
measure virtio (vhost) at once. Says for each step the memory by PSS (shared pages are divided among
those who share them), the seconds of a trial, and how far the medians are from those of the first
step. Seats of one user share the pages of the saved state; those of several users do not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil

import kvmlab
from bench._harness import Bench

METRICS: Final = (("tcp_up_mbps", "tcp_up"), ("rtt_p50_us", "latency"))
WORKLOADS: Final = ("tcp_up", "latency")


def main(argv: Sequence[str] | None = None) -> None:
    """Fill the seats step by step."""
    parser = argparse.ArgumentParser(prog="python -m bench seats", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--count", type=int, default=2, help="trials of each workload at a seat")
    parser.add_argument("--seat", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.seat:
        _sit(chosen.count)
        return
    bench = Bench("seats", "embedded hosts that measure at the same time on one machine")
    first: dict[str, float] = {}
    for number in chosen.hosts:
        answers, idle_mib, busy_mib = _step(number, chosen.count)
        bench.add(f"{number} seats: memory of all before traffic", idle_mib, "MiB")
        bench.add(f"{number} seats: memory of all after traffic", busy_mib, "MiB")
        for answer in answers:
            trials = chosen.count * len(WORKLOADS)
            bench.add(f"{number} seats: seconds of a trial", answer["seconds"] / trials)
        for metric, _ in METRICS:
            median = statistics.median(answer[metric] for answer in answers)
            first.setdefault(metric, median)
            for answer in answers:
                deviation = 100 * (answer[metric] / first[metric] - 1)
                bench.add(f"{number} seats: {metric}", deviation, "%")
    bench.notes["goal"] = "300 MiB or less for each further host before traffic; figures within 2 %"
    bench.finish()


def _step(number: int, count: int) -> tuple[list[dict[str, Any]], float, float]:
    """Let so many seats measure at once; return their answers, and MiB before and after."""
    argv = [sys.executable, "-m", "bench", "seats", "--count", str(count), "--seat"]
    with ExitStack() as stack:
        seats = [
            stack.enter_context(
                subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(number)
        ]
        for seat in seats:
            _read(seat)
        time.sleep(2)
        idle_mib = sum(_pss_mib(seat.pid) for seat in seats)
        for seat in seats:
            _tell(seat)
        answers = [_read(seat) for seat in seats]
        busy_mib = sum(_pss_mib(seat.pid) for seat in seats)
        for seat in seats:
            _tell(seat)
        return answers, idle_mib, busy_mib


def _sit(count: int) -> None:
    """Open a host, and measure when the other seats are there too."""
    with TemporaryDirectory(dir="/var/tmp") as folder:
        lab = kvmlab.open_lab(out=folder, progress=lambda line: None)
        with lab:
            plan = lab.plan(kvmlab.Virtio(backend="vhost"))
            trials = kvmlab.Trials(count=count, workloads=WORKLOADS, trace_path=False)
            print("{}", flush=True)
            sys.stdin.readline()
            begin = time.monotonic()
            (result,) = lab.compare(plan, trials=trials, jobs=1)
            answer = {"seconds": time.monotonic() - begin}
            for metric, workload in METRICS:
                answer[metric] = result.summary(metric, workload).median
            print(json.dumps(answer), flush=True)
            sys.stdin.readline()


def _read(seat: subprocess.Popen[str]) -> dict[str, Any]:
    assert seat.stdout is not None
    line = seat.stdout.readline()
    if not line:
        raise RuntimeError("A seat ended early; its error is above.")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _tell(seat: subprocess.Popen[str]) -> None:
    assert seat.stdin is not None
    seat.stdin.write("\n")
    seat.stdin.flush()


def _pss_mib(pid: int) -> float:
    """Return the MiB of a process and all below it, shared pages divided among their users."""
    process = psutil.Process(pid)
    everyone = (process, *process.children(recursive=True))
    return sum(float(each.memory_full_info().pss) for each in everyone) / 2**20
