"""Tables of results, as pandas frames that a notebook shows and a reader can copy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kvmlab.report import names
from kvmlab.results import Comparison, Reach, Result, Summary

if TYPE_CHECKING:
    import pandas as pd


# The costs that a summary shows; the tidy table has all of them, per megabyte as well.
COSTS = tuple(
    f"{name}_per_packet"
    for name in ("vm_exits", "userspace_exits", "context_switches", "cpu_us", "softirq_us")
)


def summary(*results: Result) -> pd.DataFrame:
    """One row a metric, one column a result: the median and its interval, with units.

    Of the costs those a packet, once for each workload they were counted in.
    """
    import pandas as pd

    rows: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        for workload in result.workloads:
            for name in _metrics(result, workload):
                found = result.summary(name, workload)
                about = (names.workload(workload), names.metric(name))
                rows.setdefault(about, {})[result.label] = told(found)
    frame = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    frame.index = pd.MultiIndex.from_tuples(list(rows), names=("workload", "metric"))
    return _whole(frame)


def comparisons(*found: Comparison) -> pd.DataFrame:
    """One row a comparison: both medians, the ratio with its interval, the verdict."""
    import pandas as pd

    frame = pd.DataFrame(
        [
            {
                "metric": names.metric(each.metric, each.workload),
                each.baseline_label: told(each.baseline),
                each.current_label: told(each.current),
                "ratio": names.number(each.ratio),
                "95 % interval": f"{names.number(each.low)} … {names.number(each.high)}",
                "verdict": each.verdict,
            }
            for each in found
        ]
    )
    return _whole(frame.set_index("metric"))


def flagged(*results: Result) -> pd.DataFrame:
    """Every trial that something on its machine, or the other trials, set apart: and what.

    Such trials are part of all medians and intervals. The table is empty where there are none.
    """
    import pandas as pd

    rows = [
        (result.label, names.workload(trial.workload), trial.number, flag)
        for result in results
        for trial in result.trials
        for flag in trial.flags
    ]
    columns = ["scheme", "workload", "trial", "flag"]
    return _whole(pd.DataFrame(rows, columns=columns).set_index("scheme"))


def published() -> pd.DataFrame:
    """Every published figure that was verified, with its source and its ratio to bare metal."""
    from kvmlab.report.overlay import published_table

    return _whole(published_table())


def side_by_side(*results: Result, baseline: Result) -> pd.DataFrame:
    """All schemes in one table: what lies on the way, what a packet costs, what the VM gets."""
    from kvmlab.report import side_by_side as room

    return _whole(room.side_by_side(*results, baseline=baseline))


def at_work(*results: Result, kind: str = "worker_us") -> pd.DataFrame:
    """How many queue pairs, vhost workers or vCPUs did a part of the work worth the name."""
    from kvmlab.report import spread

    return _whole(spread.at_work(*results, kind=kind))


def hops(result: Result) -> pd.DataFrame:
    """The traced path as a table: one row a hop, in order of time.

    Raises:
        UsageError: the result has no traced path.
    """
    import pandas as pd

    from kvmlab.errors import UsageError

    if result.path is None:
        raise UsageError(f"The result of {result.label} has no traced path.")
    start = min(hop.at_us for hop in result.path.hops)
    frame = pd.DataFrame(
        [
            {
                "after": names.duration(hop.at_us - start) if hop.event else "",
                "leg": hop.leg,
                "where": hop.side,
                "device": hop.device,
                "kind": hop.kind,
                "moved by": hop.carrier,
                "seen in": hop.note if hop.inferred else hop.event,
            }
            for hop in result.path.hops
        ]
    )
    return _whole(frame.set_index("after"))


def emitters(*results: Result) -> pd.DataFrame:
    """Who hands the VM's packets to the host: one row a result, from its traced path.

    Raises:
        UsageError: a result has no traced path.
    """
    import pandas as pd

    return _whole(pd.DataFrame([_emitter(result) for result in results]).set_index("scheme"))


def _emitter(result: Result) -> dict[str, object]:
    from kvmlab.errors import UsageError

    if result.path is None:
        raise UsageError(f"The result of {result.label} has no traced path.")
    hops = [hop for hop in result.path.leg("request") if hop.side == "host"]
    told: dict[str, object] = {"scheme": result.label}
    if not hops:
        way = {"emitted by": "the VM's own card", "thread": "–", "into": "the cable"}
        return {**told, **way, "way through the host": "–"}
    devices = " → ".join(dict.fromkeys(hop.device for hop in hops))
    first = hops[0]
    return {
        **told,
        "emitted by": first.carrier,
        "thread": f"{first.comm} ({first.tid})",
        "into": f"{first.device}, a {first.kind}",
        "way through the host": devices,
    }


def reach(*found: Reach) -> pd.DataFrame:
    """Who reached whom: one row for each time it was tried."""
    import pandas as pd

    frame = pd.DataFrame(
        [
            {
                "scheme": each.label,
                "MAC of the VM": f"{each.vm_mac} ({'its own' if each.own_mac else 'changed'})",
                "VM → peer": _answered(each.vm_to_peer),
                "the host's end": each.host_end,
                "VM → host": _answered(each.vm_to_host),
                "host → VM": _answered(each.host_to_vm),
            }
            for each in found
        ]
    )
    return _whole(frame.set_index("scheme"))


def _answered(reached: bool) -> str:
    return "answers" if reached else "no answer"


def rows(items: Iterable[object], *columns: str) -> pd.DataFrame:
    """One row for each of some frozen values, such as the VFs of a port: their fields named."""
    import pandas as pd

    first, *others = (column.replace("_", " ") for column in columns)
    told = [[_plain(getattr(item, column)) for column in columns] for item in items]
    return _whole(pd.DataFrame(told, columns=[first, *others]).set_index(first))


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    from kvmlab.report.whole import WholeFrame

    return WholeFrame(frame)


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "–" if value is None else value


def told(found: Summary) -> str:
    """``689 [623 … 701] Mbit/s``: a median, its interval and its unit."""
    unit, divisor = names.scaled(found.unit, max(abs(value) for value in found.values))
    middle = names.number(found.median / divisor)
    if found.count < 2:
        return f"{middle} {unit}".rstrip()
    low, high = names.number(found.low / divisor), names.number(found.high / divisor)
    return f"{middle} [{low} … {high}] {unit}".rstrip()


def _metrics(result: Result, workload: str) -> list[str]:
    trials = result.of(workload)
    measured = dict.fromkeys(metric.name for trial in trials for metric in trial.metrics)
    counted = {metric.name for trial in trials for metric in trial.cost_metrics}
    return [*measured, *(name for name in COSTS if name in counted)]
