"""Sweep figures: over message sizes, numbers of flows, and background load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style
from kvmlab.report.line_figures import (
    Axis,
    Line,
    Point,
    distinguished,
    line_figure,
    panel_of,
    points_of,
)
from kvmlab.results import Better, Result, Variant

_LOADS = {
    "latency": "nothing",
    "latency_under_up": "TCP from the VM",
    "latency_under_down": "TCP to the VM",
    "latency_under_both": "TCP both ways",
}
# Metrics of a sweep by default.
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
    """Draw what :meth:`kvmlab.Trials.sweep` measured: a line a result, a column a metric.

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
    by_size = any(each.message_bytes for variants in swept.values() for each in variants)
    axis = _axis(swept, by_size=by_size)
    panels = [
        panel_of(names.metric(metric), *_lines(results, swept, metric, axis, by_size=by_size))
        for metric in metrics or _SHOWN.get(base, ()) or _first_metric(results, swept)
    ]
    what = names.workload(base)
    if by_size:
        what = what.replace("small ", "")  # Only some messages are.
    title = f"{what}, {'by size of message' if by_size else 'by number of flows'}"
    return line_figure(title[0].upper() + title[1:], panels, axis, notice)


def under_load(*results: Result, percentile: str = "p50") -> go.Figure:
    """Draw round trips on an idle path and while TCP runs: a line for each result.

    ``percentile`` is "p50", "p90", "p99" or "p999" (where enough echoes came back).

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
    lines = []
    for index, (result, label) in enumerate(zip(results, names.labels(results), strict=True)):
        points = []
        for at, name in enumerate(run):
            metric = f"{'' if name == 'latency' else 'loaded_'}rtt_{percentile}_us"
            points += points_of(result, metric, name, float(at), _LOADS[name])
        lines.append(Line(label, style.colour(result.scheme, index), 0, tuple(points)))
    heading = names.metric(f"rtt_{percentile}_us")
    panel = panel_of(heading, "µs", "lower", distinguished(lines))
    return line_figure("Round trips under load", [panel], axis, notice)


def _swept(results: Sequence[Result], workload: str) -> dict[str, list[Variant]]:
    """Return the variants of each result, by its place; all of one workload."""
    swept = {
        str(place): [
            each
            for each in map(Variant.parse, result.workloads)
            if (each.message_bytes or each.flows) and workload in ("", each.base)
        ]
        for place, result in enumerate(results)
    }
    bases = sorted({each.base for variants in swept.values() for each in variants})
    if not bases or not all(swept.values()):
        raise UsageError(
            f"Nothing{f' of `{workload}`' if workload else ''} was swept in all of these results.",
            todo="Measure with trials=Trials(…).sweep(`tcp_up`), then draw those results.",
        )
    if len(bases) > 1:
        raise UsageError(
            f"Several workloads were swept: {', '.join(bases)}.",
            todo="Name one of them as `workload`.",
        )
    return swept


def _first_metric(
    results: Sequence[Result], swept: Mapping[str, Sequence[Variant]]
) -> tuple[str, ...]:
    first = results[0].of(str(swept["0"][0]))[0]
    return (first.metrics[0].name,)


def _axis(swept: Mapping[str, Sequence[Variant]], *, by_size: bool) -> Axis:
    values = sorted(
        {
            (each.message_bytes if by_size else each.flows) or 1
            for variants in swept.values()
            for each in variants
        }
    )
    title = "bytes written at once" if by_size else "concurrent flows"
    label = names.size if by_size else str
    return Axis(title, {math.log2(value): label(value) for value in values})


def _lines(
    results: Sequence[Result],
    swept: Mapping[str, Sequence[Variant]],
    metric: str,
    axis: Axis,
    *,
    by_size: bool,
) -> tuple[str, Better, list[Line]]:
    """Return unit, better direction and lines of one metric."""
    lines: list[Line] = []
    kinds: set[tuple[str, Better]] = set()
    for index, (result, label) in enumerate(zip(results, names.labels(results), strict=True)):
        others = dict.fromkeys(each.flows if by_size else None for each in swept[str(index)])
        for other in others:
            points: list[Point] = []
            for variant in swept[str(index)]:
                if by_size and variant.flows != other:
                    continue
                at = math.log2((variant.message_bytes if by_size else variant.flows) or 1)
                points += points_of(result, metric, str(variant), at, axis.places[at])
                kinds |= {(m.unit, m.better) for m in result.metrics(metric, str(variant))}
            flows = "" if other is None else f", {names.flows(other)}"
            tint = style.colour(result.scheme, index)
            ordered = tuple(sorted(points, key=lambda point: point.at))
            lines.append(Line(f"{label}{flows}", tint, 0, ordered))
    if len(kinds) != 1:
        raise UsageError(f"The metric `{metric}` needs one unit in all results.")
    unit, better = kinds.pop()
    return unit, better, distinguished(lines)
