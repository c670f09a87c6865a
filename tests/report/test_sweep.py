"""Figures over sizes of messages, numbers of flows, and what else runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import figures
from kvmlab.results import Metric, Result, Trial, Window
from tests.report import builders


def swept(
    scheme: str, figures_of: Mapping[str, Sequence[float]], metric: str = "tcp_up_mbps"
) -> Result:
    """Return a result with these workloads, and a trial for each figure."""
    trials = [
        Trial(
            workload=name,
            number=number,
            block=number,
            metrics=(Metric(metric, value, "Mbit/s", "higher"),),
            costs=builders.costs(38, number),
            window=Window(2.0, 1000, 1_500_000, "p2p2 in namespace peer"),
        )
        for name, values in figures_of.items()
        for number, value in enumerate(values, start=1)
    ]
    plain = builders.result(scheme, f"the {scheme}", (), (), 1)
    return replace(plain, trials=tuple(trials))


def sizes(scheme: str = "virtio-qemu", times: float = 1.0) -> Result:
    # The largest first: a figure puts them in order.
    values = {"tcp_up@65536": (800, 820), "tcp_up@64": (10, 12), "tcp_up@1024": (150, 170)}
    return swept(scheme, {name: [times * v for v in sample] for name, sample in values.items()})


def loaded(scheme: str = "virtio-qemu") -> Result:
    plain = builders.result(scheme, f"the {scheme}", (), (80, 84), 1)
    more = [
        replace(
            trial,
            workload="latency_under_up",
            metrics=(Metric("loaded_rtt_p50_us", 2_000.0 + trial.number, "µs", "lower"),),
        )
        for trial in plain.trials
    ]
    return replace(plain, trials=(*plain.trials, *more))


def named(figure: go.Figure, name: str, axis: str = "x") -> list[Any]:
    return [t for t in figure.data if t.name == name and (t.xaxis or "x") == axis]


def texts(figure: go.Figure) -> str:
    return " ".join(str(note.text) for note in figure.layout.annotations)


def test_a_sweep_has_a_line_for_each_scheme_over_a_logarithmic_axis() -> None:
    figure = figures.sweep(sizes(), sizes("virtio-vhost", 2))
    (line,) = named(figure, "the virtio-qemu")
    assert list(line.y) == [11, 160, 810]
    first, second, third = line.x
    # Four doublings from 64 to 1,024, six more to 65,536.
    assert (third - second) / (second - first) == pytest.approx(6 / 4)
    assert list(figure.layout.xaxis.ticktext) == ["64", "1 Ki", "64 Ki"]
    assert figure.layout.xaxis.title.text == "bytes written at once"
    assert [list(t.y) for t in named(figure, "the virtio-vhost")] == [[22, 320, 1620]]
    assert line.line.color != named(figure, "the virtio-vhost")[0].line.color


def test_every_trial_of_a_sweep_is_a_dot_and_has_its_interval() -> None:
    figure = figures.sweep(sizes())
    (dots,) = named(figure, "trials of the virtio-qemu")
    assert list(dots.y) == [10, 12, 150, 170, 800, 820]
    (line,) = named(figure, "the virtio-qemu")
    summary = sizes().summary("tcp_up_mbps", "tcp_up@64")
    assert line.error_y.array[0] == pytest.approx(summary.high - summary.median)
    assert line.error_y.arrayminus[0] == pytest.approx(summary.median - summary.low)
    one = figures.sweep(swept("e1000", {"tcp_up@64": (3,), "tcp_up@128": (4,)}))
    assert set(named(one, "the e1000")[0].error_y.array) == {0}
    assert "no interval" in named(one, "trials of the e1000")[0].hovertext[0]


def test_a_stream_shows_its_cost_beside_its_speed() -> None:
    figure = figures.sweep(sizes())
    assert "TCP from the VM" in texts(figure)
    assert "CPU time a megabyte" in texts(figure)
    assert len(named(figure, "the virtio-qemu", "x2")) == 1


def test_a_span_of_many_times_is_drawn_on_a_logarithmic_axis() -> None:
    figure = figures.sweep(sizes(), metrics=("tcp_up_mbps",))
    assert figure.layout.yaxis.type == "log"
    low, high = figure.layout.yaxis.range
    assert low < math.log10(10) < math.log10(820) < high
    near = figures.sweep(swept("e1000", {"tcp_up@64": (3,), "tcp_up@128": (4,)}))
    assert near.layout.yaxis.type == "linear"
    assert near.layout.yaxis.range[0] == 0


def test_flows_alone_are_the_axis_and_beside_sizes_a_line_each() -> None:
    many = figures.sweep(swept("e1000", {"tcp_up@x1": (3,), "tcp_up@x4": (9,)}))
    assert many.layout.xaxis.title.text == "concurrent flows"
    assert list(many.layout.xaxis.ticktext) == ["1", "4"]
    both = swept("e1000", {"tcp_up@64x1": (3,), "tcp_up@64x4": (9,), "tcp_up@128x1": (4,)})
    figure = figures.sweep(both)
    (one,) = named(figure, "the e1000, 1 flow")
    (four,) = named(figure, "the e1000, 4 flows")
    assert (list(one.y), list(four.y)) == ([3, 4], [9])
    assert one.line.dash != four.line.dash


def test_a_sweep_says_that_its_host_is_emulated() -> None:
    assert builders.EMULATED[:60] in figures.sweep(sizes()).layout.meta["notice"]
    assert builders.EMULATED[:60] in figures.under_load(loaded()).layout.meta["notice"]


def test_a_flagged_trial_of_a_sweep_is_marked() -> None:
    plain = sizes()
    first, *rest = plain.trials
    figure = figures.sweep(replace(plain, trials=(replace(first, flags=("steal 31 %",)), *rest)))
    (dots,) = named(figure, "trials of the virtio-qemu")
    assert list(dots.marker.symbol).count("diamond") == 1
    assert "A trial with a flag" in figure.layout.meta["notice"]


def test_hosts_are_distinguished_in_a_sweep_and_their_clocks_are_not_mixed() -> None:
    there = replace(sizes(times=3), host="kvm1")
    figure = figures.sweep(sizes(), there, metrics=("tcp_up_mbps",))
    here, other = (t for t in figure.data if t.mode == "lines")
    assert (here.name, other.name) == (
        "the virtio-qemu, on embedded host",
        "the virtio-qemu, on kvm1",
    )
    assert here.line.dash != other.line.dash
    with pytest.raises(UsageError, match="clocks"):
        figures.sweep(sizes(), replace(there, clock=Clock.VIRTUAL))


def test_what_was_not_swept_has_no_figure() -> None:
    with pytest.raises(UsageError, match="swept"):
        figures.sweep(builders.virtio())
    both = swept("e1000", {"tcp_up@64": (3,), "tcp_down@64": (9,)})
    with pytest.raises(UsageError, match="tcp_down, tcp_up"):
        figures.sweep(both)
    assert figures.sweep(both, workload="tcp_down", metrics=("tcp_up_mbps",))


def test_round_trips_under_load_stand_beside_those_without() -> None:
    figure = figures.under_load(loaded(), loaded("virtio-vhost"))
    (line,) = named(figure, "the virtio-qemu")
    assert list(line.y) == [0.082, 2.0015]
    assert list(figure.layout.xaxis.ticktext) == ["nothing", "TCP from the VM"]
    assert figure.layout.yaxis.type == "log"
    assert "ms, less is better, logarithmic" in texts(figure)
    with pytest.raises(UsageError, match="under load"):
        figures.under_load(builders.virtio())
