"""A/A of the atlas: tunings at their defaults against the scheme without them.

Each row applies a tuning whose value is what the scheme has anyway, so every difference that the
atlas shows is a false claim: 5 % of the effects may be shown at most.
What was measured stays in ``bench/results/atlas-aa``: a second run goes on from there. Each
measurement is then taken for a row in turn, against those of the scheme itself and of the others.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace

import kvmlab
from bench._harness import RESULTS, Bench
from kvmlab.lab.atlas_survey import TRIALS
from kvmlab.results import Result, load
from kvmlab.results.atlas import COLUMNS, TuningEffect, effects_of

#: Tunings whose default is written out, or read back, when it is asked for.
NAMES = (
    "guest-tso=on",
    "guest-gro=on",
    "mrg-rxbuf=on",
    "large-receive=on",
    "rx-ring=1024",
    "tx-ring=1024",
    "packed=off",
    "event-idx=on",
    "iommu-platform=off",
    "tap-txqueuelen=1000",
)
#: As in the atlas of docs/atlas.md.
BASELINES = 6
DRAWS = 40


def main(argv: Sequence[str] | None = None) -> None:
    """Measure ``--count`` of the tunings at their defaults, and count what the atlas claims."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=len(NAMES), help="tunings to measure")
    parser.add_argument("--jobs", type=int, help="hosts that measure at a time")
    parser.add_argument("--trials", type=int, default=TRIALS.count, help="trials of each workload")
    settings = parser.parse_args(argv)
    bench = Bench("atlas_aa", "differences that the atlas shows of a default against itself")
    folder = RESULTS / "atlas-aa"
    with kvmlab.open_lab("embedded") as lab:
        bench.notes["host"] = lab.host.emulated or lab.host.label
        atlas = lab.atlas(
            *NAMES[: settings.count],
            folder=folder,
            trials=replace(TRIALS, count=settings.trials),
            jobs=settings.jobs,
            baselines=BASELINES,
        )
    count(bench, "as measured", [effect for row in atlas.measured for effect in row.effects])
    results = [load(path.parent)[0] for path in sorted(folder.glob("*/results.json"))]
    count(bench, f"drawn {DRAWS} times", drawn(results))
    bench.notes["measurements"] = str(len(results))
    bench.notes["goal"] = "no more than 5 %"
    bench.finish()


def drawn(results: Sequence[Result]) -> list[TuningEffect]:
    """Return effects of measurements against baselines, both drawn from all of ``results``."""
    chance = random.Random(1)
    effects: list[TuningEffect] = []
    for _ in range(DRAWS):
        row, *baselines = chance.sample(results, 1 + BASELINES)
        effects += effects_of(baselines, row)
    return effects


def count(bench: Bench, how: str, effects: Sequence[TuningEffect]) -> None:
    """Add the share of effects that are shown, of all metrics and of the figure's columns."""
    columns = [e for e in effects if (e.metric, e.workload) in COLUMNS.values()]
    for what, of in (("all metrics", effects), ("the columns of the figure", columns)):
        claimed = [effect for effect in of if effect.shown]
        bench.add(f"false claims, {what}, {how}", 100 * len(claimed) / len(of), "%")
        bench.notes[f"effects, {what}, {how}"] = f"{len(claimed)} of {len(of)}"


if __name__ == "__main__":
    main()
