"""Measured evidence: wins and losses of candidates against each other, in words and points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvmlab.advice.model import Reason
from kvmlab.advice.needs import Load
from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.language import _
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
    """Measurements by scheme."""

    sentences: Mapping[str, tuple[str, ...]]
    points: Mapping[str, int]
    #: Decided comparisons, (better, worse) -> the comparison.
    decided: Mapping[tuple[str, str], Comparison]

    def reason(self, scheme: str) -> Reason | None:
        """Return the measurement as a reason; None where it decides nothing for this scheme."""
        points = self.points.get(scheme, 0)
        if not points:
            return None
        verdict = "better" if points > 0 else "worse"
        others = "all others" if abs(points) == _MOST_POINTS else "most others"
        return Reason(
            "measured",
            f"Measured {verdict} than {others} that were measured.",
            points,
            "your results",
        )

    def contradictions(self, order: Sequence[tuple[str, str, int]]) -> tuple[str, ...]:
        """Return sentences for schemes that the rules put lower and that measured better.

        ``order`` holds scheme, label and the points of the stated rules alone.
        """
        sentences = []
        for high, high_label, high_points in order:
            for low, low_label, low_points in order:
                against = self.decided.get((low, high))
                if against is None or high_points <= low_points:
                    continue
                sentences.append(
                    f"The stated rules put {high_label} above {low_label}; measured here it is the "
                    f"other way round ({against})."
                )
        return tuple(sentences)


def weigh(results: Sequence[Result], load: Load, schemes: Sequence[str]) -> Evidence:
    """Compare the results of ``schemes`` with each other in what ``load`` asks for.

    Of several results of one scheme the last one counts; an option makes no other scheme.
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
                comparison = compare(known[first], known[second], metric, workload)
                if comparison.verdict == "better":
                    balance[second] += 1
                    balance[first] -= 1
                    decided.setdefault((second, first), comparison)
    # Better in one direction and worse in the other decides nothing between the two.
    split = {pair for pair in decided if pair[::-1] in decided}
    others = (len(known) - 1) * len(metrics)
    return Evidence(
        {scheme: tuple(lines) for scheme, lines in sentences.items() if lines},
        {scheme: _points(net, others) for scheme, net in balance.items()},
        {pair: comparison for pair, comparison in decided.items() if pair not in split},
    )


def _family(scheme: str) -> str:
    """Return one id for those that differ in their queues or an option that moves no packet.

    >>> _family("macvtap-trust"), _family("virtio-vhost-q4-c2")
    ('macvtap', 'virtio-vhost-q')
    """
    if scheme.startswith("virtio-vhost-q"):
        return "virtio-vhost-q"
    return scheme.removesuffix("-trust")


def _points(net: int, most: int) -> int:
    """Return two points for what beats all others, one for what beats more than it loses to."""
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
    summary = result.summary(metric, workload)
    interval = (
        f" [{summary.low:.4g} … {summary.high:.4g}]" if summary.count > 1 else _(", a single trial")
    )
    figure = f"{summary.median:.4g} {_(summary.unit)}{interval}"
    text = _("{metric}: {figure}, {clock} time").format(
        metric=names.metric(metric, workload), figure=figure, clock=_(result.clock.value)
    )
    return text + _(", emulated host") if result.emulated else text
