"""Tables of schemes and queues, cells, and the figures of queues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from lxml import html

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import figures, sentences, tables
from kvmlab.report.dataframe import WholeFrame
from kvmlab.results import Condition, Result, Share
from tests.report import builders


def host() -> Result:
    bare = builders.result("host", "the host's port, no VM", (50.0, 50.0), (9_000,), 0.0)
    return replace(bare, trials=tuple(replace(trial, costs=()) for trial in bare.trials))


def test_a_row_has_the_path_the_costs_and_the_share_of_bare_metal() -> None:
    table = tables.side_by_side(builders.e1000(), builders.virtio(), baseline=host())
    row = table.loc["virtio, QEMU back end"]
    assert row["on the path"] == "4: QEMU, tap, bridge, port"
    assert row["exits to QEMU"] == "–"
    assert row["VM exits"] == "0.400"
    assert row["round trip"] == "22.0 ms"
    assert row["of bare metal"] == "0.500"
    assert table.loc["e1000, fully emulated", "on the path"] == "–"


def test_the_baseline_is_last_and_has_no_costs_of_a_vm() -> None:
    table = tables.side_by_side(builders.virtio(), baseline=host())
    assert list(table.index)[-1] == "the host's port, no VM"
    assert set(table.iloc[-1][["VM exits", "host's CPU", "of bare metal"]]) == {"–"}


def test_the_guests_own_time_is_not_the_hosts() -> None:
    row = tables.side_by_side(builders.virtio(), baseline=host()).iloc[0]
    assert row["host's CPU"] == "74.1 µs"  # 40.1 vCPU + 25 QEMU + 9 softirq, of 1,000 packets
    with_guest = builders.virtio()
    cost = replace(with_guest.trials[0].costs[0], name="cpu_us", part="guest", unit="µs")
    trials = tuple(replace(t, costs=(*t.costs, cost)) for t in with_guest.trials)
    again = tables.side_by_side(replace(with_guest, trials=trials), baseline=host())
    assert again.iloc[0]["host's CPU"] == "74.1 µs"


def test_no_result_is_no_table() -> None:
    with pytest.raises(UsageError, match="no result"):
        tables.side_by_side(baseline=host())


def queues(scheme: str, *packets: float) -> Result:
    """Return a result whose queue pairs sent so many packets in every trial."""
    plain = builders.result(scheme, f"virtio, {scheme}", (25.0, 26.0), (9_000,), 1.0)
    shares = tuple(Share("sent_packets", n, value, "packets") for n, value in enumerate(packets))
    return replace(plain, trials=tuple(replace(trial, shares=shares) for trial in plain.trials))


def test_a_bar_is_divided_by_who_did_the_work() -> None:
    figure = figures.spread(queues("one", 80, 0), queues("two", 30, 10))
    bars = {trace.name: trace for trace in figure.data}
    assert list(bars["0"].x) == [100, 100, 75, 75]  # two trials each
    assert list(bars["1"].x) == [0, 0, 25, 25]
    assert len(set(bars["0"].y)) == 4
    assert "queue pair 1: 25 % (10.0 packets)" in bars["1"].hovertext[-1]


def test_less_than_a_hundredth_of_the_work_is_none() -> None:
    table = tables.at_work(queues("one", 1000, 1), queues("two", 30, 10), kind="sent_packets")
    assert list(table["TCP from the VM"]) == ["1", "2"]
    assert table.index.name == "queue pairs at work"
    with pytest.raises(UsageError, match="nothing was counted for each queue"):
        tables.at_work(builders.virtio())


def channels(scheme: str, idle: float, *worker_us: float) -> Result:
    """Return a result whose workers took so much CPU time of each window of 2 s."""
    plain = builders.result(scheme, f"virtio, {scheme}", (25.0, 26.0, 30.0), (9_000,), 1.0)
    shares = (
        *(Share("worker_us", number, value, "µs") for number, value in enumerate(worker_us)),
        Share("vcpu_us", 0, 500_000.0, "µs"),
        Share("vcpu_us", 1, 1_500_000.0, "µs"),
    )
    idling = (Condition("idle_percent", "host", idle, "%"),)
    trials = (replace(trial, shares=shares, conditions=idling) for trial in plain.trials)
    return replace(plain, trials=tuple(trials))


def test_the_busiest_worker_is_a_bound_that_more_channels_move() -> None:
    one, two = channels("c1", 3.2, 800_000, 0), channels("c2", 0.0, 400_000, 600_000)
    table = tables.queue_limits(one, two, workload="tcp_up")
    assert table.loc["virtio, c1"].to_dict() == {
        "TCP from the VM": "26.0 Mbit/s",
        "busiest worker": "40 % of a CPU",
        "busiest vCPU": "75 % of a CPU",
        "host's CPUs idle": "3 %",
        "VM exits a packet": "1.00",
        "bound by the busiest worker": "1.00 times",
    }
    # Six tenths of the work in place of all, although it became more.
    assert table.loc["virtio, c2", "bound by the busiest worker"] == "1.67 times"
    assert table.loc["virtio, c2", "busiest worker"] == "30 % of a CPU"


def test_without_counted_workers_there_is_no_bound() -> None:
    with pytest.raises(UsageError, match="nothing was counted for each queue"):
        tables.queue_limits(builders.virtio(), workload="tcp_up")
    with pytest.raises(UsageError, match="no result"):
        tables.queue_limits()


def test_only_what_was_counted_has_a_column() -> None:
    figure = figures.spread(queues("one", 80, 0))
    assert len({trace.xaxis for trace in figure.data}) == 1
    with pytest.raises(UsageError, match="nothing was counted for each queue"):
        figures.spread(builders.virtio())


def test_a_list_prints_each_item() -> None:
    assert str(sentences.bullet_list("one", 2)) == "- one\n- 2"
    with pytest.raises(UsageError, match="nothing"):
        sentences.bullet_list()


def test_a_column_names_its_workload_and_its_unit() -> None:
    both = figures.overview(
        builders.e1000(), builders.virtio(), metrics=(("tcp_up_mbps", "tcp_up"),)
    )
    assert "TCP from the VM, Mbit/s" in " ".join(a.text for a in both.layout.annotations)
    cost = figures.overview(builders.virtio(), metrics=(("vm_exits_per_packet", "tcp_up"),))
    assert "exits/packet" not in " ".join(a.text for a in cost.layout.annotations)


@dataclass(frozen=True)
class Threads:
    """Value without a text of its own."""

    pid: int
    vcpus: tuple[int, ...]


@dataclass(frozen=True)
class Town:
    """Value with a text of its own."""

    name: str

    def __str__(self) -> str:
        return self.name.upper()


@dataclass(frozen=True)
class Cells:
    """One value of each kind that a table meets."""

    threads: Threads
    town: Town
    clock: Clock
    on: bool
    pair: tuple[int, ...]
    towns: tuple[Town, ...]
    nothing: object


def test_no_cell_is_a_raw_repr() -> None:
    cells = Cells(
        Threads(7, (8, 9)), Town("oslo"), Clock.WALL, True, (0, 1), (Town("a"), Town("b")), None
    )
    row = tables.rows(
        [cells], "on", "threads", "town", "clock", "pair", "towns", "nothing"
    ).reset_index()
    assert list(row.iloc[0]) == ["on", "pid 7, vcpus 8, 9", "OSLO", "wall", "0, 1", "A, B", "–"]


def test_cells_begin_at_the_left_without_a_style_of_the_page() -> None:
    """JupyterLab aligns cells to the right, and drops a <style> from what it does not trust."""
    page = html.fromstring(WholeFrame({"cell": ["<b>"]})._repr_html_())
    styles = [cell.get("style") for cell in page.iter("th", "td")]
    assert set(styles) == {"text-align: left;"}
    assert not [*page.iter("style")]


@pytest.mark.parametrize(
    "table", [tables.summary, tables.comparisons, tables.emitters, tables.reach]
)
def test_a_table_of_nothing_is_refused(table: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match="no result to put into a table"):
        table()
