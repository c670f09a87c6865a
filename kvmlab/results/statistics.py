"""Medians and ratios of medians, with 95 % intervals that hold for three trials as for thirty.

The interval is a seeded percentile bootstrap. Below ``FEW`` trials a bootstrap is too narrow: that
of three values can be no wider than those three, which hold the true median only three times in
four. It is therefore widened to a t-interval of the logarithms. The spread behind that t-interval
is pooled over the samples of a kind (one metric and workload, several schemes measured in turns)
where their spreads agree; otherwise it is Welch's. One trial has no interval at all: it reaches
from nothing to infinity, and no difference is claimed.

docs/decisions/2026-11-28-pooled-spread.md has the model, its assumptions and the A/A check.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
SEED = 20_100_109  # fixed: the same trials give the same interval on every machine
# Of two trials a variance is too unsure to be compared with another one.
POOLED_FROM = 3
# Spreads are pooled where Bartlett's test gives at least this: well above 0.05, since with a few
# trials it overlooks much, and pooling unlike spreads claims differences that are not there.
ALIKE = 0.4
_LEAST_EQUAL = 3
#: An atlas shows thousands of effects at once, and its measurements have heavier tails than a
#: normal distribution: with 0.95, 6 % of the effects of a default against itself were claimed.
REPEATED_CONFIDENCE = 0.99
#: Measurements of one thing that say how much whole measurements differ.
LEAST_REPEATS = 3


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
        """Number of trials."""
        return len(self.values)

    def __str__(self) -> str:
        """Return for example ``689 [623 … 701] Mbit/s (3 trials)``."""
        trials = f"{self.count} trial{'s' if self.count != 1 else ''}"
        interval = "" if self.count == 1 else f" [{self.low:.4g} … {self.high:.4g}]"
        return f"{self.median:.4g}{interval} {self.unit} ({trials})"


def summarise(values: Iterable[float], *, name: str, unit: str) -> Summary:
    """Return median and interval of one sample.

    Raises:
        UsageError: there is no value.
    """
    import numpy as np

    sample = np.asarray(tuple(values), dtype=float)
    if not sample.size:
        raise UsageError(f"There is no value of `{name}` to summarise.")
    low, high = median_interval(sample.tolist())
    return Summary(name, unit, tuple(sample.tolist()), float(np.median(sample)), low, high)


def median_interval(sample: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median of one sample."""
    import numpy as np
    from scipy import stats

    if len(sample) < 2:
        return -math.inf, math.inf
    values = np.asarray(sample, dtype=float)
    low, high = _quantiles(_resampled_medians(values, SEED))
    if len(sample) < FEW:
        # A quantity that is never negative varies by factors: its interval is one of logarithms.
        positive = bool((values > 0).all())
        scaled = np.log(values) if positive else values
        # Shifted by the first value, where scipy warns of equal ones.
        interval = stats.ttest_1samp(scaled - scaled[0], 0.0).confidence_interval(CONFIDENCE)
        ends = [float(end + scaled[0]) for end in interval]
        if positive:
            ends = [math.exp(end) for end in ends]
        low, high = min(low, ends[0]), max(high, ends[1])
    return float(low), float(high)


