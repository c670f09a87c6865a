"""Figure of all schemes of a run, for the first screen of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from kvmlab.report import bar_figures
from kvmlab.results import Result


def scheme_overview(results: Sequence[tuple[str, Result]]) -> go.Figure | None:
    """Draw the measurement of a run that covers the most schemes; None without a measurement.

    ``results`` are pairs of notebook and result. Schemes are compared within one notebook and
    clock, since only those were interleaved. Of a scheme that a notebook measured several times
    the result with the most trials is taken. Schemes with a tuning ("virtio-vhost+mtu=9000") are
    drawn only where nothing else was measured: they are variants of one scheme.
    """
    groups: dict[tuple[str, str, str], dict[str, Result]] = {}
    for notebook, result in results:
        if any(result.has(metric, workload) for metric, workload in bar_figures.OVERVIEW):
            group = groups.setdefault((notebook, result.host, result.clock.value), {})
            best = group.get(result.scheme)
            if best is None or len(best.trials) < len(result.trials):
                group[result.scheme] = result
    if not groups:
        return None
    widest = max(groups.values(), key=lambda group: (_plain(group), len(group)))
    return bar_figures.overview(*widest.values())


def _plain(group: Mapping[str, Result]) -> int:
    """Return how many schemes without a tuning a group has, 1 where it compares tunings."""
    plain = [scheme for scheme in group if "+" not in scheme]
    return len(plain) if len(plain) == len(group) else 1
