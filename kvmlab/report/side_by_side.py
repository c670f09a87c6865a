"""All schemes in one table: what lies on the way, what a packet costs, what the VM gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvmlab.errors import UsageError
from kvmlab.report import names
from kvmlab.report.route import stations
from kvmlab.results import Result, compare

if TYPE_CHECKING:
    import pandas as pd

_EMPTY = "–"
_GUEST = ("guest", "guest (sampled)")


def side_by_side(*results: Result, baseline: Result) -> pd.DataFrame:
    """One row a scheme, ``baseline`` (the host's own port, no VM) last; medians of the trials.

    Hops are the stations of the host on the traced path. Costs are those of one packet of TCP
    from the VM; the host's CPU time is all that QEMU, vhost worker and vCPU threads spent outside
    the guest. What was not measured is a dash.

    Raises:
        UsageError: there is no result.
    """
    import pandas as pd

    if not results:
        raise UsageError("There is no result to put into a table.")
    rows = [_row(result, baseline) for result in (*results, baseline)]
    return pd.DataFrame(rows).set_index("scheme")


def _row(result: Result, baseline: Result) -> dict[str, str]:
    return {
        "scheme": result.label,
        "on the way": _way(result),
        "VM exits": _cost(result, "vm_exits"),
        "exits to QEMU": _cost(result, "userspace_exits"),
        "context switches": _cost(result, "context_switches"),
        "host's CPU": _host_cpu(result),
        "round trip": _metric(result, "rtt_p50_us"),
        "TCP from the VM": _metric(result, "tcp_up_mbps"),
        "of bare metal": _ratio(result, baseline),
    }


def _way(result: Result) -> str:
    """Devices and threads of the host on the way of a request, QEMU marked as user space."""
    if result.path is None:
        return _EMPTY
    found = [one for one in stations(result.path) if one.side == "host"]
    if not found:
        return "nothing of the host"
    told = [one.name if one.mover else one.kind for one in found]
    return f"{len(found)}: {', '.join(told)}"


def _cost(result: Result, name: str) -> str:
    values = _medians(result, name)
    return names.number(sum(values)) if values else _EMPTY


def _host_cpu(result: Result) -> str:
    values = _medians(result, "cpu_us", without=_GUEST)
    return f"{names.number(sum(values))} µs" if values else _EMPTY


def _medians(result: Result, name: str, without: Sequence[str] = ()) -> Sequence[float]:
    if "tcp_up" not in result.workloads:
        return ()
    found = result.costs("tcp_up", name=name)
    return [one.summary.median for one in found if one.part not in without]


def _metric(result: Result, name: str) -> str:
    found = _values(result, name)
    if not found:
        return _EMPTY
    summary = result.summary(name)
    unit, divisor = names.scaled(summary.unit, max(abs(value) for value in summary.values))
    return f"{names.number(summary.median / divisor)} {unit}"


def _ratio(result: Result, baseline: Result) -> str:
    if result is baseline or not (
        _values(result, "tcp_up_mbps") and _values(baseline, "tcp_up_mbps")
    ):
        return _EMPTY
    return names.number(compare(baseline, result, "tcp_up_mbps").ratio)


def _values(result: Result, name: str) -> list[float]:
    return [one.value for trial in result.trials for one in trial.metrics if one.name == name]
