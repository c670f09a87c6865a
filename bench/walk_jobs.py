"""The walk of all notebooks, one at a time and several side by side, in one run of this benchmark.

    python -m bench walk_jobs [NOTEBOOK…] [--jobs N]

Says how much faster the second walk is, and how far the medians of the two are from each other.
A state of the embedded host must be saved: the first boot is not part of a walk.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench._harness import Bench
from kvmlab.lab.parallelism import jobs_that_fit
from kvmlab.results import load
from kvmlab.runbook import run

_METRICS = ("tcp_up_mbps", "tcp_down_mbps", "rtt_p50_us", "vm_exits_per_packet")


def main(argv: Sequence[str] | None = None) -> None:
    """Walk twice and compare."""
    parser = argparse.ArgumentParser(prog="python -m bench walk_jobs", description=__doc__)
    parser.add_argument("notebooks", nargs="*")
    parser.add_argument("--jobs", type=int, default=jobs_that_fit())
    parser.add_argument("--count", type=int, default=1, help="walks of each kind")
    chosen = parser.parse_args(argv)
    bench = Bench("walk_jobs", f"the walk with --jobs 1 and with --jobs {chosen.jobs}")
    goal = "300 s or less with several jobs, figures within 2 %"
    bench.notes["goal"] = goal
    several = f"--jobs {chosen.jobs}"
    for _ in range(chosen.count):
        medians = {}
        for name, jobs in (("--jobs 1", 1), (several, chosen.jobs)):
            with TemporaryDirectory(prefix="kvmlab-bench-", dir="/var/tmp") as scratch:
                with bench.timed(name):
                    outcome = run(chosen.notebooks, out=Path(scratch) / "run", jobs=jobs)
                medians[name] = _medians(outcome.folder / "results")
        shared = medians["--jobs 1"].keys() & medians[several].keys()
        by_key = {
            key: 100 * abs(medians[several][key] / medians["--jobs 1"][key] - 1) for key in shared
        }
        deviations = list(by_key.values())
        bench.notes["medians compared"] = str(len(deviations))
        if deviations:
            bench.add("deviation of a median, largest", max(deviations), "%")
            bench.add("deviation of a median, median", statistics.median(deviations), "%")
            for key in sorted(by_key, key=by_key.__getitem__, reverse=True)[:5]:
                pair = " and ".join(f"{medians[name][key]:.4g}" for name in ("--jobs 1", several))
                bench.notes[" ".join(key)] = f"{pair} ({by_key[key]:.1f} %)"
    bench.ratio("times faster", "--jobs 1", several, goal="1.8 or more on two idle cores")
    bench.finish()


def _medians(folder: Path) -> dict[tuple[str, str, str, str], float]:
    """Return the medians of a run's results, by notebook, scheme, workload and metric."""
    medians = {}
    for path in sorted(folder.glob("*/*/results.json")):
        for result in load(path.parent):
            for workload in result.workloads:
                for metric in result.metric_names(workload, _METRICS):
                    value = result.summary(metric, workload).median
                    if metric in _METRICS and value:
                        key = (path.parent.parent.name, result.label, workload, metric)
                        medians[key] = value
    return medians
