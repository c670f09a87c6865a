"""A/A test: the share of comparisons of a scheme with itself that claim a difference.

On the embedded host one scheme alternates with itself, under the virtual clock and under wall time;
the pools of trials grow in `bench/results/aa-CLOCK`. Comparisons are drawn from them in two ways.
In rounds: consecutive rounds, with the two trials of a round assigned at random; that keeps the
drift of the machine, as a real comparison meets it, but a small pool has few different ones.
Freely: any trials of the pool. The last lines let the stopping rule decide on their number.

With `--schemes` the pool holds the trials of six schemes that alternate. From it come A/A
comparisons of a scheme with itself, whose spread is pooled with that of the others, and comparisons
of two schemes, whose interval should contain the ratio of the pools' medians.

The interval is one of 95 %: no more than 5 % of the comparisons may claim a difference.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import kvmlab
from bench._harness import RESULTS, Bench
from kvmlab.clock import Clock
from kvmlab.measure import Trials, interleaved
from kvmlab.measure.stopping_rule import StoppingRule
from kvmlab.results import Part, RunInfo, RunJournal, find_runs, load_run
from kvmlab.results.statistics import ratio_interval

METRICS = (
    ("tcp_up_mbps", "tcp_up"),
    ("cpu_us_per_packet", "tcp_up"),
    ("vm_exits_per_packet", "tcp_up"),
    ("rtt_p50_us", "latency"),
)
SCHEME_METRICS = (
    *METRICS,
    ("context_switches_per_packet", "tcp_up"),
    ("cpu_us_per_packet", "latency"),
    ("vm_exits_per_packet", "latency"),
    ("context_switches_per_packet", "latency"),
)
SCHEMES = (
    kvmlab.FullEmulation("e1000"),
    kvmlab.Virtio(backend="qemu"),
    kvmlab.Virtio(backend="vhost"),
    kvmlab.Macvtap(),
    kvmlab.PciPassthrough(group="take"),
    kvmlab.SriovVf(),
)
ROUNDS = (3, 5, 10)
SCHEME_ROUNDS = (3, 4, 5)
COMPARISONS = 1000
SCHEME_COMPARISONS = 50
UNTIL_PERCENT = 5.0

Round = tuple[float, float]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure ``--count`` more rounds for each pool (0: none), then draw from the whole pools."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=15, help="rounds to add to each pool")
    parser.add_argument("--clock", choices=list(Clock), action="append", help="of this one only")
    parser.add_argument("--schemes", action="store_true", help="the pool of six schemes instead")
    settings = parser.parse_args(argv)
    bench = Bench("aa_test", "share of A/A comparisons that claim a difference, in percent")
    if settings.schemes:
        _schemes(bench, settings.count)
    else:
        for clock in map(Clock, settings.clock or list(Clock)):
            _one_scheme(bench, clock, settings.count)
    bench.notes["goal"] = "no more than 5 %"
    bench.finish()


def _one_scheme(bench: Bench, clock: Clock, count: int) -> None:
    out = RESULTS / f"aa-{clock.value}"
    if count:
        measure(clock, count, out)
    # An interrupted measurement has its complete rounds.
    runs = [load_run(run, unfinished=True) for run in find_runs([out]) if run.trials]
    for metric, workload in METRICS if runs else ():
        rounds = [pair for run in runs for pair in _rounds(run, metric, workload)]
        spread = _spread([value for both in rounds for value in both])
        bench.add(f"{clock.value}: {metric}, spread of the trials", spread, "%")
        bench.notes[f"rounds, {clock.value} clock"] = str(len(rounds))
        _draw(bench, clock, metric, rounds)


def measure(clock: Clock, count: int, out: Path) -> None:
    """Add ``count`` rounds of a scheme that alternates with itself to a pool."""
    trials = Trials(count=count, seconds=1, workloads=("tcp_up", "latency"), trace_path=False)
    with kvmlab.open_lab("embedded", clock=clock) as lab:
        plan = lab.plan(kvmlab.Virtio(backend="vhost"))
        both = dict.fromkeys(("A", "B"), functools.partial(plan.applied, lab.vm))
        about = RunInfo(lab.host.label, clock.value, lab.host.emulated, tuple(both))
        journal = RunJournal(out, about)
        journal.finish(interleaved(both, lab.host, lab.vm, trials, journal=journal))


def _rounds(run: Sequence[Part], metric: str, workload: str) -> list[Round]:
    values = ([m.value for m in part.result.metrics(metric, workload)] for part in run)
    return list(zip(*values, strict=False))


def _draw(bench: Bench, clock: Clock, metric: str, rounds: Sequence[Round]) -> None:
    for how, split in (("in rounds", _split), ("drawn freely", _freely)):
        for count in ROUNDS:
            if count > len(rounds):
                continue
            claims = [_differs(*split(rounds, count, seed)) for seed in range(COMPARISONS)]
            share = 100 * sum(claims) / COMPARISONS
            bench.add(f"{clock.value}: {metric}, {count} trials each, {how}", share, "%")
    samples = [_until_narrow(clock, rounds, seed) for seed in range(COMPARISONS // 4)]
    claims = [_differs(*pair) for pair in samples]
    name = f"{clock.value}: {metric}, until within {UNTIL_PERCENT:g} %"
    bench.add(name, 100 * sum(claims) / len(claims), "%")
    bench.add(f"{name}: rounds", sum(len(first) for first, _ in samples) / len(samples), "rounds")


def _differs(
    first: Sequence[float], second: Sequence[float], among: Sequence[Sequence[float]] = ()
) -> bool:
    low, high = ratio_interval(first, second, among)
    return low > 1 or high < 1


def _split(rounds: Sequence[Round], count: int, seed: int) -> tuple[list[float], list[float]]:
    """Return ``count`` consecutive rounds, with A and B assigned at random in each."""
    first, second = zip(*_assigned(rounds, count, seed), strict=True)
    return list(first), list(second)


def _freely(rounds: Sequence[Round], count: int, seed: int) -> tuple[list[float], list[float]]:
    """Return ``count`` trials for A and as many for B, from the whole pool."""
    chance = random.Random(seed)
    trials = chance.sample([value for both in rounds for value in both], 2 * count)
    return trials[:count], trials[count:]


def _assigned(rounds: Sequence[Round], count: int, seed: int) -> Iterator[Round]:
    chance = random.Random(seed)
    begin = chance.randrange(len(rounds) - count + 1)
    for one, other in rounds[begin : begin + count]:
        yield (one, other) if chance.random() < 0.5 else (other, one)


def _until_narrow(
    clock: Clock, rounds: Sequence[Round], seed: int
) -> tuple[list[float], list[float]]:
    """Return the trials after which the stopping rule ends, in random order of the pool."""
    shuffled = [value for both in rounds for value in both]
    random.Random(seed).shuffle(shuffled)
    samples: tuple[list[float], list[float]] = ([], [])
    trials = Trials(until_percent=UNTIL_PERCENT, budget_sec=len(rounds), workloads=("tcp_up",))
    stopping = StoppingRule(trials, clock, now_sec=lambda: float(len(samples[0])))
    while stopping.next_workloads(lambda name: samples):
        for values in samples:
            values.append(shuffled.pop())
    return samples


def _spread(values: Sequence[float]) -> float:
    """Return the interquartile range as a share of the median, in percent."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    middle = ordered[len(ordered) // 2]
    return 100 * (ordered[-quarter - 1] - ordered[quarter]) / middle if middle else 0.0


