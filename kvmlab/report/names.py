"""Names and numbers for people, in place of those in the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kvmlab.language import N_, _, ngettext, typeset
from kvmlab.results import Result, Variant
from kvmlab.results.cost_kinds import COST_KINDS

# Name in the data -> name in figures and sentences.
METRICS = {
    "tcp_up_mbps": "TCP from the VM",
    "tcp_down_mbps": "TCP to the VM",
    "rtt_p50_us": "Round trip, median",
    "rtt_p90_us": "Round trip, 90th percentile",
    "rtt_p99_us": "Round trip, 99th percentile",
    "udp_sent_pps": "UDP packets sent",
    "udp_received_pps": "UDP packets at the peer's port",
    "udp_delivered_pps": "UDP packets delivered",
    "udp_down_sent_pps": "UDP packets sent to the VM",
    "udp_down_delivered_pps": "UDP packets delivered in the VM",
    "udp_down_loss_percent": "UDP packets lost on the way to the VM",
    "rtt_mean_us": "Round trip, mean",
    "loaded_rtt_p50_us": "Round trip under load, median",
    "loaded_rtt_p90_us": "Round trip under load, 90th percentile",
    "loaded_rtt_p99_us": "Round trip under load, 99th percentile",
    "loaded_rtt_mean_us": "Round trip under load, mean",
    "loaded_rtt_observations_count": "Round trips under load",
    "load_up_mbps": "TCP from the VM, beside echoes",
    "load_down_mbps": "TCP to the VM, beside echoes",
    "rtt_observations_count": "Round trips",
    "response_p50_us": "Response of a program, median",
    "response_p90_us": "Response of a program, 90th percentile",
    "response_p99_us": "Response of a program, 99th percentile",
    "response_mean_us": "Response of a program, mean",
    "response_observations_count": "Responses of a program",
    "udp_loss_percent": "UDP packets lost",
    "tcp_up_retransmits_count": "TCP segments retransmitted",
    "tcp_down_retransmits_count": "TCP segments retransmitted",
    "busiest_queue_percent": "Packets sent by the busiest queue pair",
    "busiest_worker_percent": "CPU time of the busiest vhost worker",
    "busiest_vcpu_percent": "CPU time of the busiest vCPU",
}
WORKLOADS = {
    "tcp_up": "TCP from the VM",
    "tcp_up_flows": "many TCP flows",
    "tcp_down": "TCP to the VM",
    "latency": "round trips",
    "pps": "small UDP packets",
    "pps_down": "small UDP packets to the VM",
    "pps_flows": "many small UDP flows",
    "request_response": "requests to a program",
    "latency_under_up": "round trips while TCP runs from the VM",
    "latency_under_down": "round trips while TCP runs to the VM",
    "latency_under_both": "round trips while TCP runs both ways",
}
_PER_UNIT = (
    ("_per_packet", N_("{cost} a packet"), N_("{cost} a packet, {workload}")),
    ("_per_mb", N_("{cost} a megabyte"), N_("{cost} a megabyte, {workload}")),
)
# What runs beside echoes.
_BESIDE = {
    "latency_under_up": "while TCP runs from the VM",
    "latency_under_down": "while TCP runs to the VM",
    "latency_under_both": "while TCP runs both ways",
}
# Work that queue pairs, vhost workers or vCPUs share.
SHARES = {
    "sent_packets": "Packets sent",
    "queue_interrupts": "Interrupts in the VM",
    "worker_us": "CPU time in vhost",
    "vcpu_us": "CPU time of the VM",
}
ONE_OF = {
    "sent_packets": "queue pair",
    "queue_interrupts": "queue pair",
    "worker_us": "vhost worker",
    "vcpu_us": "vCPU",
}
UNIT_OF_SHARE = {
    "sent_packets": "packets",
    "queue_interrupts": "interrupts",
    "worker_us": "µs",
    "vcpu_us": "µs",
}
PER = {"packet": "a packet", "megabyte": "a megabyte", "second": "a second", "trial": "a trial"}


# An interval that spans more than this factor to one side of the ratio bounds nothing there.
_WIDEST = 100.0


def metric(name: str, workload: str | None = None, part: str = "") -> str:
    """Return the name of a metric, with its workload and the part of a cost.

    >>> metric("vm_exits_per_packet", "tcp_up", "npf")
    'VM exits (npf) a packet, TCP from the VM'
    """
    if name in METRICS:
        title = _(METRICS[name])
        if workload is None:
            return title
        varied = Variant.parse(workload)
        if varied.base in _BESIDE:
            title = _("{metric}, {load}").format(metric=title, load=_(_BESIDE[varied.base]))
        return f"{title}{_varied(varied)}"
    for suffix, alone, in_workload in _PER_UNIT:
        if name.endswith(suffix):
            what = cost(name.removesuffix(suffix))
            if part:
                what = _("{cost} ({part})").format(cost=what, part=_(part))
            if not workload:
                return typeset(_(alone).format(cost=what))
            return typeset(_(in_workload).format(cost=what, workload=_workload(workload)))
    return name.replace("_", " ")


def workload(name: str) -> str:
    """Return the name of a workload.

    >>> workload("tcp_up@64x4")
    'TCP from the VM, messages of 64 bytes, 4 flows'
    """
    varied = Variant.parse(name)
    base = WORKLOADS.get(varied.base, varied.base)
    if varied.message_bytes is not None:
        base = base.replace("small ", "")
    return f"{_(base)}{_varied(varied)}"


_workload = workload  # for functions with an argument of that name


def _varied(variant: Variant) -> str:
    text = ""
    if variant.message_bytes is not None:
        text += _(", messages of {size} bytes").format(size=f"{variant.message_bytes:,}")
    if variant.flows is not None:
        text += _(", {flows}").format(flows=flows(variant.flows))
    return text


def labels(results: Sequence[Result]) -> list[str]:
    """Return the labels of results shown together, with their hosts where there are several."""
    if len({result.host for result in results}) < 2:
        return [_(result.label) for result in results]
    return [
        typeset(_("{label}, on {host}").format(label=_(result.label), host=_(result.host)))
        for result in results
    ]


def valued(name: str, value: str) -> str:
    """Return a name, in the reader's language, and what it is: "median: 84 µs"."""
    return _("{name}: {value}").format(name=_(name), value=value)


