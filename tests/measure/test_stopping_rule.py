"""The stopping rule, on generated figures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.measure import Trials
from kvmlab.measure.stopping_rule import StoppingRule, widest
from kvmlab.results.statistics import ratio_interval

Draw = Callable[[], float]


def rounds(
    trials: Trials, clock: Clock, *schemes: Draw, seconds_a_round: float = 1.0
) -> tuple[list[list[float]], StoppingRule]:
    """Measure until it ends; return the samples of each scheme in the only workload."""
    passed = 0.0
    stopping = StoppingRule(trials, clock, now_sec=lambda: passed)
    samples: list[list[float]] = [[] for _ in schemes]
    while stopping.next_workloads(lambda name: samples):
        passed += seconds_a_round
        for draw, values in zip(schemes, samples, strict=True):
            values.append(draw())
    return samples, stopping


def noise(share: float, seed: int, level: float = 100.0) -> Draw:
    generator = random.Random(seed)
    return lambda: level * generator.lognormvariate(0, share)


def of(values: Sequence[float], then: float) -> Draw:
    times = iter(values)
    return lambda: next(times, then)


def until(percent: float | None, *, count: int = 2, budget_sec: float = 600) -> Trials:
    return Trials(count=count, until_percent=percent, budget_sec=budget_sec, workloads=("tcp_up",))


@pytest.mark.parametrize("clock", Clock)
def test_without_a_wish_the_count_is_fixed(clock: Clock) -> None:
    samples, stopping = rounds(until(None, count=4), clock, noise(0.5, 1), noise(0.5, 2))
    assert [len(values) for values in samples] == [4, 4]
    assert stopping.to_dict()["tcp_up"]["why"] == "4 trials, as was asked for"


def extended(count: int) -> Trials:
    return Trials(count=count, extend_percent=10, workloads=("tcp_up",))


def test_three_trials_that_agree_are_not_extended() -> None:
    samples, stopping = rounds(extended(3), Clock.VIRTUAL, noise(0.01, 1), noise(0.01, 2))
    assert [len(values) for values in samples] == [3, 3]
    assert stopping.to_dict()["tcp_up"]["why"] == "narrow enough after 3 trials"


def test_one_trial_that_stands_out_among_three_is_followed_by_others() -> None:
    one_is_slow = of([100, 80, 101, 100, 99, 101], then=100)
    samples, _stopping = rounds(extended(3), Clock.VIRTUAL, noise(0.005, 1), one_is_slow)
    assert 3 < len(samples[0]) <= 6
    assert widest(samples) < widest([values[:3] for values in samples]) / 2


def test_trials_that_vary_are_extended_to_twice_as_many_and_no_more() -> None:
    samples, stopping = rounds(extended(4), Clock.VIRTUAL, noise(0.5, 1), noise(0.5, 2))
    assert [len(values) for values in samples] == [8, 8]
    ended = stopping.to_dict()["tcp_up"]
    assert ended["why"] == "8 trials, twice 4, and not narrow enough"
    assert ended["interval_percent"] > 10


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_trials_are_as_many_as_asked_for(count: int) -> None:
    samples, stopping = rounds(extended(count), Clock.VIRTUAL, noise(0.5, 1), noise(0.5, 2))
    assert len(samples[0]) == count
    assert stopping.to_dict()["tcp_up"]["why"] == f"{count} trials, as was asked for"


def test_trials_that_hardly_vary_end_early_under_the_virtual_clock() -> None:
    samples, stopping = rounds(until(5), Clock.VIRTUAL, noise(0.004, 1), noise(0.004, 2))
    assert len(samples[0]) == 3
    ended = stopping.to_dict()["tcp_up"]
    assert ended["why"] == "narrow enough after 3 trials"
    assert 0 < ended["interval_percent"] < 5


def test_trials_that_vary_go_on_until_the_interval_is_narrow() -> None:
    samples, _ = rounds(until(10), Clock.VIRTUAL, noise(0.1, 1), noise(0.1, 2))
    assert 6 < len(samples[0]) < 60
    assert widest(samples) <= 0.10
    assert widest([values[:-1] for values in samples]) > 0.10


def test_equal_trials_at_the_beginning_do_not_deceive_under_wall_time() -> None:
    wild = [60.0, 140.0, 75.0, 130.0, 90.0, 70.0, 120.0]
    equal = of([100.0, 100.0, 100.0, 100.0, *wild], then=100.0)
    samples, _ = rounds(until(5), Clock.WALL, equal, noise(0.001, 2))
    assert len(samples[0]) > 4 + len(wild)


def test_a_spent_budget_ends_it_and_says_so() -> None:
    samples, stopping = rounds(
        until(1, budget_sec=60), Clock.WALL, noise(0.3, 1), noise(0.3, 2), seconds_a_round=10
    )
    assert len(samples[0]) == 6
    ended = stopping.to_dict()["tcp_up"]
    assert ended["why"].startswith("the budget of 60 s was spent after 6 trials")
    assert ended["interval_percent"] > 1


def test_the_least_number_of_trials_is_run_whatever_they_cost() -> None:
    samples, _ = rounds(
        until(1, count=7, budget_sec=1), Clock.WALL, noise(0.3, 1), seconds_a_round=10
    )
    assert len(samples[0]) == 7


def test_a_workload_that_is_narrow_ends_while_another_goes_on() -> None:
    trials = Trials(count=3, until_percent=5, budget_sec=50, workloads=("tcp_up", "latency"))
    passed = 0.0
    stopping = StoppingRule(trials, Clock.VIRTUAL, now_sec=lambda: passed)
    steady, wild = noise(0.002, 1), noise(0.6, 2)
    samples: dict[str, list[list[float]]] = {"tcp_up": [[], []], "latency": [[], []]}
    open_workloads = []
    while names := stopping.next_workloads(lambda name: samples[name]):
        open_workloads.append(names)
        passed += 10
        for name in names:
            for values in samples[name]:
                values.append(steady() if name == "tcp_up" else wild())
    assert open_workloads[:4] == [("tcp_up", "latency")] * 3 + [("latency",)]
    assert len(open_workloads) == 5


def test_stopping_by_width_finds_no_difference_in_schemes_that_are_alike() -> None:
    false = 0
    repeats = 60
    for seed in range(repeats):
        samples, _ = rounds(until(12), Clock.WALL, noise(0.06, 2 * seed), noise(0.06, 2 * seed + 1))
        low, high = ratio_interval(samples[0], samples[1])
        false += low > 1 or high < 1
    assert false / repeats <= 0.05


def test_a_lone_scheme_is_judged_by_its_median() -> None:
    samples, _ = rounds(until(5), Clock.VIRTUAL, noise(0.01, 3))
    assert 3 <= len(samples[0]) < 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"until_percent": 0},
        {"until_percent": 101},
        {"until_percent": "5"},
        {"until_percent": float("nan")},
        {"budget_sec": 0},
        {"budget_sec": True},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        Trials(**wrong)  # type: ignore[arg-type]
