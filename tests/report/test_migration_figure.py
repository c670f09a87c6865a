"""The figure and the table of migrations: phases, the hole, and by which NIC packets left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.errors import UsageError
from kvmlab.report import figures, tables
from kvmlab.results.migration import (
    MigrationEvent,
    Packet,
    load_migration,
    save_migration,
)
from tests.report.builders import MIGRATION

EVENTS = (
    MigrationEvent(1.0, "A", "status setup"),
    MigrationEvent(1.1, "A", "status active"),
    MigrationEvent(1.1, "A", "pass 1"),
    MigrationEvent(2.0, "A", "pass 2"),
    MigrationEvent(2.5, "A", "STOP"),
    MigrationEvent(2.8, "B", "RESUME"),
)


RESULT = replace(
    MIGRATION,
    emulated="Embedded host.",
    elapsed_ms=1700,
    transferred_bytes=100 << 20,
    rounds=2,
    seconds=4.0,
    sent=5,
    packets=(
        Packet(1, 0.5, 0.2, "virtio on A"),
        Packet(2, 2.4, 0.9, "virtio on A"),
        Packet(4, 2.9, 0.3, "virtio on B"),
        Packet(5, 3.5, 0.2, "VF"),
    ),
    events=EVENTS,
)


def test_phases_are_bars_from_the_begin_of_the_migration() -> None:
    figure = figures.migration(RESULT)
    bars = {bar.y[0]: (bar.base[0], bar.x[0]) for bar in figure.data if bar.type == "bar"}
    assert bars["pre-copy, round 1"] == pytest.approx((0.1, 0.9))
    assert bars["stop"] == pytest.approx((1.5, 0.3))
    assert bars["VF back"] == pytest.approx((1.8, 0.7))


def test_round_trips_are_coloured_by_the_nic_that_sent_the_answer() -> None:
    figure = figures.migration(RESULT)
    answers = {dots.name: list(dots.x) for dots in figure.data if dots.type == "scatter"}
    assert answers["virtio on A"] == pytest.approx([-0.5, 1.4])
    assert answers["VF"] == pytest.approx([2.5])


def test_the_hole_is_marked_with_its_length() -> None:
    # Of these four packets, the first two are farthest apart.
    figure = figures.migration(RESULT)
    (shape,) = {(shape.x0, shape.x1) for shape in figure.layout.shapes}
    assert shape == pytest.approx((-0.5, 1.4))
    assert any("hole: 1900 ms" in note.text for note in figure.layout.annotations)
    assert "Embedded host." in figure.layout.meta["notice"]


def test_a_stream_is_drawn_as_throughput() -> None:
    stream = ((0.0, 0), (1.0, 1_000_000), (2.0, 1_000_000), (3.0, 3_000_000))
    figure = figures.migration(replace(RESULT, packets=(), traffic="tcp", stream=stream))
    (line,) = (line for line in figure.data if line.type == "scatter")
    assert list(line.y) == pytest.approx([8.0, 0.0, 16.0])


def test_without_traffic_there_is_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="no traffic"):
        figures.migration(replace(RESULT, packets=()))
    with pytest.raises(UsageError, match="no migration"):
        tables.migrations()


def test_a_stored_migration_is_drawn_as_a_fresh_one(tmp_path: Path) -> None:
    loaded = load_migration(save_migration(RESULT, tmp_path))
    assert loaded == RESULT
    assert figures.migration(loaded) == figures.migration(RESULT)
    with pytest.raises(UsageError, match="no migration"):
        load_migration(tmp_path)


def test_a_table_has_a_column_for_each_migration() -> None:
    frame = tables.migrations(RESULT, replace(RESULT, remedy="no learning", traffic="receives"))
    assert list(frame.columns) == ["1. virtio, vhost", "2. virtio, vhost"]
    assert list(frame.loc["downtime by libvirt"]) == ["300 ms", "300 ms"]
    assert frame.loc["the VM"].iloc[1] == "only receives datagrams; no learning"
    assert frame.loc["packets lost"].iloc[0] == "1 of 5"