def ratio_interval(
    baseline: Sequence[float],
    current: Sequence[float],
    among: Sequence[Sequence[float]] = (),
) -> tuple[float, float]:
    """Return the 95 % interval of median(current) / median(baseline); no value is negative.

    ``among`` are samples of the same kind, measured in turns with the two, from whose trials the
    spread is estimated as well.

    Where the baseline can be zero the ratio has no upper end (infinity). A counter that is zero in
    every trial of one sample and in none of the other (three trials each, at least) needs no
    spread to differ: its ratio is 0, or infinite. A figure of few digits (a round trip in whole
    microseconds) repeats by chance, and its median may be half a step off however many trials
    there are: the interval reaches as far. Two trials each without any spread, which were not
    rounded, claim nothing.
    """
    import numpy as np

    least = min(len(baseline), len(current))
    if least < 2:
        return 0.0, math.inf
    if least >= _LEAST_EQUAL:
        if not any(current) and all(baseline):
            return 0.0, 0.0
        if not any(baseline) and all(current):
            return math.inf, math.inf
    step = _rounding_step(*baseline, *current)
    if len(set(baseline)) == len(set(current)) == 1 and not step:
        ratio = ratio_of(baseline[0], current[0])
        return (ratio, ratio) if least >= _LEAST_EQUAL else (min(ratio, 1.0), max(ratio, 1.0))
    below, above = np.asarray(baseline, dtype=float), np.asarray(current, dtype=float)
    denominators = _resampled_medians(below, SEED)
    numerators = _resampled_medians(above, SEED + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = np.where(numerators > 0, np.inf, 1.0)
        low, high = _quantiles(np.where(denominators > 0, numerators / denominators, zero))
    if least < FEW:
        t_low, t_high = _t_interval(below, above, among)
        low, high = min(low, t_low), max(high, t_high)
    if step:
        low, high = _with_rounding(low, high, step, median(baseline), median(current))
    return low, high


def repeated_interval(
    baselines: Sequence[Sequence[float]],
    current: Sequence[float],
    repeats: Sequence[Sequence[Sequence[float]]],
) -> tuple[float, float] | None:
    """Return the 99 % interval of a ratio from measurements that were repeated as a whole.

    ``baselines`` are the trials of each repeated measurement of the baseline, ``current`` those of
    one measurement. What differs from one measurement to the next (a host that was restored, an
    interface that was plugged in anew) differs less from trial to trial within one, so that trials
    alone deceive. The spread is therefore that of whole measurements, each with the mean of the
    logarithms of its trials; those of other ``repeats`` add theirs, each group about its own mean.

    None where it cannot be told: fewer than three measurements of the baseline, a value that is
    not positive, or trials of ``current`` that spread more than those of the baselines do.
    """
    import numpy as np
    from scipy import stats

    groups = [baselines, *repeats]
    positive = all(value > 0 for group in groups for trials in group for value in trials)
    if len(baselines) < LEAST_REPEATS or not positive or not min(current, default=0) > 0:
        return None
    if _spreads_more(np.log(current), [np.log(trials) for trials in baselines]):
        return None
    means = [np.array([float(np.log(trials).mean()) for trials in group]) for group in groups]
    freedom = sum(len(group) - 1 for group in means)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in means)
    scale = math.sqrt(squares / freedom * (1 + 1 / len(baselines)))
    centre = float(np.log(current).mean() - means[0].mean())
    low, high = centre, centre
    if scale:
        ends = stats.t.interval(REPEATED_CONFIDENCE, freedom, loc=centre, scale=scale)
        low, high = (float(end) for end in ends)
    below, above = median(value for trials in baselines for value in trials), median(current)
    ratio = ratio_of(below, above)
    low, high = min(math.exp(low), ratio), max(math.exp(high), ratio)
    step = _rounding_step(*(value for trials in baselines for value in trials), *current)
    return _with_rounding(low, high, step, below, above) if step else (low, high)


def _spreads_more(current: FloatArray, baselines: Sequence[FloatArray]) -> bool:
    """Return whether the variance of the trials is larger, by an F-test, than the baselines'."""
    from scipy import stats

    freedom = sum(len(trials) - 1 for trials in baselines)
    if len(current) < 2 or not freedom:
        return False
    squares = sum(float(((trials - trials.mean()) ** 2).sum()) for trials in baselines)
    variance = float(current.var(ddof=1))
    if not squares:
        return variance > 0
    share = stats.f.sf(variance / (squares / freedom), len(current) - 1, freedom)
    return bool(share < 1 - CONFIDENCE)


def ratio_of(below: float, above: float) -> float:
    """Return ``above`` / ``below``, neither negative: 1 for two zeros, infinity for x / 0."""
    if below:
        return above / below
    return math.inf if above else 1.0


