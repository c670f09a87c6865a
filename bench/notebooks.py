"""Wall time of a run of all notebooks, notebook by notebook, and the share of traffic in it.

    python -m bench notebooks                 # runs all seven with their defaults
    python -m bench notebooks --run FOLDER …  # reads existing runs, whole or in parts

Traffic is the time in which the client of a stored trial was sending; the rest is opening,
planning, hotplug, counting, and drawing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench._harness import Bench
from kvmlab.results import load
from kvmlab.runbook import run

GOAL_SEC = 600.0


def main(argv: Sequence[str] | None = None) -> None:
    """Run all notebooks, or read existing runs."""
    parser = argparse.ArgumentParser(prog="python -m bench notebooks", description=__doc__)
    parser.add_argument("--count", type=int, default=1, help="walks to make")
    parser.add_argument("--run", type=Path, nargs="+", default=[], metavar="FOLDER")
    arguments = parser.parse_args(argv)
    bench = Bench("notebooks", "seconds of each notebook, and of the traffic in it")
    bench.notes["goal"] = (
        f"all of them in less than {GOAL_SEC:.0f} s on an idle machine, more than half of it "
        "traffic"
    )
    if arguments.run:
        _read(bench, arguments.run)
    for _ in range(0 if arguments.run else arguments.count):
        with TemporaryDirectory(prefix="kvmlab-bench-", dir="/var/tmp") as scratch:
            _read(bench, [run(out=Path(scratch) / "run").folder])
    bench.finish()


def _read(bench: Bench, folders: Iterable[Path]) -> None:
    total, traffic = 0.0, 0.0
    for folder in folders:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        bench.notes[f"run of {record['started']}"] = "by kvmlab " + record["kvmlab"]
        for entry in record["entries"]:
            name, seconds = entry["name"], float(entry["elapsed_sec"])
            sending = _client_sec(folder / "results" / name)
            bench.add(name, seconds)
            bench.add(f"{name}: traffic", sending)
            total, traffic = total + seconds, traffic + sending
    bench.add("all", total)
    bench.add("all: outside traffic", 100 * (1 - traffic / total), "%")


def _client_sec(folder: Path) -> float:
    """Return the seconds of all stored trials' clients."""
    return sum(
        condition.value
        for file in folder.glob("*/results.json")
        for result in load(file.parent)
        for trial in result.trials
        for condition in trial.conditions
        if condition.name == "client_sec"
    )


if __name__ == "__main__":
    main()
