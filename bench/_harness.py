"""Harness of the benchmarks: samples, medians and ratios, the machine, and a result file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from kvmlab.directories import cache_dir
from kvmlab.process import run

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Series:
    """Samples of one quantity, in the order in which they were taken."""

    name: str
    unit: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples)

    def to_dict(self) -> dict[str, object]:
        """Return the values for JSON."""
        return {
            "unit": self.unit,
            "median": self.median,
            "low": min(self.samples),
            "high": max(self.samples),
            "samples": list(self.samples),
        }


@dataclass(frozen=True)
class Ratio:
    """Ratio of the medians of two series; ``goal`` says what it should be."""

    name: str
    over: Series
    under: Series
    goal: str = ""

    @property
    def value(self) -> float:
        """Median of the first over that of the second."""
        return self.over.median / self.under.median

    def to_dict(self) -> dict[str, object]:
        """Return the values for JSON."""
        return {
            "value": self.value,
            "over": self.over.name,
            "under": self.under.name,
            "goal": self.goal,
        }


@dataclass
class Bench:
    """One benchmark: collects series and ratios, then prints and writes them."""

    name: str
    what: str
    series: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    ratios: list[tuple[str, str, str, str]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    _started: float = field(default_factory=time.time)
    _cpu: tuple[int, int] = field(default_factory=lambda: _stolen_and_all())
    _load: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, name: str, value: float, unit: str = "s") -> None:
        """Add one sample, and print it."""
        self.series.setdefault(name, []).append(value)
        self.units[name] = unit
        print(f"  {name}: {value:.3g} {unit}", file=sys.stderr, flush=True)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the wall seconds of the block; a block that fails adds no sample."""
        begin = time.monotonic()
        yield
        self.add(name, time.monotonic() - begin)

    def ratio(self, name: str, over: str, under: str, goal: str = "") -> None:
        """Add a ratio of two series, computed when the benchmark ends."""
        self.ratios.append((name, over, under, goal))

    def finish(self) -> Path:
        """Print the summary, write it, and return the path of the file."""
        series = {
            name: Series(name, self.units[name], tuple(samples))
            for name, samples in self.series.items()
        }
        ratios = [
            Ratio(name, series[over], series[under], goal)
            for name, over, under, goal in self.ratios
            if over in series and under in series
        ]
        print(f"\n{self.name}: {self.what}")
        for each in series.values():
            low, high = min(each.samples), max(each.samples)
            print(
                f"  {each.name:<48} median {each.median:9.3g} {each.unit}"
                f"   ({low:.3g} to {high:.3g}, n={len(each.samples)})"
            )
        for ratio in ratios:
            goal = f"   (goal: {ratio.goal})" if ratio.goal else ""
            print(f"  {ratio.name:<48} {ratio.value:16.3g} times{goal}")
        machine = _machine()
        # What else the machine did, before and during the benchmark.
        machine["load_at_start"] = f"{self._load:.1f}"
        machine["cpu_stolen_percent"] = f"{self._stolen_percent():.1f}"
        for name, text in {**machine, **self.notes}.items():
            print(f"  {name}: {text}")
        document = {
            "name": self.name,
            "what": self.what,
            "when": datetime.fromtimestamp(self._started, UTC).isoformat(timespec="seconds"),
            "took_sec": round(time.time() - self._started, 1),
            "machine": machine,
            "notes": self.notes,
            "series": {name: each.to_dict() for name, each in series.items()},
            "ratios": {ratio.name: ratio.to_dict() for ratio in ratios},
        }
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"  written to {path.relative_to(ROOT)}")
        return path

    def _stolen_percent(self) -> float:
        stolen, everything = _stolen_and_all()
        passed = everything - self._cpu[1]
        return 100.0 * (stolen - self._cpu[0]) / passed if passed else 0.0


def repeats(default: int, argv: Sequence[str] | None = None) -> int:
    """Return the `--count N` of a benchmark's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=default, help="samples of each kind")
    count: int = parser.parse_args(argv).count
    return count


def alternate(count: int, *kinds: Callable[[int], None]) -> None:
    """Run the kinds in turn, ``count`` times, each block in the reverse order of the last.

    A machine that slows down then affects all kinds alike.
    """
    for block in range(count):
        for kind in kinds if block % 2 == 0 else tuple(reversed(kinds)):
            kind(block)


def cache_without_states(scratch: Path) -> dict[str, str]:
    """Return the environment of a cold boot: the cache's images and probes by link, no states.

    Its runtime directory is separate too.
    """
    cache = scratch / "cache" / "kvmlab"
    cache.mkdir(parents=True)
    for entry in cache_dir().iterdir():
        if entry.name not in {"states", "run"}:
            (cache / entry.name).symlink_to(entry)
    runtime = scratch / "runtime"
    runtime.mkdir(mode=0o700)
    return {"XDG_CACHE_HOME": str(cache.parent), "XDG_RUNTIME_DIR": str(runtime)}


def _machine() -> dict[str, str]:
    git = run(("git", "-C", ROOT, "describe", "--always", "--dirty"), timeout_sec=30, check=False)
    return {
        "revision": git.stdout.strip() or "unknown",
        "cpus": str(len(os.sched_getaffinity(0))),
        "cpu": _first_field("/proc/cpuinfo", "model name"),
        "memory": _first_field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "python": platform.python_version(),
    }


def _first_field(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _stolen_and_all() -> tuple[int, int]:
    """Return stolen and total CPU time, in ticks (/proc/stat)."""
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    ticks = [int(word) for word in first[1:9]]
    return ticks[7], sum(ticks)
