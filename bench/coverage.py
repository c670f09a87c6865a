"""Coverage of the interval of a ratio, on samples of known distributions.

Two samples are drawn, the second scaled by 1.3, and the interval of the ratio of their medians is
computed as `kvmlab.compare` does. A 95 % interval has to contain 1.3 in 95 of 100 cases. The share
of misses is also the share of false claims between equal schemes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from bench._harness import Bench, repeats
from kvmlab.results.statistics import ratio_interval

TRUE_RATIO = 1.3
SIZES = (3, 5, 10, 30)

Draw = Callable[[random.Random, float], float]
"""Draw one trial's figure; the second argument scales the true value."""


def _heavy(chance: random.Random, times: float) -> float:
    """Draw from a log-t distribution with 2.5 degrees of freedom: far outliers."""
    chi = chance.gammavariate(1.25, 2.0)
    return 100 * times * math.exp(0.05 * chance.gauss(0, 1) / math.sqrt(chi / 2.5))


def _one_in_ten(chance: random.Random, times: float) -> float:
    return 100 * times * chance.gauss(1, 0.02) * (0.6 if chance.random() < 0.1 else 1)


KINDS: dict[str, Draw] = {
    "trials within 5 %": lambda chance, times: times * chance.lognormvariate(5, 0.05),
    "trials within 40 %": lambda chance, times: times * chance.lognormvariate(5, 0.4),
    "heavy tails": _heavy,
    "one in ten at 60 %": _one_in_ten,
    "skewed": lambda chance, times: times * (50 + chance.expovariate(0.1)),
    # Round trips in whole microseconds: rounding hides the spread of the trials.
    "rounded": lambda chance, times: float(round(times * chance.gauss(113.3, 0.3))),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw ``--count`` pairs of samples of each kind and size."""
    count = repeats(1000, argv)
    bench = Bench("coverage", "share of 95 % intervals that miss the true ratio, in percent")
    for kind, draw in KINDS.items():
        for size in SIZES:
            chance = random.Random(f"{kind} {size}")
            missed = sum(_misses(draw, size, chance) for _ in range(count))
            bench.add(f"{kind}, {size} trials each", 100 * missed / count, "%")
    bench.notes["goal"] = "no more than 5 %"
    bench.notes["pairs of samples"] = str(count)
    bench.finish()


def _misses(draw: Draw, size: int, chance: random.Random) -> bool:
    first = [draw(chance, 1.0) for _ in range(size)]
    second = [draw(chance, TRUE_RATIO) for _ in range(size)]
    low, high = ratio_interval(first, second)
    return not low <= TRUE_RATIO <= high


if __name__ == "__main__":
    main()
