"""A/A: a scheme against itself. How often is a difference claimed where there is none?

On the embedded host one scheme is applied and measured over and over, in turns with itself, under
the virtual clock and under wall time: pools of real trials, which grow in `bench/results/aa-CLOCK`.
From them many A/A comparisons are drawn, in two ways. In rounds: so many rounds running, and within
each of them chance decides which of the two trials is called A; that keeps whatever drift the
machine had, as a real comparison would meet it, but a small pool has few such comparisons that are
unlike. Drawn freely: any trials of the pool. The last lines let the stopping rule decide on their
number.

The interval is one of 95 %: no more than 5 % of the comparisons may claim a difference.
"""

from __future__ import annotations

import argparse
import functools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import kvmlab
from bench._harness import RESULTS, Bench
from kvmlab.clock import Clock
from kvmlab.measure import Trials, interleaved
from kvmlab.measure.stopping import Stopping
from kvmlab.results import About, Journal, Part, find_runs, load_run
from kvmlab.results.statistics import ratio_interval

METRICS = (
    ("tcp_up_mbps", "tcp_up"),
    ("cpu_us_per_packet", "tcp_up"),
    ("vm_exits_per_packet", "tcp_up"),
    ("rtt_p50_us", "latency"),
)
ROUNDS = (3, 5, 10)
COMPARISONS = 1000
UNTIL_PERCENT = 5.0

Round = tuple[float, float]


def main(argv: Sequence[str] | None = None) -> None:
    """``--count`` rounds more for each pool (0: none), then draw from all that the pools have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=15, help="rounds to add to each pool")
    parser.add_argument("--clock", choices=list(Clock), action="append", help="of this one only")
    settings = parser.parse_args(argv)
    count: int = settings.count
    bench = Bench("aa_test", "share of A/A comparisons that claim a difference, in percent")
    for clock in map(Clock, settings.clock or list(Clock)):
        out = RESULTS / f"aa-{clock.value}"
        if count:
            measure(clock, count, out)
        # A measurement that was interrupted has the rounds that were whole.
        runs = [load_run(run, unfinished=True) for run in find_runs([out]) if run.trials]
        for metric, workload in METRICS if runs else ():
            rounds = [pair for run in runs for pair in _rounds(run, metric, workload)]
            spread = _spread([value for both in rounds for value in both])
            bench.add(f"{clock.value}: {metric}, spread of the trials", spread, "%")
            bench.notes[f"rounds, {clock.value} clock"] = str(len(rounds))
            _draw(bench, clock, metric, rounds)
    bench.notes["goal"] = "no more than 5 %"
    bench.finish()


def measure(clock: Clock, count: int, out: Path) -> None:
    """A pool of trials: ``count`` rounds of a scheme in turns with itself."""
    trials = Trials(count=count, seconds=1, workloads=("tcp_up", "latency"), trace_path=False)
    with kvmlab.open_lab("embedded", clock=clock) as lab:
        plan = lab.plan(kvmlab.Virtio(backend="vhost"))
        both = dict.fromkeys(("A", "B"), functools.partial(plan.applied, lab.vm))
        about = About(lab.host.label, clock.value, lab.host.emulated, tuple(both))
        journal = Journal(out, about)
        journal.finish(interleaved(both, lab.host, lab.vm, trials, journal=journal))


def _rounds(run: Sequence[Part], metric: str, workload: str) -> list[Round]:
    values = ([m.value for m in part.result.metrics(metric, workload)] for part in run)
    return list(zip(*values, strict=False))


def _draw(bench: Bench, clock: Clock, metric: str, rounds: Sequence[Round]) -> None:
    for way, split in (("in rounds", _split), ("drawn freely", _freely)):
        for count in ROUNDS:
            if count > len(rounds):
                continue
            claims = [_differs(*split(rounds, count, seed)) for seed in range(COMPARISONS)]
            share = 100 * sum(claims) / COMPARISONS
            bench.add(f"{clock.value}: {metric}, {count} trials each, {way}", share, "%")
    ended = [_until_narrow(clock, rounds, seed) for seed in range(COMPARISONS // 4)]
    claims = [_differs(*found) for found in ended]
    name = f"{clock.value}: {metric}, until within {UNTIL_PERCENT:g} %"
    bench.add(name, 100 * sum(claims) / len(claims), "%")
    bench.add(f"{name}: rounds", sum(len(first) for first, _ in ended) / len(ended), "rounds")


def _differs(first: Sequence[float], second: Sequence[float]) -> bool:
    low, high = ratio_interval(list(first), list(second))
    return low > 1 or high < 1


def _split(rounds: Sequence[Round], count: int, seed: int) -> tuple[list[float], list[float]]:
    """``count`` rounds running, with A and B dealt anew in each."""
    first, second = zip(*_dealt(rounds, count, seed), strict=True)
    return list(first), list(second)


def _freely(rounds: Sequence[Round], count: int, seed: int) -> tuple[list[float], list[float]]:
    """``count`` trials for A and as many for B, from the whole pool."""
    chance = random.Random(seed)
    drawn = chance.sample([value for both in rounds for value in both], 2 * count)
    return drawn[:count], drawn[count:]


def _dealt(rounds: Sequence[Round], count: int, seed: int) -> Iterator[Round]:
    chance = random.Random(seed)
    begin = chance.randrange(len(rounds) - count + 1)
    for one, other in rounds[begin : begin + count]:
        yield (one, other) if chance.random() < 0.5 else (other, one)


def _until_narrow(
    clock: Clock, rounds: Sequence[Round], seed: int
) -> tuple[list[float], list[float]]:
    """What the stopping rule leaves of the pool's trials, in an order drawn by chance."""
    drawn = [value for both in rounds for value in both]
    random.Random(seed).shuffle(drawn)
    found: tuple[list[float], list[float]] = ([], [])
    trials = Trials(until_percent=UNTIL_PERCENT, budget_sec=len(rounds), workloads=("tcp_up",))
    stopping = Stopping(trials, clock, now_sec=lambda: float(len(found[0])))
    while stopping.going_on(lambda name: found):
        for values in found:
            values.append(drawn.pop())
    return found


def _spread(values: Sequence[float]) -> float:
    """Interquartile range as a share of the median, in percent."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    middle = ordered[len(ordered) // 2]
    return 100 * (ordered[-quarter - 1] - ordered[quarter]) / middle if middle else 0.0


if __name__ == "__main__":
    main()