def flows(count: int) -> str:
    """Return for example "1 flow"."""
    return ngettext("{count} flow", "{count} flows", count)


def size(count: int) -> str:
    """Return a number of bytes: 64 -> "64", 4096 -> "4 Ki", 65507 -> "65,507"."""
    return f"{count // 1024} Ki" if count % 1024 == 0 else f"{count:,}"


def cost(name: str) -> str:
    """Return the name of a cost: ``vm_exits`` -> "VM exits"."""
    return _(COST_KINDS[name].title) if name in COST_KINDS else _(name.replace("_", " "))


def number(value: float) -> str:
    """Format with three significant digits: 0.0123, 1.94, 25.1, 1,140."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    rounded = round(value, digits)
    if abs(value) >= 100:
        return f"{round(value, -max(0, math.floor(math.log10(abs(value))) - 2)):,.0f}"
    return f"{rounded:.{digits}f}".replace("-", "−")


def interval(ratio: float, low: float, high: float) -> str:
    """Describe the 95 % interval of a ratio, or say which end the trials do not bound.

    >>> interval(0.1, 0.08, 0.12), interval(0.0, 0.0, 0.3), interval(2.0, 0.001, 900.0)
    ('0.0800 to 0.120', 'at most 0.300', 'not bounded by these trials')
    """
    if low == high:
        return number(ratio)
    below = low > 0 and ratio <= _WIDEST * low
    above = math.isfinite(high) and (high <= _WIDEST * ratio or (ratio == 0 and high < _WIDEST))
    if below and above:
        return _("{low} to {high}").format(low=number(low), high=number(high))
    if above:
        return _("at most {bound}").format(bound=number(high))
    if below:
        return _("at least {bound}").format(bound=number(low))
    return _("not bounded by these trials")


def ratio(value: float, low: float, high: float) -> str:
    """Return a ratio in words, with its interval: "ratio 2.00 (1.90 to 2.10)"."""
    return _("ratio {ratio} ({interval})").format(
        ratio=number(value), interval=interval(value, low, high)
    )


def bounded(median: float, low: float, high: float) -> bool:
    """Return whether an interval bounds its median on both sides (a negative end counts as 0)."""
    if median <= 0 or low <= 0:
        return math.isfinite(low) and math.isfinite(high)
    return median <= _WIDEST * low and high <= _WIDEST * median


def scaled(unit: str, largest: float) -> tuple[str, float]:
    """Return a unit in which ``largest`` is easy to read, and the divisor for it."""
    if unit == "µs" and largest >= 1e6:
        return "s", 1e6
    if unit == "µs" and largest >= 1e3:
        return "ms", 1e3
    if unit == "packets/s" and largest >= 1e5:
        return _("thousand packets/s"), 1e3
    return _(unit), 1.0


def duration(us: float) -> str:
    """Format a time in µs: "84 µs", "1.94 ms".

    Below a millisecond there are no decimals: the kernel's trace counts whole microseconds.
    """
    if abs(us) < 1e3:
        return f"{us:.0f} µs"
    unit, divisor = scaled("µs", abs(us))
    return f"{number(us / divisor)} {unit}"
