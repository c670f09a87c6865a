"""Published figures: those of the sources, and no others."""

from __future__ import annotations

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import figures, tables
from kvmlab.results import Result
from kvmlab.results.published import PUBLISHED, published
from tests.report import builders


def host() -> Result:
    return builders.result(
        "host", "host port, no VM", (30.0, 31.0, 32.0), (9_000, 9_100, 9_200), 0.0
    )


def vf() -> Result:
    return builders.result(
        "sriov-vf", "SR-IOV VF", (28.0, 29.0, 30.0), (10_000, 10_100, 9_900), 0.1
    )


def test_ratios_are_those_of_the_sources() -> None:
    by_label = {(one.label, one.kind): one for one in PUBLISHED}
    assert by_label["virtio on a bridge, 25G", "tcp"].ratio == pytest.approx(0.46, abs=0.005)
    assert by_label["virtio on a bridge, 25G", "latency"].ratio == pytest.approx(3.7, abs=0.01)
    assert by_label["vhost-user, 25G", "tcp"].ratio == pytest.approx(0.43, abs=0.005)
    assert by_label["vhost-user, 25G", "latency"].ratio == pytest.approx(1.2, abs=0.02)
    assert by_label["virtio NAT, baseline", "tcp"].ratio == pytest.approx(0.40, abs=0.001)
    assert by_label["virtio NAT, tuned, 16 flows", "tcp"].ratio == pytest.approx(0.58, abs=0.001)
    elis = by_label["passthrough before posted interrupts", "load"]
    assert (elis.low, elis.high) == (0.60, 0.77)
    assert by_label["SR-IOV VF, 10GbE, up to 60 VMs", "tcp"].ratio == 1.0


def test_unverified_figures_are_missing() -> None:
    assert published("macvtap") == ()
    assert published("e1000e") == ()
    assert all(one.ratio is None for one in published("e1000"))
    assert all(one.ratio is None for one in published("virtio-vhost-q4"))
    for one in PUBLISHED:
        assert one.source
        assert (one.low is None) == (one.high is None)
        assert one.quality != "informal" or one.ratio is None


def test_published_marks_lie_over_measured_bars() -> None:
    figure = figures.published(builders.e1000(), builders.virtio(), vf(), baseline=host())
    traces = {trace.name: trace for trace in figure.data}
    assert traces["measured: SR-IOV VF"].x[0] == pytest.approx(29 / 31)
    assert list(traces["published: SR-IOV VF, 10GbE, up to 60 VMs"].x) == [1.0]
    assert "Dong et al." in traces["published: SR-IOV VF, 10GbE, up to 60 VMs"].hovertext[0]
    assert "2010 (paper)" in traces["published: SR-IOV VF, 10GbE, up to 60 VMs"].hovertext[0]
    assert "does not name the back end" in traces["published: virtio NAT, baseline"].hovertext[0]
    # The row of e1000 has its bar and no mark.
    assert not [name for name in traces if name and name.startswith("published: e1000")]
    assert "vhost-user,<br>25G, published only" in figure.layout.yaxis.ticktext
    assert "not hardware" in figure.layout.meta["notice"]


def test_a_range_is_a_line() -> None:
    card = builders.result("passthrough", "PCI passthrough", (20.0, 21.0), (9_000, 9_100), 0.1)
    figure = figures.published(card, baseline=host())
    (mark,) = [t for t in figure.data if t.name and "posted interrupts" in t.name]
    assert list(mark.x) == [0.60, 0.77]


def test_latency_and_its_own_figures() -> None:
    figure = figures.published(builders.virtio(), baseline=host(), metric="rtt_p50_us")
    names = {trace.name for trace in figure.data}
    assert "published: virtio on a bridge, 25G" in names
    assert "published: virtio NAT, baseline" not in names


def test_unlike_clocks_and_unknown_metrics_are_refused() -> None:
    other = builders.result("host", "host", (1.0,), (1.0,), 0.0, clock=Clock.VIRTUAL)
    with pytest.raises(UsageError):
        figures.published(vf(), baseline=other)
    with pytest.raises(UsageError, match="no published figure"):
        figures.published(vf(), baseline=host(), metric="vm_exits_per_packet")


def test_the_table_names_every_source() -> None:
    frame = tables.published()
    assert len(frame) == len(PUBLISHED)
    assert frame["source"].str.len().min() > 0
    assert frame.loc["virtio, user networking", "ratio to bare metal"] == ""


def test_a_ratio_of_throughput_is_not_laid_over_round_trips() -> None:
    """ELI's 0.60 to 0.77 of bare metal is a load carried, and no time."""
    assert [one.kind for one in published("passthrough", "tcp")] == ["load", "tcp"]
    assert published("passthrough", "latency") == ()
