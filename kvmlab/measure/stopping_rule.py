"""The stopping rule: a fixed number of rounds, or until the intervals are narrow.

Without ``until_percent`` each workload is run ``count`` times. With it, a workload goes on until
the interval of every compared ratio (of the first scheme to each of the others; of a lone scheme
the interval of its median) is within that many percent of its middle, or the budget is spent.

With ``extend_percent`` the ``count`` is fixed for trials that agree; where three or more leave an
interval that is wider, there are up to twice as many.

Only the width of the interval decides, never its place: stopping as soon as a difference shows
would find differences between equal schemes. Width alone can still deceive, since few trials may be
close to each other by chance. Under wall time a workload therefore needs five trials, and an
interval that is narrow in two rounds in a row; under the virtual clock, where trials hardly vary,
three trials that agree are enough. ``python -m bench aa_test`` measures the share of false claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from kvmlab.clock import Clock
from kvmlab.measure.trial_settings import MOST_TRIALS, Trials
from kvmlab.results.statistics import median_interval, ratio_interval

LEAST = {Clock.WALL: 5, Clock.VIRTUAL: 3}
# With fewer trials an interval says nothing of their spread.
EXTENDED_FROM = 3
NARROW_RUNNING = {Clock.WALL: 2, Clock.VIRTUAL: 1}

Samples = Sequence[Sequence[float]]
"""The figures of one workload so far: one sequence for each scheme."""


@dataclass
class StoppingRule:
    """Decides round by round which workloads go on. ``clock`` is the host's."""

    trials: Trials
    clock: Clock
    now_sec: Callable[[], float] = monotonic
    _rounds: int = 0
    _narrow: dict[str, int] = field(default_factory=dict)
    _width: dict[str, float] = field(default_factory=dict)
    _ended: dict[str, str] = field(default_factory=dict)
    _began_sec: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_sec = self.now_sec()

    @property
    def least(self) -> int:
        """The number of rounds that there are in any case."""
        if self.trials.until_percent is None:
            return self.trials.count
        return max(self.trials.count, LEAST[self.clock])

    def next_workloads(
        self, samples: Callable[[str], Samples], *, rounds: int = 1
    ) -> tuple[str, ...]:
        """Return the workloads of the next round; none when all has been measured.

        ``samples`` gives the figures of a workload so far. ``rounds`` are measured before the next
        call.
        """
        if self._rounds:
            for name in self._open():
                self._judge(name, samples(name))
        self._rounds += rounds if self._open() else 0
        return self._open()

    def to_dict(self) -> dict[str, Any]:
        """Return how often each workload was run and why it ended, ready for JSON."""
        return {
            name: {"why": why, "interval_percent": _percent(self._width.get(name))}
            for name, why in self._ended.items()
        }

    def _judge_count(self, name: str, samples: Samples) -> None:
        count, percent = self.trials.count, self.trials.extend_percent
        if self._rounds < count:
            return
        if percent is None or count < EXTENDED_FROM:
            self._ended[name] = f"{self._rounds} trials, as was asked for"
            return
        width = self._width[name] = widest(samples)
        if width <= percent / 100:
            self._ended[name] = f"narrow enough after {self._rounds} trials"
        elif self._rounds >= min(2 * count, MOST_TRIALS):
            self._ended[name] = f"{self._rounds} trials, twice {count}, and not narrow enough"

    def _open(self) -> tuple[str, ...]:
        return tuple(name for name in self.trials.workloads if name not in self._ended)

    def _judge(self, name: str, samples: Samples) -> None:
        until_percent = self.trials.until_percent
        if until_percent is None:
            self._judge_count(name, samples)
            return
        width = self._width[name] = widest(samples)
        narrow = width <= until_percent / 100
        self._narrow[name] = self._narrow.get(name, 0) + 1 if narrow else 0
        if self._rounds < self.least:
            return
        if self._narrow[name] >= NARROW_RUNNING[self.clock]:
            self._ended[name] = f"narrow enough after {self._rounds} trials"
        elif self._rounds >= MOST_TRIALS:
            self._ended[name] = f"{MOST_TRIALS} trials, the most there are, and not narrow enough"
        elif self.now_sec() - self._began_sec >= self.trials.budget_sec:
            self._ended[name] = (
                f"the budget of {self.trials.budget_sec:g} s was spent after {self._rounds} "
                "trials, and the interval is not narrow enough"
            )


def widest(samples: Samples) -> float:
    """Return half the width of the widest interval, as a share of its middle: 0.05 for ±5 %.

    Of two schemes or more the interval of each ratio to the first, of one that of its median.
    """
    first, *others = ([*values] for values in samples)
    if not others:
        return half_width(*median_interval(first))
    return max(half_width(*ratio_interval(first, other)) for other in others)


def half_width(low: float, high: float) -> float:
    """Return sqrt(high / low) - 1, for an interval of something that is never negative.

    >>> round(half_width(0.9, 1.1), 3)
    0.106
    """
    if low == high:
        return 0.0
    if low <= 0 or math.isinf(high):
        return math.inf
    return math.sqrt(high / low) - 1


def _percent(width: float | None) -> float | None:
    return None if width is None or math.isinf(width) else round(100 * width, 2)
