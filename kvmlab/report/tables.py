"""Tables of results, as pandas frames that a notebook shows and a reader can copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import names
from kvmlab.report.atlas_table import atlas as atlas
from kvmlab.report.atlas_table import atlases as atlases
from kvmlab.report.atlas_table import folds as folds
from kvmlab.report.path_stations import stations
from kvmlab.results import PUBLISHED, Comparison, Reach, Result, Summary
from kvmlab.results import compare as compare_results

if TYPE_CHECKING:
    import pandas as pd

    from kvmlab.report.dataframe import WholeFrame
    from kvmlab.results.migration import MigrationResult
    from kvmlab.results.migration_figures import MigrationFigures
    from kvmlab.results.timeline import Timeline

# Costs in a summary; the tidy table has all of them, per megabyte as well.
COSTS = tuple(
    f"{name}_per_packet"
    for name in ("vm_exits", "userspace_exits", "context_switches", "cpu_us", "softirq_us")
)
_EMPTY = "–"
_OWN, _CHANGED = "its own", "changed"
_OWN, _CHANGED = "its own", "changed"
_GUEST = ("guest", "guest (sampled)")
# Less than this share of the work: a worker that something else woke.
_AT_WORK = 0.01


def summary(*results: Result) -> pd.DataFrame:
    """Return one row a metric, one column a result: median and interval, with units.

    Of the costs those per packet, once for each workload they were counted in.

    Raises:
        UsageError: there is no result.
    """
    import pandas as pd

    _require(results)
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        for workload in result.workloads:
            for name in result.metric_names(workload, COSTS):
                row = (names.workload(workload), names.metric(name))
                cells.setdefault(row, {})[result.label] = median(result.summary(name, workload))
    frame = pd.DataFrame.from_dict(cells, orient="index").fillna("")
    frame.index = pd.MultiIndex.from_tuples(list(cells), names=("workload", "metric"))
    return _whole(frame)


def _require(items: Sequence[object]) -> None:
    if not items:
        raise UsageError("There is no result to put into a table.", todo="Measure one first.")


def comparisons(*items: Comparison) -> pd.DataFrame:
    """Return one row a comparison: both medians, the ratio with its interval, the verdict.

    Raises:
        UsageError: there is no comparison.
    """
    import pandas as pd

    _require(items)
    frame = pd.DataFrame(
        [
            {
                "metric": names.metric(each.metric, each.workload, each.part),
                each.baseline_label: median(each.baseline),
                each.current_label: median(each.current),
                "ratio": names.number(each.ratio),
                "95 % interval": names.interval(each.ratio, each.low, each.high),
                "verdict": each.verdict,
            }
            for each in items
        ]
    )
    return _whole(frame.set_index("metric"))


def flagged(*results: Result) -> pd.DataFrame:
    """Return one row for each flag of a trial; none where nothing was unusual.

    Flagged trials are part of all medians and intervals.
    """
    import pandas as pd

    cells = [
        (result.label, names.workload(trial.workload), trial.number, flag)
        for result in results
        for trial in result.trials
        for flag in trial.flags
    ]
    columns = ["scheme", "workload", "trial", "flag"]
    return _whole(pd.DataFrame(cells, columns=columns).set_index("scheme"))


def published() -> pd.DataFrame:
    """Return every verified published figure, with its source and its ratio to bare metal."""
    import pandas as pd

    from kvmlab.report.published_overlay import ratio_text

    frame = pd.DataFrame(
        [
            {
                "what": figure.label,
                "metric": figure.kind,
                "value": figure.value,
                "ratio to bare metal": ratio_text(figure),
                "source": figure.source,
                "year": "" if figure.year is None else str(figure.year),
                "quality": figure.quality,
            }
            for figure in PUBLISHED
        ]
    )
    return _whole(frame.set_index("what"))


def side_by_side(*results: Result, baseline: Result) -> pd.DataFrame:
    """Return one row a scheme, ``baseline`` (the host's own port, no VM) last: medians.

    The path lists the stations of the host, with QEMU where a packet is in user space. Costs are
    those of one packet of TCP from the VM; the host's CPU time is that of QEMU, vhost worker and
    vCPU threads outside the guest. What was not measured is a dash.

    Raises:
        UsageError: there is no result.
    """
    import pandas as pd

    _require(results)
    frame = pd.DataFrame([_side_by_side(result, baseline) for result in (*results, baseline)])
    return _whole(frame.set_index("scheme"))


def _side_by_side(result: Result, baseline: Result) -> dict[str, str]:
    host_cpu = _cost(result, "cpu_us", without=_GUEST)
    return {
        "scheme": result.label,
        "on the path": _path(result),
        "VM exits": _cost(result, "vm_exits"),
        "exits to QEMU": _cost(result, "userspace_exits"),
        "context switches": _cost(result, "context_switches"),
        "host's CPU": host_cpu if host_cpu == _EMPTY else f"{host_cpu} µs",
        "round trip": _metric(result, "rtt_p50_us"),
        "TCP from the VM": _metric(result, "tcp_up_mbps"),
        "of bare metal": _ratio(result, baseline),
    }


def _path(result: Result) -> str:
    """Return the host's stations on the path of a request."""
    if result.path is None:
        return _EMPTY
    on_host = [station for station in stations(result.path) if station.side == "host"]
    if not on_host:
        return "nothing of the host"
    listing = _(", ").join(
        _(station.name if station.mover else station.kind) for station in on_host
    )
    return f"{len(on_host)}: {listing}"


def _cost(result: Result, name: str, without: Sequence[str] = ()) -> str:
    """Return a cost per packet of TCP from the VM, all parts but those of ``without`` together."""
    if "tcp_up" not in result.workloads:
        return _EMPTY
    parts = [each for each in result.costs("tcp_up", name=name) if each.part not in without]
    return names.number(sum(each.summary.median for each in parts)) if parts else _EMPTY


def _metric(result: Result, name: str) -> str:
    if not result.has(name):
        return _EMPTY
    figure = result.summary(name)
    unit, divisor = names.scaled(figure.unit, max(abs(value) for value in figure.values))
    return f"{names.number(figure.median / divisor)} {unit}"


def _ratio(result: Result, baseline: Result) -> str:
    if result is baseline or not (result.has("tcp_up_mbps") and baseline.has("tcp_up_mbps")):
        return _EMPTY
    return names.number(compare_results(baseline, result, "tcp_up_mbps").ratio)


def at_work(*results: Result, kind: str = "worker_us") -> pd.DataFrame:
    """Return how many queue pairs, vhost workers or vCPUs did at least 1 % of the work.

    One row a result, one column a workload; "1 to 2" where trials differ. ``kind`` is one of the
    names of :class:`kvmlab.results.Share`.

    Raises:
        UsageError: nothing was counted for each queue.
    """
    import pandas as pd

    from kvmlab.report.queue_figure import not_counted, shares_of

    cells: dict[str, dict[str, str]] = {}
    for result in results:
        for workload in result.workloads:
            counts = []
            for trial in result.of(workload):
                values = [share.value for share in shares_of(trial, kind)]
                counts.append(sum(value > _AT_WORK * sum(values) for value in values))
            least, most = min(counts), max(counts)
            count = (
                str(most) if least == most else _("{low} to {high}").format(low=least, high=most)
            )
            cells.setdefault(result.label, {})[names.workload(workload)] = count if most else _EMPTY
    if not any(value != _EMPTY for row in cells.values() for value in row.values()):
        raise not_counted()
    frame = pd.DataFrame.from_dict(cells, orient="index")
    frame.index.name = _("{worker}s at work").format(worker=_(names.ONE_OF[kind]))
    return _whole(frame)


def queue_limits(*results: Result, workload: str = "tcp_up_flows") -> pd.DataFrame:
    """Return what limits the traffic with each number of channels: one row a result.

    Raises:
        UsageError: there is no result, clocks differ, or no worker was counted.
    """
    from kvmlab.report.queue_table import queue_limits_table

    return _whole(queue_limits_table(*results, workload=workload))


def hops(result: Result) -> pd.DataFrame:
    """Return the traced path: one row a hop, in order of time.

    Raises:
        UsageError: the result has no traced path.
    """
    import pandas as pd

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
    """Return who hands the VM's packets to the host: one row a result, from its traced path.

    Raises:
        UsageError: there is no result, or one has no traced path.
    """
    import pandas as pd

    _require(results)
    return _whole(pd.DataFrame([_emitter(result) for result in results]).set_index("scheme"))


def _emitter(result: Result) -> dict[str, str]:
    if result.path is None:
        raise UsageError(f"The result of {result.label} has no traced path.")
    on_host = [hop for hop in result.path.leg("request") if hop.side == "host"]
    if not on_host:
        return {
            "scheme": result.label,
            "emitted by": "the VM's own NIC",
            "thread": _EMPTY,
            "into": "the cable",
            "path through the host": _EMPTY,
        }
    first = on_host[0]
    return {
        "scheme": result.label,
        "emitted by": first.carrier,
        "thread": f"{first.comm} ({first.tid})",
        "into": _("{device}, a {kind}").format(device=first.device, kind=_(first.kind)),
        "path through the host": " → ".join(dict.fromkeys(hop.device for hop in on_host)),
    }


def reach(*items: Reach) -> pd.DataFrame:
    """Return who reached whom: one row for each attempt.

    Raises:
        UsageError: there is no attempt.
    """
    import pandas as pd

    _require(items)
    frame = pd.DataFrame(
        [
            {
                "scheme": each.label,
                "MAC of the VM": f"{each.vm_mac} ({_(_OWN if each.own_mac else _CHANGED)})",
                "VM → peer": _answered(each.vm_to_peer),
                "the host's end": each.host_end,
                "VM → host": _answered(each.vm_to_host),
                "host → VM": _answered(each.host_to_vm),
            }
            for each in items
        ]
    )
    return _whole(frame.set_index("scheme"))


def _answered(reached: bool) -> str:
    return "answers" if reached else "no answer"


def timeline(*timelines: Timeline) -> pd.DataFrame:
    """Return each part's share of one echo's round trip: a row per lane, a column per timeline.

    Raises:
        UsageError: there is no timeline.
    """
    from kvmlab.report.timeline_table import timeline_table

    return _whole(timeline_table(*timelines))


def migrations(*results: MigrationResult) -> pd.DataFrame:
    """Return one column for each migration: downtime, hole, losses, round trips, bytes, CPU time.

    Raises:
        UsageError: there is no migration.
    """
    from kvmlab.report.migration_figure import migration_table

    return _whole(migration_table(*results))


def migration_answers(*figures: MigrationFigures) -> pd.DataFrame:
    """Return one row for each measured answer to the migration question, with its source.

    Raises:
        UsageError: there is none.
    """
    from kvmlab.report.migration_figure import answers_table

    return _whole(answers_table(*figures))


def rows(items: Iterable[object], *columns: str) -> pd.DataFrame:
    """Return one row for each of some frozen values, such as the VFs of a port: their fields."""
    import pandas as pd

    first, *others = (column.replace("_", " ") for column in columns)
    cells = [[_plain(getattr(item, column)) for column in columns] for item in items]
    return _whole(pd.DataFrame(cells, columns=[first, *others]).set_index(first))


def _plain(value: object) -> object:
    """Return a value for a cell, never a raw repr."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list | set | frozenset):
        return ", ".join(str(_plain(item)) for item in value) or _EMPTY
    if is_dataclass(value):
        if type(value).__str__ is not object.__str__:
            return str(value)
        named = ((field.name, getattr(value, field.name)) for field in fields(value))
        return ", ".join(f"{name.replace('_', ' ')} {_plain(item)}" for name, item in named)
    return _EMPTY if value is None else value


def median(figure: Summary) -> str:
    """Return a median with its interval and unit: ``689 [623 … 701] Mbit/s``.

    An interval that bounds nothing, and that of a single trial, is left out.
    """
    unit, divisor = names.scaled(figure.unit, max(abs(value) for value in figure.values))
    middle = names.number(figure.median / divisor)
    if figure.count < 2 or not names.bounded(figure.median, figure.low, figure.high):
        return f"{middle} {unit}".rstrip()
    low, high = (names.number(end / divisor) for end in (figure.low, figure.high))
    return f"{middle} [{low} … {high}] {unit}".rstrip()


def _whole(frame: pd.DataFrame) -> WholeFrame:
    from kvmlab.report.dataframe import WholeFrame

    return WholeFrame(frame)
