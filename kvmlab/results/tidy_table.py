"""Tidy table of results, for any other tool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kvmlab.results.model import Result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "host", "clock", "emulated", "scheme", "label", "workload", "trial", "block", "kind", "metric",
    "part", "value", "unit", "better", "flags",
)  # fmt: skip


def tidy(results: Iterable[Result]) -> pd.DataFrame:
    """Return a frame with one row per result, trial and metric; the columns are :data:`COLUMNS`.

    ``kind`` is "metric" (measured), "cost" (per packet or per MB, all parts together), "part" (one
    part of a cost over the whole window: an exit reason, a thread), "condition" (state of the
    machine that ``part`` names) or "share" (work of the queue pair, vhost worker or vCPU whose
    number is ``part``). Results of different clocks may share a table: each row has its clock.
    """
    import pandas as pd

    return pd.DataFrame(list(_rows(results)), columns=list(COLUMNS))


def _rows(results: Iterable[Result]) -> Iterator[tuple[Any, ...]]:
    for result in results:
        origin = (result.host, result.clock.value, result.emulated or "")
        scheme = (result.scheme, result.label)
        for trial in result.trials:
            place = (*origin, *scheme, trial.workload, trial.number, trial.block)
            flags = "; ".join(trial.flags)
            for kind, metrics in (("metric", trial.metrics), ("cost", trial.cost_metrics)):
                for m in metrics:
                    yield (*place, kind, m.name, "", m.value, m.unit, m.better, flags)
            for c in trial.costs:
                yield (*place, "part", c.name, c.part, c.value, c.unit, "lower", flags)
            for state in trial.conditions:
                row = ("condition", state.name, state.where, state.value, state.unit)
                yield (*place, *row, "lower", flags)
            for s in trial.shares:
                yield (*place, "share", s.name, str(s.number), s.value, s.unit, "", flags)
