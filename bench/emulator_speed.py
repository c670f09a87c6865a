"""The emulator before and after its patches for speed: 24 trials with each, round by round in turn.

    python -m bench emulator_speed --before ~/.cache/kvmlab/emulators/RECIPE [--count ROUNDS]

``--before`` is a build of another recipe. Each of the two gets an embedded host of its own, booted
with it; the two measure in turn, so that a busy machine hits both alike. CPU seconds are those of
QEMU; they depend less on what else the machine does than wall seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil

import kvmlab
from bench._harness import Bench, cache_without_states
from kvmlab.embedded.emulator import recipe_hash

WORKLOADS: Final = ("tcp_up", "tcp_down")
_KINDS: Final = ("before", "after")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure a round with each in turn, ``--count`` times."""
    parser = argparse.ArgumentParser(prog="python -m bench emulator_speed", description=__doc__)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--count", type=int, default=4, help="rounds of six trials")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.measure:
        _measure()
        return
    if chosen.before is None or not (chosen.before / "qemu").is_dir():
        parser.error("--before names the directory of a build, with qemu/ in it")
    bench = Bench("emulator_speed", "24 trials with the emulator before and after its patches")
    bench.notes["before"] = chosen.before.name
    bench.notes["after"] = recipe_hash()
    with ExitStack() as stack:
        hosts = {}
        for kind in _KINDS:
            scratch = Path(stack.enter_context(TemporaryDirectory(dir="/var/tmp")))
            environment = cache_without_states(scratch)
            if kind == "before":
                emulators = Path(environment["XDG_CACHE_HOME"]) / "kvmlab" / "emulators"
                emulators.unlink()
                emulators.mkdir()
                _rename(chosen.before, emulators / recipe_hash())
            hosts[kind] = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "bench", "emulator_speed", "--measure"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, **environment},
                    text=True,
                )
            )
            _answer(hosts[kind])  # it is up
        for number in range(chosen.count):
            for kind in _KINDS if number % 2 == 0 else _KINDS[::-1]:
                _tell(hosts[kind], "measure")
                answer = _answer(hosts[kind])
                trials = 3 * len(WORKLOADS)
                bench.add(f"{kind}: a trial, CPU", answer["cpu"] / trials)
                bench.add(f"{kind}: a trial, wall", answer["wall"] / trials)
                for name, value in answer["medians"].items():
                    bench.add(f"{kind}: {name}", value, "Mbit/s")
        for host in hosts.values():
            _tell(host, "end")
    goal = "2 or more"
    bench.ratio("CPU, times faster", "before: a trial, CPU", "after: a trial, CPU", goal=goal)
    bench.ratio("wall, times faster", "before: a trial, wall", "after: a trial, wall", goal=goal)
    bench.finish()


def _rename(build: Path, copy: Path) -> None:
    """Copy a build under the name of the recipe that is used now."""
    shutil.copytree(build, copy, symlinks=True)
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    text = json.dumps({**manifest, "recipe": copy.name})
    (copy / "manifest.json").write_text(text, encoding="utf-8")


def _measure() -> None:
    """Boot a host, then measure a round for each line of standard input."""
    with (
        TemporaryDirectory(dir="/var/tmp") as folder,
        kvmlab.open_lab(out=folder, progress=lambda line: None) as lab,
    ):
        (qemu,) = [
            child
            for child in psutil.Process().children(recursive=True)
            if "-incoming" in child.cmdline() or "-icount" in child.cmdline()
        ]
        schemes = (kvmlab.Virtio(), kvmlab.Virtio(backend="vhost"), kvmlab.SriovVf())
        plans = [lab.plan(scheme) for scheme in schemes]
        trials = kvmlab.Trials(count=1, workloads=WORKLOADS, trace_path=False)
        print("{}", flush=True)
        while sys.stdin.readline().strip() == "measure":
            cpu, wall = _cpu_sec(qemu), time.monotonic()
            results = lab.compare(*plans, trials=trials, jobs=1)
            answer = {
                "cpu": _cpu_sec(qemu) - cpu,
                "wall": time.monotonic() - wall,
                "medians": {
                    f"{result.scheme}, {name}": result.summary(f"{name}_mbps", name).median
                    for result in results
                    for name in WORKLOADS
                },
            }
            print(json.dumps(answer), flush=True)


def _cpu_sec(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _answer(host: subprocess.Popen[str]) -> dict[str, Any]:
    assert host.stdout is not None
    line = host.stdout.readline()
    if not line:
        raise RuntimeError("A host ended early; its error is above.")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _tell(host: subprocess.Popen[str], word: str) -> None:
    assert host.stdin is not None
    host.stdin.write(f"{word}\n")
    host.stdin.flush()
