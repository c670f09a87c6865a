"""Medians, intervals and verdicts, against cases whose answer is known."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.results import compare, require_one_clock, summarise
from kvmlab.results.statistics import median_interval, ratio_interval
from tests.results.builders import result

positive = st.floats(min_value=0.01, max_value=1e6)


def test_one_trial_has_no_interval_and_no_claim() -> None:
    one = summarise([5.0], name="x_us", unit="µs")
    assert (one.median, one.low, one.high) == (5, -math.inf, math.inf)
    assert str(one) == "5 µs (1 trial)"
    assert ratio_interval([5.0], [500.0]) == (0, math.inf)


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(UsageError):
        summarise([], name="x_us", unit="µs")


def test_few_trials_get_students_interval() -> None:
    # t(0.975, 2) = 4.303; logarithms of 1/e, 1, e: mean 0, s = 1, half = 4.303 / sqrt(3) = 2.484
    low, high = median_interval([1 / math.e, 1.0, math.e])
    assert (math.log(low), math.log(high)) == pytest.approx((-2.484, 2.484), abs=0.001)


def test_few_trials_with_a_negative_value_get_it_in_their_own_scale() -> None:
    # mean 0, s = 1, half = 2.484 again
    assert median_interval([-1.0, 0.0, 1.0]) == pytest.approx((-2.484, 2.484), abs=0.001)


def test_welch_of_two_small_samples() -> None:
    # Logarithms -1, 0, 1 and 9, 10, 11: difference 10, s² = 1 each, 4 degrees of freedom,
    # t = 2.776, half = 2.776 * sqrt(2/3) = 2.267
    below = [math.exp(x) for x in (-1, 0, 1)]
    above = [math.exp(x) for x in (9, 10, 11)]
    low, high = ratio_interval(below, above)
    assert (math.log(low), math.log(high)) == pytest.approx((10 - 2.267, 10 + 2.267), abs=0.001)


def test_many_trials_get_the_bootstrap() -> None:
    generator = random.Random(7)
    sample = [generator.gauss(100, 10) for _ in range(40)]
    theirs = stats.bootstrap(
        (np.array(sample),), np.median, method="percentile", rng=1
    ).confidence_interval
    low, high = median_interval(sample)
    assert low == pytest.approx(float(theirs.low), abs=1)
    assert high == pytest.approx(float(theirs.high), abs=1)


@settings(max_examples=30)
@given(st.lists(positive, min_size=2, max_size=12))
def test_the_median_lies_in_its_interval(values: list[float]) -> None:
    summary = summarise(values, name="x_us", unit="µs")
    assert summary.low <= summary.median * (1 + 1e-9)
    assert summary.high >= summary.median * (1 - 1e-9)


@settings(max_examples=30)
@given(st.lists(positive, min_size=3, max_size=9))
def test_a_sample_never_differs_from_itself(values: list[float]) -> None:
    low, high = ratio_interval(values, values)
    assert low <= 1 <= high


def test_the_same_trials_give_the_same_interval() -> None:
    sample = [10.0, 12.0, 11.0, 19.0]
    assert median_interval(sample) == median_interval(sample)


def test_few_differences_are_claimed_between_like_schemes() -> None:
    generator = random.Random(11)
    rounds = 150
    claims = 0
    for _ in range(rounds):
        first, second = ([generator.lognormvariate(5, 0.4) for _ in range(3)] for _ in range(2))
        low, high = ratio_interval(first, second)
        claims += low > 1 or high < 1
    assert claims / rounds <= 0.05


@pytest.mark.parametrize("count", [3, 5, 12])
def test_the_interval_holds_the_true_ratio_as_often_as_it_says(count: int) -> None:
    # 95 of 100; with 150 pairs, 90 is more than two standard deviations away from that.
    generator = random.Random(count)
    rounds = 150
    hits = 0
    for _ in range(rounds):
        first = [generator.lognormvariate(5, 0.2) for _ in range(count)]
        second = [1.3 * generator.lognormvariate(5, 0.2) for _ in range(count)]
        low, high = ratio_interval(first, second)
        hits += low <= 1.3 <= high
    assert hits / rounds > 0.9


def test_figures_of_few_digits_spread_by_what_rounding_hides() -> None:
    # Round trips of 113 or 114 µs, by chance: of two trials each, one comparison in eight is such.
    low, high = ratio_interval([113.0, 113.0], [114.0, 114.0])
    assert low <= 1 <= high
    # A quarter of it is no matter of rounding.
    low, high = ratio_interval([438.0, 438.0], [113.0, 113.0])
    assert 0.25 < low < 113 / 438 < high < 0.27
    # Nothing was rounded here, so that nothing is known of how such a figure varies.
    low, high = ratio_interval([0.0412345, 0.0412345], [0.3012345, 0.3012345])
    assert low <= 1 <= high


def test_many_trials_do_not_take_away_what_rounding_hides() -> None:
    # 113.3 µs and 1.3 times as much, each in whole microseconds.
    low, high = ratio_interval([113.0] * 12, [147.0] * 12)
    assert 1.28 < low < 1.3 < 147 / 113 < high < 1.32


def test_a_clear_difference_is_claimed_from_three_trials() -> None:
    comparison = compare(
        result(values=[100, 104, 97]), result("b", values=[310, 290, 305]), "tcp_up_mbps"
    )
    assert comparison.verdict == "better"
    assert comparison.ratio == pytest.approx(3.05)
    assert 2.5 < comparison.low < comparison.ratio < comparison.high < 3.6


def test_the_verdict_respects_the_direction() -> None:
    few, many = result(exits=[10, 11, 12]), result("b", exits=[300, 310, 305])
    assert compare(few, many, "vm_exits_per_packet").verdict == "worse"
    assert compare(many, few, "vm_exits_per_packet").verdict == "better"


def test_no_difference_is_claimed_of_noise() -> None:
    comparison = compare(
        result(values=[50, 100, 200]), result("b", values=[80, 150, 100]), "tcp_up_mbps"
    )
    assert comparison.verdict == "no difference shown"
    assert "no difference shown" in str(comparison)


def test_a_counter_of_zero() -> None:
    assert ratio_interval([5.0, 60.0, 500.0], [0.0, 0.0, 0.0]) == (0, 0)
    assert ratio_interval([0.0, 0.0, 0.0], [5.0, 60.0, 500.0]) == (math.inf, math.inf)
    assert ratio_interval([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]) == (1, 1)
    low, high = ratio_interval([0.0, 0.0, 0.0], [0.0, 0.0, 4.0])
    assert low <= 1 <= high


def test_different_clocks_never_compare() -> None:
    wall, virtual = result(), result(clock=Clock.VIRTUAL)
    with pytest.raises(UsageError, match="different clocks"):
        compare(wall, virtual, "tcp_up_mbps")
    assert require_one_clock([virtual, virtual]) is Clock.VIRTUAL
    with pytest.raises(UsageError):
        require_one_clock([])


def test_a_comparison_of_one_part_leaves_the_others_out() -> None:
    few, many = result(exits=[10, 11, 12]), result("b", exits=[300, 310, 305])
    whole = compare(many, few, "vm_exits_per_packet")
    part = compare(many, few, "vm_exits_per_packet", parts=("npf", "ept_misconfig"))
    assert (whole.ratio, part.ratio) == pytest.approx((21 / 315, 11 / 305))
    assert "(npf)" in str(part)
    with pytest.raises(UsageError, match="part `io`"):
        compare(many, few, "vm_exits_per_packet", parts=("io",))


LIKE = (
    [100.0123, 101.1, 99.2],
    [104.0123, 103.1, 105.2],
    [51.0123, 50.1, 49.2],
    [200.0123, 196.1, 204.2],
)


def test_like_spreads_are_pooled() -> None:
    # Four samples of three: 8 degrees of freedom, t = 2.306.
    logs = [[math.log(value) for value in sample] for sample in LIKE]
    spread = math.sqrt(sum(statistics.variance(sample) for sample in logs) / 4)
    centre = statistics.mean(logs[1]) - statistics.mean(logs[0])
    half = 2.306 * spread * math.sqrt(2 / 3)
    pooled = ratio_interval(*LIKE[:2], LIKE[2:])
    ends = (centre - half, centre + half)
    assert [math.log(end) for end in pooled] == pytest.approx(ends, abs=0.0001)
    # The other way round, the pair varies more than the other two do: it gains by pooling.
    alone, pooled = ratio_interval(*LIKE[2:]), ratio_interval(*LIKE[2:], LIKE[:2])
    assert alone[0] < pooled[0] < pooled[1] < alone[1]


@pytest.mark.parametrize(
    "other",
    [[50.0, 90.0, 330.0], [50.0, 51.0], [0.0, 50.0, 51.0], [50.0, 50.0, 50.0], []],
    ids=["wide", "two trials", "zero", "no spread", "empty"],
)
def test_a_sample_of_another_spread_or_of_too_few_trials_is_not_pooled(other: list[float]) -> None:
    first, second, *_ = LIKE
    assert ratio_interval(first, second, [other]) == ratio_interval(first, second)


def test_two_samples_of_unlike_spread_get_welchs_interval() -> None:
    first, second = [100.0123, 100.1, 99.9], [150.0123, 180.0, 120.0]
    welch = stats.ttest_ind(np.log(second), np.log(first), equal_var=False)
    ends = [math.exp(end) for end in welch.confidence_interval(0.95)]
    assert list(ratio_interval(first, second)) == pytest.approx(ends)


def test_the_results_of_one_measurement_share_their_spread() -> None:
    results = [result(str(number), values=values) for number, values in enumerate(LIKE)]
    first, second, *_ = results
    shared = compare(first, second, "tcp_up_mbps", among=results)
    assert (shared.low, shared.high) == ratio_interval(*LIKE[:2], LIKE[2:])


def test_pooling_claims_no_more_differences_than_one_in_twenty() -> None:
    generator = random.Random(13)
    rounds, claims = 200, 0
    for _ in range(rounds):
        samples = [[generator.lognormvariate(5, 0.03) for _ in range(3)] for _ in range(4)]
        low, high = ratio_interval(samples[0], samples[1], samples[2:])
        claims += low > 1 or high < 1
    assert claims / rounds <= 0.05