def _t_interval(
    below: FloatArray, above: FloatArray, among: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return a t-interval of the ratio: of logarithms, or of differences where a value is zero."""
    import numpy as np

    if (below > 0).all() and (above > 0).all():
        kin = [np.log(sample) for sample in among if min(sample, default=0.0) > 0]
        low, high = _difference(np.log(below), np.log(above), kin)
        return math.exp(low), math.exp(high)
    low, high = _difference(below, above, ())
    middle = float(below.mean())
    if middle <= 0:  # nothing to divide by: only whether the current is above zero can be said
        return (math.inf if low > 0 else 0.0), math.inf
    return max(0.0, 1 + low / middle), max(0.0, 1 + high / middle)


def _difference(
    below: FloatArray, above: FloatArray, kin: Sequence[FloatArray]
) -> tuple[float, float]:
    """Return the interval of mean(above) - mean(below)."""
    from scipy import stats

    # Centred on their first values, where scipy warns of equal ones.
    first, second = below - below[0], above - above[0]
    shift = float(above[0] - below[0])
    if not first.any() and not second.any():
        return shift, shift
    samples = _of_one_spread(first, second, [sample - sample[0] for sample in kin])
    if not samples:
        welch = stats.ttest_ind(second, first, equal_var=False).confidence_interval(CONFIDENCE)
        return float(welch.low) + shift, float(welch.high) + shift
    # scipy's pooled interval knows two samples only.
    freedom = sum(len(sample) - 1 for sample in samples)
    squares = sum(float(sample.var(ddof=1)) * (len(sample) - 1) for sample in samples)
    scale = math.sqrt(squares / freedom * (1 / len(first) + 1 / len(second)))
    centre = float(second.mean() - first.mean()) + shift
    low, high = stats.t.interval(CONFIDENCE, freedom, loc=centre, scale=scale)
    return float(low), float(high)


def _of_one_spread(
    first: FloatArray, second: FloatArray, kin: Sequence[FloatArray]
) -> list[FloatArray]:
    """Return the samples whose variances may be taken for one: all, the two alone, or none."""
    from scipy import stats

    pair = [first, second]
    pooled = [sample for sample in kin if _varies(sample)]
    for samples in ([*pair, *pooled], pair):
        if all(map(_varies, samples)) and stats.bartlett(*samples).pvalue >= ALIKE:
            return samples
    return []


def _varies(sample: FloatArray) -> bool:
    return len(sample) >= POOLED_FROM and bool(sample.any())


def _with_rounding(
    low: float, high: float, step: float, below: float, above: float
) -> tuple[float, float]:
    """Return the ends of a ratio's interval where each median may be half a step off."""
    half = step / 2
    if below <= half or above <= half:
        return 0.0, math.inf
    return (
        low * (1 - half / above) / (1 + half / below),
        high * (1 + half / above) / (1 - half / below),
    )


def _rounding_step(*values: float) -> float:
    """Return the step in which values were rounded (1, 0.1, 0.01, 0.001); 0 for none of these."""
    for digits in range(4):
        if any(values) and all(math.isclose(value, round(value, digits)) for value in values):
            return float(10**-digits)
    return 0.0


def _resampled_medians(sample: FloatArray, seed: int) -> FloatArray:
    """Return the medians of ``RESAMPLES`` bootstrap samples."""
    import numpy as np
    from scipy import stats

    bootstrap = stats.bootstrap(
        (sample,), np.median, n_resamples=RESAMPLES, method="percentile", rng=seed
    )
    medians: FloatArray = bootstrap.bootstrap_distribution
    return medians


def _quantiles(values: FloatArray) -> tuple[float, float]:
    """Return the ends of the middle 95 %.

    scipy's percentile interval interpolates, which a finite ratio beside an infinite one forbids.
    """
    import numpy as np

    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(values, tail, method="lower")
    high = np.quantile(values, 1 - tail, method="higher")
    return float(low), float(high)
