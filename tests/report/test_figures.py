"""Figures show the measured values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import figures, tables
from kvmlab.report.overview import scheme_overview
from kvmlab.results import Result, compare
from tests.report import builders


def texts(figure: go.Figure) -> str:
    return " ".join(str(note.text) for note in figure.layout.annotations)


def bars(figure: go.Figure, axis: str = "x") -> list[float]:
    traces = [t for t in figure.data if t.type == "bar" and (t.xaxis or "x") == axis]
    return [value for trace in traces for value in trace.x]


def test_compare_draws_the_median_every_trial_and_the_interval() -> None:
    figure = figures.compare(builders.e1000(), builders.virtio(), metric="tcp_up_mbps")
    assert bars(figure) == [0.8, 25.0]
    trials = [t for t in figure.data if (t.name or "").startswith("trials of")]
    assert [list(t.x) for t in trials] == [[0.8, 0.9, 0.7], [25.0, 27.5, 22.0]]
    low, high = next(t for t in figure.data if t.name == "interval").x
    summary = builders.e1000().summary("tcp_up_mbps")
    assert (low, high) == (summary.low, summary.high)
    assert figure.layout.xaxis.title.text == "Mbit/s (more is better)"
    assert figure.layout.xaxis.range[0] == 0


def test_a_single_trial_has_no_interval() -> None:
    one = builders.result("e1000", "e1000", (0.8,), (35_000,), 38)
    figure = figures.compare(one, metric="tcp_up_mbps")
    assert not [trace for trace in figure.data if trace.name == "interval"]


def test_a_flagged_trial_is_drawn_and_marked() -> None:
    plain = builders.virtio()
    first, *rest = plain.trials
    hit = replace(plain, trials=(replace(first, flags=("steal 31 %", "outlier")), *rest))
    figure = figures.compare(builders.e1000(), hit, metric="tcp_up_mbps")
    unmarked, marked = (t for t in figure.data if (t.name or "").startswith("trials of"))
    assert set(unmarked.marker.symbol) == {"circle"}
    assert list(marked.marker.symbol) == ["diamond", "circle", "circle"]
    assert list(marked.x) == [25.0, 27.5, 22.0]
    assert "steal 31 %; outlier" in marked.hovertext[0]
    assert "A trial with a flag" in figure.layout.meta["notice"]
    assert "A trial with a flag" not in figures.overview(plain).layout.meta["notice"]
    assert "A trial with a flag" in figures.overview(hit).layout.meta["notice"]
    flags = tables.flagged(plain, hit)["flag"]
    assert list(flags) == ["steal 31 %", "outlier"]
    assert tables.flagged(plain).empty


@pytest.mark.parametrize("draw", [figures.overview, figures.costs])
def test_labels_name_the_hosts_where_a_figure_has_several(draw: Any) -> None:
    here, there = builders.virtio(), replace(builders.virtio(), host="kvm1", emulated=None)
    figure = draw(here, there)
    ticks = [tick.replace("<br>", " ") for tick in figure.layout.yaxis.ticktext]
    assert any("on kvm1" in tick for tick in ticks)
    assert any("on embedded host" in tick for tick in ticks)
    assert not any("on kvm1" in tick for tick in draw(here).layout.yaxis.ticktext)


def test_a_comparison_of_two_hosts_names_them() -> None:
    here, there = builders.virtio(), replace(builders.virtio(), host="kvm1", emulated=None)
    comparison = compare(here, there, "tcp_up_mbps")
    assert "on kvm1" in str(comparison)
    assert "on embedded host" in str(comparison)
    assert "back end, on 2 hosts" in texts(figures.compare(here, there, metric="tcp_up_mbps"))
    assert "2 schemes on 2 hosts" in texts(figures.overview(here, there, builders.e1000()))
    assert "on kvm1" in texts(figures.ratios(here, there, comparisons=[comparison]))


def test_long_times_are_drawn_in_milliseconds() -> None:
    figure = figures.compare(builders.e1000(), builders.virtio(), metric="rtt_p50_us")
    assert bars(figure) == [35.0, 22.0]
    assert "ms (less is better)" in figure.layout.xaxis.title.text


def test_overview_has_a_column_for_each_metric_that_was_measured() -> None:
    figure = figures.overview(builders.e1000(), builders.virtio())
    text = texts(figure)
    assert "TCP from the VM" in text
    assert "Round trip, median" in text
    assert "VM exits a packet" in text
    assert "TCP to the VM" not in text  # not measured
    assert bars(figure, "x3") == [38.0, 0.4]


def test_overview_leaves_a_row_empty_where_a_result_lacks_the_metric() -> None:
    bare = builders.result("e1000e", "e1000e, fully emulated", (1.6, 1.5), (), 12)
    figure = figures.overview(bare, builders.virtio())
    assert bars(figure, "x2") == [22.0]


def test_costs_stack_the_parts_of_each_result() -> None:
    figure = figures.costs(builders.e1000(), builders.virtio())
    stacks: dict[str, dict[str, tuple[float, ...]]] = {}
    for trace in figure.data:
        if trace.type == "bar":
            stacks.setdefault(trace.legend, {})[trace.name] = tuple(trace.x)
    exits = stacks["legend2"]
    assert exits["npf"] == pytest.approx((26.6, 0.28))
    assert sum(each[0] for each in exits.values()) == pytest.approx(38)
    totals = [t for t in figure.data if t.type == "scatter" and t.xaxis == "x2"]
    assert [list(t.x) for t in totals] == [[pytest.approx(38), pytest.approx(0.4)]]
    assert "exits/packet" in texts(figure)


def test_all_who_ran_instructions_are_shown_and_first() -> None:
    from kvmlab.results import Cost

    qemu = ("guest", "vCPU outside the guest", "QEMU main loop", "QEMU other threads")
    roles = (*qemu, "softirq", "vhost worker", "peer's server", "other programs")

    def counted(result: Result) -> Result:
        spent = tuple(Cost("instructions", role, 5e6, "instructions") for role in roles)
        trials = (replace(t, costs=(*t.costs, *spent)) for t in result.of("tcp_up"))
        return replace(result, trials=tuple(trials))

    figure = figures.costs(counted(builders.e1000()), counted(builders.virtio()))
    first = [trace for trace in figure.data if trace.type == "bar" and trace.legend == "legend"]
    assert {trace.name for trace in first} == set(roles)
    assert len({trace.marker.color for trace in first}) == len(roles)
    assert sum(trace.x[0] for trace in first) == pytest.approx(40_000)
    assert "instructions/packet" in texts(figure)


def test_small_parts_become_one() -> None:
    from kvmlab.results import Cost

    def many(result: Result) -> Result:
        costs = tuple(Cost("vm_exits", f"reason {n}", 1000.0 / n, "exits") for n in range(1, 12))
        return replace(result, trials=tuple(replace(t, costs=costs) for t in result.of("tcp_up")))

    figure = figures.costs(many(builders.e1000()), shown=("vm_exits",))
    names = [trace.name for trace in figure.data if trace.type == "bar"]
    assert names == [*(f"reason {n}" for n in range(1, 6)), "others"]
    total = sum(trace.x[0] for trace in figure.data if trace.type == "bar")
    assert total == pytest.approx(sum(1.0 / n for n in range(1, 12)))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.compare(builders.virtio(), metric="tcp_up_mbps"),
        lambda: figures.overview(builders.virtio()),
        lambda: figures.costs(builders.virtio()),
        lambda: figures.path(builders.virtio()),
    ],
)
def test_every_figure_of_an_emulated_host_has_a_one_line_notice(draw: Any) -> None:
    figure = draw()
    full = figure.layout.meta["notice"]
    assert builders.EMULATED in full
    assert Clock.WALL.meaning in full
    shown = next(note for note in figure.layout.annotations if note.name == "notice")
    assert shown.text.startswith("Emulated host, wall time: ")
    assert "<br>" not in shown.text


def test_figures_of_real_hardware_carry_no_notice() -> None:
    real = replace(builders.virtio(), emulated=None)
    assert figures.compare(real, metric="tcp_up_mbps").layout.meta["notice"] == ""


def test_results_of_two_clocks_share_no_figure() -> None:
    other = replace(builders.virtio(), clock=Clock.VIRTUAL)
    with pytest.raises(UsageError, match="different clocks"):
        figures.overview(builders.e1000(), other)


def test_path_draws_each_device_once_and_who_moves_the_packet() -> None:
    figure = figures.path(builders.virtio())
    text = texts(figure)
    for name in ("eth1", "QEMU", "vnet3", "kvmlab0", "p2p1", "p2p2"):
        assert text.count(f"<b>{name}</b>") == 1
    assert "main loop" in text
    assert "→ 310 µs" in text
    assert "← 1.54 ms" in text
    dashed = [s for s in figure.layout.shapes if s.type == "rect" and s.line.dash == "dash"]
    assert len(dashed) == 2  # the guest's card and the bridge: concluded, not traced


def test_a_path_without_host_devices_draws_a_straight_line() -> None:
    from kvmlab.results import Path

    hops = (
        builders.hop("request", "guest", "eth1", "guest NIC", "out", 0, "", inferred=True),
        builders.hop("request", "peer", "p2p2", "port", "in", 0, "softirq"),
        builders.hop("reply", "peer", "p2p2", "port", "out", 40, "softirq"),
        builders.hop("reply", "guest", "eth1", "guest NIC", "in", 40, "", inferred=True),
    )
    figure = figures.path(replace(builders.virtio(), path=Path(hops, 1003, 40.0)))
    assert "<b>QEMU</b>" not in texts(figure)
    boxes = [s for s in figure.layout.shapes if s.type == "rect" and s.line.width]
    assert len(boxes) == 2


def test_a_vhost_worker_stands_in_the_kernel() -> None:
    from kvmlab.report.path_stations import stations

    path = builders.path()
    vhost = replace(
        path,
        hops=tuple(
            replace(h, carrier=h.carrier.replace("QEMU main loop", "vhost worker"))
            for h in path.hops
        ),
    )
    worker = next(s for s in stations(vhost) if s.mover)
    assert (worker.name, worker.lane) == ("vhost worker", "kernel")


def test_a_result_without_a_path_cannot_be_drawn() -> None:
    with pytest.raises(UsageError, match="no traced path"):
        figures.path(builders.e1000())


def test_a_long_label_is_broken_where_it_would_be_cut_off() -> None:
    label = "SR-IOV VF, bare hostdev, trust on, at most 500 Mbit/s"
    figure = figures.overview(builders.virtio(), replace(builders.e1000(), label=label))
    lines = [line for tick in figure.layout.yaxis.ticktext for line in tick.split("<br>")]
    assert max(map(len, lines)) <= 20
    assert label in " ".join(lines)
    assert "against" not in str(figure.layout.annotations), "the title would be cut off as well"


def test_the_first_screen_shows_schemes_rather_than_tunings_of_one() -> None:
    schemes = [("06", builders.e1000()), ("06", builders.virtio())]
    tuned = [
        ("08", replace(builders.virtio(), scheme=f"virtio-vhost+{tuning}", label=tuning))
        for tuning in ("mtu=9000", "guest-tso=off", "rx-ring=64")
    ]
    figure = scheme_overview([*schemes, *tuned])
    assert figure is not None
    assert "e1000, fully emulated" in texts(figure)
    assert "mtu=9000" not in texts(figure)
    alone = scheme_overview(tuned)
    assert alone is not None
    assert "3 schemes" in texts(alone)
