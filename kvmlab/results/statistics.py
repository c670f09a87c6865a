"""Medians, and intervals that stay honest for three trials as for thirty.

The interval of a median and of a ratio of medians is a seeded percentile bootstrap. A bootstrap of
few values is too narrow: the interval of three values can be no wider than those three, which
holds the true median only three times in four. Below ``FEW`` trials the interval is therefore
widened to Student's (Welch's, for two samples), where that is the wider one. One trial has no
interval at all: it reaches from nothing to infinity, and no difference is ever claimed from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from kvmlab.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    FloatArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

CONFIDENCE = 0.95
FEW = 10
RESAMPLES = 10_000
_LEAST_ALIKE = 3
SEED = 20_100_109  # fixed: the same trials give the same interval on every machine


@dataclass(frozen=True)
class Summary:
    """Median and 95 % interval of one metric; ``low``/``high`` are infinite for a single trial."""

    name: str
    unit: str
    values: tuple[float, ...]
    median: float
    low: float
    high: float

    @property
    def count(self) -> int:
        """How many trials."""
        return len(self.values)

    def __str__(self) -> str:
        """For example ``689 [623 … 701] Mbit/s (3 trials)``."""
        trials = f"{self.count} trial{'s' if self.count != 1 else ''}"
        inside = "" if self.count == 1 else f" [{self.low:.4g} … {self.high:.4g}]"
        return f"{self.median:.4g}{inside} {self.unit} ({trials})"


def summarise(values: Iterable[float], *, name: str, unit: str) -> Summary:
    """Median and interval of one sample.

    Raises:
        UsageError: there is no value.
    """
    import numpy as np

    sample = np.asarray(tuple(values), dtype=float)
    if not sample.size:
        raise UsageError(f"There is no value of `{name}` to summarise.")
    low, high = median_interval(sample.tolist())
    return Summary(name, unit, tuple(sample.tolist()), float(np.median(sample)), low, high)


def median_interval(sample: list[float]) -> tuple[float, float]:
    """The 95 % interval of the median of one sample."""
    import numpy as np
    from scipy import stats

    if len(sample) < 2:
        return -math.inf, math.inf
    values = np.asarray(sample)
    medians = _resampled_medians(sample, SEED)
    low, high = _quantiles(medians)
    if len(sample) < FEW:
        # What is never negative varies by factors: its interval is one of logarithms.
        positive = bool((values > 0).all())
        scaled = np.log(values) if positive else values
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1)) * float(
            scaled.std(ddof=1) / math.sqrt(len(sample))
        )
        ends = [float(scaled.mean()) - half, float(scaled.mean()) + half]
        if positive:
            ends = [math.exp(end) for end in ends]
        low, high = min(low, ends[0]), max(high, ends[1])
    return float(low), float(high)


def ratio_interval(baseline: list[float], current: list[float]) -> tuple[float, float]:
    """The 95 % interval of median(current) / median(baseline); both samples not negative.

    Where the baseline can be zero the ratio has no upper end (infinity). A counter that is zero in
    every trial of one sample and in none of the other (three trials each, at least) needs no
    spread to differ: its ratio is 0, or infinite. A figure of few digits (a round trip in whole
    microseconds) repeats by chance, and its median may be half a step off however many trials
    there are: the interval reaches as far. Two trials each without any spread, which nothing
    rounded, claim nothing.
    """
    import numpy as np

    if min(len(baseline), len(current)) < 2:
        return 0.0, math.inf
    if min(len(baseline), len(current)) >= _LEAST_ALIKE:
        if not any(current) and all(baseline):
            return 0.0, 0.0
        if not any(baseline) and all(current):
            return math.inf, math.inf
    step = _step(baseline, current)
    alike = len(set(baseline)) == 1 and len(set(current)) == 1
    if alike and not step:
        ratio = ratio_of(baseline[0], current[0])
        if min(len(baseline), len(current)) >= _LEAST_ALIKE:
            return ratio, ratio
        return min(ratio, 1.0), max(ratio, 1.0)
    below, above = _resampled_medians(baseline, SEED), _resampled_medians(current, SEED + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(below > 0, above / below, np.where(above > 0, np.inf, 1.0))
    low, high = _quantiles(ratios)
    if min(len(baseline), len(current)) < FEW:
        welch_low, welch_high = _welch_ratio(baseline, current)
        low, high = min(low, welch_low), max(high, welch_high)
    if step:
        low, high = _with_rounding(low, high, step, median(baseline), median(current))
    return low, high


def _with_rounding(
    low: float, high: float, step: float, below: float, above: float
) -> tuple[float, float]:
    """The ends of a ratio's interval where each of its two medians may be half a step off."""
    half = step / 2
    if below <= half or above <= half:
        return 0.0, math.inf
    return (
        low * (1 - half / above) / (1 + half / below),
        high * (1 + half / above) / (1 - half / below),
    )


def ratio_of(below: float, above: float) -> float:
    """``above`` over ``below``, neither negative; of two zeros 1, of nothing infinity."""
    if below:
        return above / below
    return math.inf if above else 1.0


def _welch_ratio(baseline: list[float], current: list[float]) -> tuple[float, float]:
    """Welch's interval as a ratio: of logarithms, or of differences where a value is zero."""
    import numpy as np

    below, above = np.asarray(baseline), np.asarray(current)
    positive = bool((below > 0).all() and (above > 0).all())
    if positive:
        below, above = np.log(below), np.log(above)
    centre = float(above.mean() - below.mean())
    half = _welch_half_width(below.tolist(), above.tolist())
    if positive:
        return math.exp(centre - half), math.exp(centre + half)
    middle = float(below.mean())
    if middle <= 0:  # nothing to divide by: only whether the current is above zero can be said
        return (math.inf if centre - half > 0 else 0.0), math.inf
    return max(0.0, 1 + (centre - half) / middle), max(0.0, 1 + (centre + half) / middle)


def _step(*samples: list[float]) -> float:
    """The step in which values were rounded: 1, 0.1, 0.01 or 0.001; 0 where they were not."""
    values = [value for sample in samples for value in sample]
    for digits in range(4):
        if any(values) and all(math.isclose(value, round(value, digits)) for value in values):
            return float(10**-digits)
    return 0.0


def _welch_half_width(below: list[float], above: list[float]) -> float:
    """Half of Welch's interval."""
    import numpy as np
    from scipy import stats

    parts = [float(np.var(sample, ddof=1)) / len(sample) for sample in (below, above)]
    total = sum(parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(
        part**2 / (len(sample) - 1) for part, sample in zip(parts, (below, above), strict=True)
    )
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * math.sqrt(total)


def _resampled_medians(sample: list[float], seed: int) -> FloatArray:
    import numpy as np

    random = np.random.default_rng(seed)
    values = np.asarray(sample)
    drawn = values[random.integers(0, values.size, (RESAMPLES, values.size))]
    medians: FloatArray = np.median(drawn, axis=1)
    return medians


def _quantiles(values: FloatArray) -> tuple[float, float]:
    import numpy as np

    tail = (1 - CONFIDENCE) / 2
    # "lower"/"higher" never interpolate between a finite ratio and an infinite one.
    low = np.quantile(values, tail, method="lower")
    high = np.quantile(values, 1 - tail, method="higher")
    return float(low), float(high)
