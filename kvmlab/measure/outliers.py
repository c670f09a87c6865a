"""Trials that stand out from the others of their scheme: flagged, and used all the same."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kvmlab.results import Trial

_FEW = 3  # with fewer, nobody can say which of the trials is the odd one
_FEW_FOR_OUTLIERS = 5
_MADS = 5.0
_LEAST_SHARE = 0.05
_WAITED_TIMES, _WAITED_MORE = 1.5, 20.0  # times, and percent of one CPU
_BUSY_MORE = 15.0  # percent of one CPU
_SLOWER = 0.9


def flagged(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return the trials with flags on those that differ from the others of their workload.

    None is left out for it: medians and intervals are of all trials.
    """
    marked = []
    for trial in trials:
        others = [one for one in trials if one.workload == trial.workload and one is not trial]
        flags = tuple(_flags(trial, others)) if len(others) + 1 >= _FEW else ()
        marked.append(replace(trial, flags=(*trial.flags, *flags)) if flags else trial)
    return tuple(marked)


def _flags(trial: Trial, others: Sequence[Trial]) -> Iterator[str]:
    waited, usual = _waited(trial), [_waited(one) for one in others]
    middle = statistics.median(usual)
    if waited > _WAITED_TIMES * middle and waited > middle + _WAITED_MORE:
        yield (
            f"the VM's threads waited for a CPU {waited:.0f} % of the time, {middle:.0f} % in the "
            "other trials"
        )
    busy, others_busy = _condition(trial, "others_cpu_percent"), _each(others, "others_cpu_percent")
    if busy is not None and others_busy and busy > statistics.median(others_busy) + _BUSY_MORE:
        yield (
            f"other programs of the host took {busy:.0f} % of a CPU, "
            f"{statistics.median(others_busy):.0f} % in the other trials"
        )
    rate, rates = _condition(trial, "cpu_frequency_mhz"), _each(others, "cpu_frequency_mhz")
    if rate is not None and rates and rate < _SLOWER * statistics.median(rates):
        yield f"CPUs at {rate:.0f} MHz, {statistics.median(rates):.0f} MHz in the other trials"
    yield from _outliers(trial, others)


def _outliers(trial: Trial, others: Sequence[Trial]) -> Iterator[str]:
    """Flag the workload's own figure if it is many times the usual distance from the others."""
    if len(others) + 1 < _FEW_FOR_OUTLIERS or not trial.metrics:
        return
    metric = trial.metrics[0]
    values = [m.value for one in others for m in one.metrics if m.name == metric.name]
    middle = statistics.median(values)
    usual = statistics.median(abs(value - middle) for value in values)
    distance = abs(metric.value - middle)
    if distance > max(_MADS * 1.4826 * usual, _LEAST_SHARE * abs(middle)):
        yield f"outlier: {metric.value:.4g} {metric.unit}, the others about {middle:.4g}"


def _waited(trial: Trial) -> float:
    """Return the time that the VM's threads waited for a CPU, in percent of the window."""
    return 100 * (trial.cost("cpu_wait_us") or 0.0) / (trial.window.seconds * 1e6)


def _each(trials: Sequence[Trial], name: str) -> list[float]:
    values = (_condition(trial, name) for trial in trials)
    return [value for value in values if value is not None]


def _condition(trial: Trial, name: str) -> float | None:
    return next((one.value for one in trial.conditions if one.name == name), None)
