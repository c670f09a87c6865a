"""Figures over what was varied: sizes of messages, numbers of flows, what else runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style
from kvmlab.report.lines import Axis, Line, Point, drawn, panel_of, points_of, told_apart
from kvmlab.results import Better, Result, Variant, named_by_host

_LOADS = {
    "latency": "nothing",
    "latency_under_up": "TCP from the VM",
    "latency_under_down": "TCP to the VM",
    "latency_under_both": "TCP both ways",
}
# What a sweep shows of a workload unless something else is asked for.
_SHOWN = {
    "tcp_up": ("tcp_up_mbps", "cpu_us_per_mb"),
    "tcp_up_flows": ("tcp_up_mbps", "cpu_us_per_mb"),
    "tcp_down": ("tcp_down_mbps", "cpu_us_per_mb"),
    "pps": ("udp_delivered_pps", "udp_loss_percent"),
    "pps_flows": ("udp_delivered_pps", "udp_loss_percent"),
    "pps_down": ("udp_down_delivered_pps", "udp_down_loss_percent"),
    "request_response": ("response_p50_us",),
}


def sweep(*results: Result, workload: str = "", metrics: Sequence[str] = ()) -> go.Figure:
    """What :meth:`kvmlab.Trials.sweep` measured: a line for each result, a column for each metric.

    The axis is the size of the messages, logarithmic, or the number of flows where only that was
    varied; where both were there is a line for each number of flows. ``workload`` is needed where
    several were swept. Without ``metrics`` a stream shows its throughput and CPU time a megabyte,
    datagrams how many were delivered a second and how many were lost.

    Raises:
        UsageError: no result, unlike clocks, or nothing was swept.
    """
    notice = style.notice(results)
    swept = _swept(results, workload)
    base = next(iter(swept.values()))[0].base
    by_size = any(one.message_bytes for found in swept.values() for one in found)
    axis = _axis(swept, by_size=by_size)
    panels = [
        panel_of(names.metric(metric), _lines(results, swept, metric, axis, by_size=by_size))
        for metric in metrics or _SHOWN.get(base, ()) or _first_metric(results, swept)
    ]
    what = names.workload(base)
    if by_size:
        what = what.replace("small ", "")  # Only some of them are.
    title = f"{what}, {'by size of message' if by_size else 'by number of flows'}"
    return drawn(title[0].upper() + title[1:], panels, axis, notice)


def under_load(*results: Result, percentile: str = "p50") -> go.Figure:
    """Round trips with nothing else, and while TCP runs: a line for each result.

    ``percentile`` is "p50", "p90", "p99" or "p999", where so many echoes came back.

    Raises:
        UsageError: no result, unlike clocks, or no echo was sent under load.
    """
    notice = style.notice(results)
    run = [name for name in _LOADS if any(name in result.workloads for result in results)]
    if not set(run) - {"latency"}:
        raise UsageError(
            "In these results there are no round trips under load.",
            todo="Measure some: workloads=(`latency`, `latency_under_up`, `latency_under_down`).",
        )
    axis = Axis("what else runs", {float(at): _LOADS[name] for at, name in enumerate(run)})
    found = []
    for index, (result, label) in enumerate(zip(results, named_by_host(results), strict=True)):
        points = []
        for at, name in enumerate(run):
            metric = f"{'' if name == 'latency' else 'loaded_'}rtt_{percentile}_us"
            points += points_of(result, metric, name, float(at), _LOADS[name])
        found.append(Line(label, style.colour(result.scheme, index), 0, tuple(points)))
    heading = names.metric(f"rtt_{percentile}_us")
    panel = panel_of(heading, ("µs", "lower", told_apart(found)))
    return drawn("Round trips under load", [panel], axis, notice)


def _swept(results: Sequence[Result], workload: str) -> dict[str, list[Variant]]:
    """The variants that each result has, by its place; all of one workload."""
    found = {
        str(place): [
            one
            for one in map(Variant.parse, result.workloads)
            if (one.message_bytes or one.flows) and workload in ("", one.base)
        ]
        for place, result in enumerate(results)
    }
    bases = sorted({one.base for variants in found.values() for one in variants})
    if not bases or not all(found.values()):
        raise UsageError(
            f"Nothing{f' of `{workload}`' if workload else ''} was swept in all of these results.",
            todo="Measure with trials=Trials(…).sweep(`tcp_up`), then draw what comes of it.",
        )
    if len(bases) > 1:
        raise UsageError(
            f"Several workloads were swept: {', '.join(bases)}.",
            todo="Name one of them as `workload`.",
        )
    return found


def _first_metric(
    results: Sequence[Result], swept: Mapping[str, Sequence[Variant]]
) -> tuple[str, ...]:
    first = results[0].of(str(swept["0"][0]))[0]
    return (first.metrics[0].name,)


def _axis(swept: Mapping[str, Sequence[Variant]], *, by_size: bool) -> Axis:
    values = sorted(
        {
            (one.message_bytes if by_size else one.flows) or 1
            for found in swept.values()
            for one in found
        }
    )
    title = "bytes that a program hands over at once" if by_size else "flows at once"
    told = names.size if by_size else str
    return Axis(title, {math.log2(value): told(value) for value in values})


def _lines(
    results: Sequence[Result],
    swept: Mapping[str, Sequence[Variant]],
    metric: str,
    axis: Axis,
    *,
    by_size: bool,
) -> tuple[str, Better, list[Line]]:
    """The lines of one metric, with its unit and its sense."""
    found: list[Line] = []
    kinds: set[tuple[str, Better]] = set()
    for index, (result, label) in enumerate(zip(results, named_by_host(results), strict=True)):
        others = dict.fromkeys(one.flows if by_size else None for one in swept[str(index)])
        for other in others:
            points: list[Point] = []
            for one in swept[str(index)]:
                if by_size and one.flows != other:
                    continue
                at = math.log2((one.message_bytes if by_size else one.flows) or 1)
                points += points_of(result, metric, str(one), at, axis.places[at])
                kinds |= {(m.unit, m.better) for m in result.metrics(metric, str(one))}
            flows = "" if other is None else f", {names.flows(other)}"
            tint = style.colour(result.scheme, index)
            ordered = tuple(sorted(points, key=lambda point: point.at))
            found.append(Line(f"{label}{flows}", tint, 0, ordered))
    if len(kinds) != 1:
        raise UsageError(f"The metric `{metric}` needs one unit in all results.")
    unit, better = kinds.pop()
    return unit, better, told_apart(found)
