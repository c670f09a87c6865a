"""Time from the start of a process to the first answer of the test VM's agent: restored, cold.

Each sample is a process that opens the embedded host and asks the agent. A cold boot has a cache
without saved states (with image and probes); it saves a state, which the restores after it use.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench._harness import ROOT, Bench, cache_without_states, repeats
from kvmlab.embedded import Lease, Preparation, acquire
from kvmlab.lab import connect, preparation
from kvmlab.process import run

RESTORES_PER_BOOT = 3
SAMPLE_SEC = 900.0
GOAL_SEC = 10.0


def main(argv: Sequence[str] | None = None) -> None:
    """Time ``--count`` cold boots, each followed by restores."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--one"]:
        _one()
        return
    count = repeats(2, words)
    bench = Bench("restore_vs_cold", "seconds until the agent of the test VM answers")
    for _ in range(count):
        with tempfile.TemporaryDirectory(prefix="kvmlab-bench-", dir="/var/tmp") as scratch:
            places = cache_without_states(Path(scratch))
            _sample(bench, "cold boot", places)
            for _ in range(RESTORES_PER_BOOT):
                _sample(bench, "restored", places)
    bench.ratio("cold over restored", "cold boot", "restored", goal="at least 5")
    bench.notes["goal"] = f"restored within {GOAL_SEC:g} s"
    bench.finish()


def _sample(bench: Bench, kind: str, places: dict[str, str]) -> None:
    begin = time.time()
    done = run(
        (sys.executable, "-m", "bench.restore_vs_cold", "--one"),
        timeout_sec=SAMPLE_SEC,
        env=places,
        cwd=ROOT,
    )
    sample = json.loads(done.stdout.splitlines()[-1])
    if sample["how"].startswith("restored") != (kind == "restored"):
        bench.notes[f"expected {kind}"] = f"came up otherwise: {sample['how']}"
        return
    bench.add(kind, sample["answered"] - begin)
    bench.notes["host"] = sample["label"]


def _one() -> None:
    """Take one sample in this process; the last line on stdout says when the agent answered."""
    answered: list[float] = []
    usual = preparation()

    def prepare_and_note(lease: Lease) -> None:
        usual.run(lease)
        answered.append(time.time())

    noting = Preparation(key=usual.key, run=prepare_and_note)
    with acquire(preparation=noting, progress=lambda text: print(text, file=sys.stderr)) as lease:
        if not answered:
            from kvmlab.domain import TestVM

            with connect(lease) as host:
                TestVM.ensure(host)
                answered.append(time.time())
        sample = {"how": lease.how, "answered": answered[0], "label": lease.label}
        print(json.dumps(sample), flush=True)
    # Written data must not be flushed during the next sample.
    os.sync()


if __name__ == "__main__":
    main()
