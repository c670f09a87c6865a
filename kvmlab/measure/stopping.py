"""When enough has been measured: a fixed number of rounds, or until the intervals are narrow.

Without ``until_percent`` each workload is run ``count`` times. With it, a workload goes on until
the interval of every compared ratio (of the first scheme to each of the others; of a lone scheme
the interval of its median) is within that many percent of its middle, or the budget is spent.

What decides is only how wide the interval is, never where it lies: to stop when a difference shows
would find one in schemes that are alike. Width alone could still deceive, since few trials may be
close to each other by chance. Under wall time a workload therefore needs five trials, and an
interval that is narrow in two rounds running; under the virtual clock, where trials hardly vary,
three trials that agree are enough. ``python -m bench aa_test`` has the share of false claims that
comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from kvmlab.clock import Clock
from kvmlab.measure.settings import MOST_TRIALS, Trials
from kvmlab.results.statistics import median_interval, ratio_interval

LEAST = {Clock.WALL: 5, Clock.VIRTUAL: 3}
NARROW_RUNNING = {Clock.WALL: 2, Clock.VIRTUAL: 1}

Samples = Sequence[Sequence[float]]
"""The figures of one workload so far: one sequence for each scheme."""


@dataclass
class Stopping:
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
        """How many rounds there are in any case."""
        if self.trials.until_percent is None:
            return self.trials.count
        return max(self.trials.count, LEAST[self.clock])

    def going_on(self, samples: Callable[[str], Samples]) -> tuple[str, ...]:
        """The workloads of the next round; none when all has been measured.

        ``samples`` tells what a workload has found so far.
        """
        if self._rounds:
            for name in self._open():
                self._judge(name, samples(name))
        self._rounds += bool(self._open())
        return self._open()

    def to_dict(self) -> dict[str, Any]:
        """How often each workload was run and why it ended, ready for JSON."""
        return {
            name: {"why": why, "interval_percent": _percent(self._width.get(name))}
            for name, why in self._ended.items()
        }

    def _open(self) -> tuple[str, ...]:
        return tuple(name for name in self.trials.workloads if name not in self._ended)

    def _judge(self, name: str, samples: Samples) -> None:
        wanted = self.trials.until_percent
        if wanted is None:
            if self._rounds >= self.trials.count:
                self._ended[name] = f"{self._rounds} trials, as was asked for"
            return
        width = self._width[name] = widest(samples)
        narrow = width <= wanted / 100
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
    """Half the width of the widest interval, as a share of its middle: 0.05 for ±5 %.

    Of two schemes or more the interval of each ratio to the first, of one that of its median.
    """
    first, *others = ([*values] for values in samples)
    if not others:
        return half_width(*median_interval(first))
    return max(half_width(*ratio_interval(first, other)) for other in others)


def half_width(low: float, high: float) -> float:
    """Of an interval of a ratio, or of anything that is never negative: sqrt(high / low) - 1.

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
