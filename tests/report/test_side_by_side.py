"""All schemes in one table, and how work spread over queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmlab.errors import UsageError
from kvmlab.report import figures, sentences, tables
from kvmlab.results import Result, Share
from tests.report import made


def host() -> Result:
    bare = made.result("host", "the host's port, no VM", (50.0, 50.0), (9_000,), 0.0)
    return replace(bare, trials=tuple(replace(trial, costs=()) for trial in bare.trials))


def test_a_row_tells_the_way_the_costs_and_the_share_of_bare_metal() -> None:
    table = tables.side_by_side(made.e1000(), made.virtio(), baseline=host())
    row = table.loc["virtio, QEMU back end"]
    assert row["on the way"] == "4: QEMU, tap, bridge, port"
    assert row["exits to QEMU"] == "–"
    assert row["VM exits"] == "0.400"
    assert row["round trip"] == "22.0 ms"
    assert row["of bare metal"] == "0.500"
    assert table.loc["e1000, fully emulated", "on the way"] == "–"


def test_the_baseline_stands_last_and_costs_no_vm_anything() -> None:
    table = tables.side_by_side(made.virtio(), baseline=host())
    assert list(table.index)[-1] == "the host's port, no VM"
    assert set(table.iloc[-1][["VM exits", "host's CPU", "of bare metal"]]) == {"–"}


def test_the_guests_own_time_is_not_the_hosts() -> None:
    told = tables.side_by_side(made.virtio(), baseline=host()).loc["virtio, QEMU back end"]
    assert told["host's CPU"] == "74.1 µs"  # 40.1 vCPU + 25 QEMU + 9 softirq, of 1,000 packets
    with_guest = made.virtio()
    cost = replace(with_guest.trials[0].costs[0], name="cpu_us", part="guest", unit="µs")
    trials = tuple(replace(t, costs=(*t.costs, cost)) for t in with_guest.trials)
    again = tables.side_by_side(replace(with_guest, trials=trials), baseline=host())
    assert again.iloc[0]["host's CPU"] == "74.1 µs"


def test_no_result_is_no_table() -> None:
    with pytest.raises(UsageError, match="no result"):
        tables.side_by_side(baseline=host())


def queues(scheme: str, *packets: float) -> Result:
    """A result whose queue pairs sent so many packets in every trial."""
    found = made.result(scheme, f"virtio, {scheme}", (25.0, 26.0), (9_000,), 1.0)
    shares = tuple(Share("sent_packets", n, value, "packets") for n, value in enumerate(packets))
    return replace(found, trials=tuple(replace(trial, shares=shares) for trial in found.trials))


def test_a_bar_is_divided_by_who_did_the_work() -> None:
    figure = figures.spread(queues("one", 80, 0), queues("two", 30, 10))
    bars = {trace.name: trace for trace in figure.data}
    assert list(bars["0"].x) == [100, 100, 75, 75]  # two trials each
    assert list(bars["1"].x) == [0, 0, 25, 25]
    assert len(set(bars["0"].y)) == 4
    assert "queue pair 1: 25 % (10.0 packets)" in bars["1"].hovertext[-1]


def test_who_only_looked_on_was_not_at_work() -> None:
    table = tables.at_work(queues("one", 1000, 1), queues("two", 30, 10), kind="sent_packets")
    assert list(table["TCP from the VM"]) == ["1", "2"]
    assert table.index.name == "queue pairs at work"
    with pytest.raises(UsageError, match="nothing was counted for each queue"):
        tables.at_work(made.virtio())


def test_only_what_was_counted_has_a_column() -> None:
    figure = figures.spread(queues("one", 80, 0))
    assert len({trace.xaxis for trace in figure.data}) == 1
    with pytest.raises(UsageError, match="nothing was counted for each queue"):
        figures.spread(made.virtio())


def test_a_list_shows_each_item_in_its_own_words() -> None:
    assert str(sentences.points("one", 2)) == "- one\n- 2"
    with pytest.raises(UsageError, match="nothing"):
        sentences.points()


def test_a_column_that_names_its_traffic_names_its_unit_too() -> None:
    both = figures.overview(made.e1000(), made.virtio(), metrics=(("tcp_up_mbps", "tcp_up"),))
    assert "TCP from the VM, Mbit/s" in " ".join(a.text for a in both.layout.annotations)
    cost = figures.overview(made.virtio(), metrics=(("vm_exits_per_packet", "tcp_up"),))
    assert "exits/packet" not in " ".join(a.text for a in cost.layout.annotations)
