"""Limits of a NIC with several queues: its busiest worker, its busiest vCPU, or the host."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import names
from kvmlab.report.queue_figure import not_counted, shares_of
from kvmlab.results import Result, Trial, require_one_clock

if TYPE_CHECKING:
    import pandas as pd

_EMPTY = "–"


def queue_limits_table(*results: Result, workload: str) -> pd.DataFrame:
    """Return one row a result: speed, busiest worker and vCPU, idle CPUs, exits, and a bound.

    The bound is the traffic at which the busiest worker would fill its CPU, as a multiple of the
    first row's: the first row's share of the work done by the busiest worker over this row's. Such
    shares hold at any speed of the host. Cells are medians of trials.

    Raises:
        UsageError: there is no result, clocks differ, or no worker was counted.
    """
    import pandas as pd

    if not results:
        raise UsageError("There is no result to tabulate.", todo="Compare channels first.")
    require_one_clock(results)
    shares = [_median(result, workload, _busiest_share) for result in results]
    if any(share is None for share in shares):
        raise not_counted()
    rows = {}
    for result, share in zip(results, shares, strict=True):
        metric = result.metric_names(workload, ())[0]
        speed = result.summary(metric, workload)
        exits = result.summary("vm_exits_per_packet", workload).median
        idle = _median(result, workload, _idle_percent)
        rows[result.label] = {
            names.workload(workload): f"{names.number(speed.median)} {_(speed.unit)}",
            "busiest worker": _of_a_cpu(_median(result, workload, _load("worker_us"))),
            "busiest vCPU": _of_a_cpu(_median(result, workload, _load("vcpu_us"))),
            "host's CPUs idle": _EMPTY if idle is None else f"{idle:.0f} %",
            "VM exits a packet": names.number(exits),
            "bound by the busiest worker": _times(shares[0], share),
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "channels"
    return frame


def _busiest_share(trial: Trial) -> float | None:
    used_us = [share.value for share in shares_of(trial, "worker_us")]
    return max(used_us) / sum(used_us) if any(used_us) else None


def _load(kind: str) -> Callable[[Trial], float | None]:
    """Return a function of a trial: the busiest one's CPU time, in percent of the window."""

    def percent(trial: Trial) -> float | None:
        shares = shares_of(trial, kind)
        if not shares:
            return None
        return max(share.value for share in shares) / (trial.window.seconds * 1e4)

    return percent


def _idle_percent(trial: Trial) -> float | None:
    return next((each.value for each in trial.conditions if each.name == "idle_percent"), None)


def _median(result: Result, workload: str, value: Callable[[Trial], float | None]) -> float | None:
    values = [number for trial in result.of(workload) if (number := value(trial)) is not None]
    return statistics.median(values) if values else None


def _of_a_cpu(percent: float | None) -> str:
    return _EMPTY if percent is None else _("{percent} % of a CPU").format(percent=f"{percent:.0f}")


def _times(first: float | None, share: float | None) -> str:
    if not first or not share:
        return _EMPTY
    return _("{ratio} times").format(ratio=names.number(first / share))