def _schemes(bench: Bench, count: int) -> None:
    out = RESULTS / "aa-schemes"
    if count:
        trials = Trials(count=count, workloads=("tcp_up", "latency"), trace_path=False)
        with kvmlab.open_lab("embedded", out=out) as lab:
            lab.compare(*map(lab.plan, SCHEMES), trials=trials, jobs=1)
    runs = [load_run(run, unfinished=True) for run in find_runs([out]) if run.trials]
    if not runs:
        return
    chance = random.Random(1)
    for number in SCHEME_ROUNDS:
        alone, pooled, missed = [], [], []
        for metric, workload in SCHEME_METRICS:
            samples: dict[str, list[float]] = {}
            for part in (part for run in runs for part in run):
                values = [m.value for m in part.result.metrics(metric, workload)]
                samples.setdefault(part.result.scheme, []).extend(values)
            for _ in range(SCHEME_COMPARISONS):
                names = one, other = chance.sample(list(samples), 2)
                drawn = {name: chance.sample(values, number) for name, values in samples.items()}
                others = [drawn[name] for name in samples if name not in names]
                ratio = statistics.median(samples[other]) / statistics.median(samples[one])
                low, high = ratio_interval(drawn[one], drawn[other], others)
                missed.append(not low <= ratio <= high)
                twice = chance.sample(samples[one], 2 * number)
                pair = (twice[:number], twice[number:])
                alone.append(_differs(*pair))
                pooled.append(_differs(*pair, [*others, drawn[other]]))
        for name, cases in (
            ("false claims, spread of the pair", alone),
            ("false claims, spread pooled", pooled),
            ("true ratio missed, spread pooled", missed),
        ):
            share = 100 * sum(cases) / len(cases)
            bench.add(f"six schemes, {number} trials each: {name}", share, "%")


if __name__ == "__main__":
    main()
