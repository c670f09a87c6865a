"""What was measured of the candidates: wins and losses against each other, in words and points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvmlab.advice.model import Reason
from kvmlab.advice.needs import Load
from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import names
from kvmlab.results import Comparison, Result, compare, require_one_clock

#: What decides under a load: metrics, with the workload where they are costs.
_DECIDES: Final = {
    Load.LIGHT: (("cpu_us_per_packet", "tcp_up"),),
    Load.BULK: (("tcp_up_mbps", None), ("tcp_down_mbps", None)),
    Load.LATENCY: (("rtt_p50_us", None),),
    Load.PACKETS: (("udp_received_pps", None),),
}
#: On an emulated host under wall time throughput misleads, and costs hold.
_DECIDES_EMULATED: Final = {
    Load.LIGHT: _DECIDES[Load.LIGHT],
    Load.BULK: (("cpu_us_per_packet", "tcp_up"), ("cpu_us_per_packet", "tcp_down")),
    Load.LATENCY: (("rtt_p50_us", None),),
    Load.PACKETS: (("cpu_us_per_packet", "pps"),),
}
#: Points of a scheme that beats all others that were measured; of one that loses to all, minus.
_MOST_POINTS: Final = 2


@dataclass(frozen=True)
class Evidence:
    """What was measured, by scheme."""

    sentences: Mapping[str, tuple[str, ...]]
    points: Mapping[str, int]
    #: Decided comparisons, (better, worse) -> the comparison.
    decided: Mapping[tuple[str, str], Comparison]

    def reason(self, scheme: str) -> Reason | None:
        """The measurement as a reason; None where it decides nothing for this scheme."""
        points = self.points.get(scheme, 0)
        if not points:
            return None
        told = "better" if points > 0 else "worse"
        much = "all others" if abs(points) == _MOST_POINTS else "most others"
        return Reason(
            "measured",
            f"Measured {told} than {much} that were measured.",
            points,
            "your results",
        )

    def contradictions(self, order: Sequence[tuple[str, str, int]]) -> tuple[str, ...]:
        """Where a scheme that the rules put lower was measured better.

        ``order`` holds scheme, label and the points of the stated rules alone.
        """
        found = []
        for high, high_label, high_points in order:
            for low, low_label, low_points in order:
                against = self.decided.get((low, high))
                if against is None or high_points <= low_points:
                    continue
                found.append(
                    f"The stated rules put {high_label} above {low_label}; measured here it is the "
                    f"other way round ({against})."
                )
        return tuple(found)


def weigh(results: Sequence[Result], load: Load, schemes: Sequence[str]) -> Evidence:
    """Compare the results of ``schemes`` with each other in what ``load`` asks for.

    Of several results of one scheme the last one counts; a knob makes no other scheme.
    What nobody measured says nothing.

    Raises:
        UsageError: the results are of different clocks.
    """
    by_family = {_family(result.scheme): result for result in results if result.trials}
    known = {
        scheme: by_family[_family(scheme)] for scheme in schemes if _family(scheme) in by_family
    }
    if not known:
        return Evidence({}, {}, {})
    clock = require_one_clock(tuple(known.values()))
    emulated = any(result.emulated for result in known.values()) and clock is Clock.WALL
    metrics = (_DECIDES_EMULATED if emulated else _DECIDES)[load]
    sentences: dict[str, list[str]] = {scheme: [] for scheme in known}
    balance: dict[str, int] = dict.fromkeys(known, 0)
    decided: dict[tuple[str, str], Comparison] = {}
    for metric, workload in metrics:
        having = [scheme for scheme in known if _has(known[scheme], metric, workload)]
        for scheme in having:
            sentences[scheme].append(_sentence(known[scheme], metric, workload))
        for first in having:
            for second in having:
                if first == second:
                    continue
                found = compare(known[first], known[second], metric, workload)
                if found.verdict == "better":
                    balance[second] += 1
                    balance[first] -= 1
                    decided.setdefault((second, first), found)
    # Better in one direction and worse in the other decides nothing between the two.
    split = {pair for pair in decided if pair[::-1] in decided}
    others = (len(known) - 1) * len(metrics)
    return Evidence(
        {scheme: tuple(told) for scheme, told in sentences.items() if told},
        {scheme: _points(net, others) for scheme, net in balance.items()},
        {pair: found for pair, found in decided.items() if pair not in split},
    )


def _family(scheme: str) -> str:
    """Ids that differ in a knob which moves no packet, or in the number of queues, count as one.

    >>> _family("macvtap-trust"), _family("virtio-vhost-q4-c2")
    ('macvtap', 'virtio-vhost-q')
    """
    if scheme.startswith("virtio-vhost-q"):
        return "virtio-vhost-q"
    return scheme.removesuffix("-trust")


def _points(net: int, most: int) -> int:
    """Two for what beats all others, one for what beats more than it loses to."""
    if not net or not most:
        return 0
    size = _MOST_POINTS if abs(net) >= most else 1
    return size if net > 0 else -size


def _has(result: Result, metric: str, workload: str | None) -> bool:
    try:
        return bool(result.metrics(metric, workload))
    except UsageError:
        return False  # this workload was not run


def _sentence(result: Result, metric: str, workload: str | None) -> str:
    found = result.summary(metric, workload)
    interval = f" [{found.low:.4g} … {found.high:.4g}]" if found.count > 1 else ", a single trial"
    figure = f"{found.median:.4g} {found.unit}{interval}"
    return (
        f"{names.metric(metric, workload)}: {figure}, {result.clock.value} time"
        f"{', emulated host' if result.emulated else ''}"
    )
