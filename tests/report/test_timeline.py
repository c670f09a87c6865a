"""Timelines drawn and tabulated, from recorded traces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import figures, tables
from kvmlab.results.timeline import Timeline
from tests.measure.test_timeline import RECORDED, timeline


@pytest.fixture(scope="module")
def timelines() -> tuple[Timeline, ...]:
    return tuple(replace(timeline(scheme), untraced_us=80.0) for scheme in RECORDED)


def test_a_lane_is_as_long_as_its_share(timelines: tuple[Timeline, ...]) -> None:
    one = timelines[1]
    figure = figures.timeline(one)
    solid = [t for t in figure.data if t.type == "bar" and t.marker.opacity == 1]
    assert {trace.name: sum(trace.x) for trace in solid} == pytest.approx(
        {lane: one.us(lane) for lane in one.lanes}
    )
    for trace in solid:
        assert set(trace.y) <= {trace.name}
        assert all(0 <= base <= one.total_us for base in trace.base)
    assert "301 µs (80 µs untraced)" in figure.layout.meta["title"]
    assert "Recorded on the embedded host." in figure.layout.meta["notice"]


def test_marks_and_wake_ups_are_drawn(timelines: tuple[Timeline, ...]) -> None:
    one = timelines[1]
    figure = figures.timeline(one)
    scatters = [trace for trace in figure.data if trace.type == "scatter"]
    marks = {trace.name: trace.hovertext for trace in scatters if trace.hovertext}
    assert any("ppoll of 15 descriptors" in text for text in marks["system call"])
    assert len(marks["exit"]) == one.count("exit")
    arrows = [a for a in figure.layout.annotations if a.showarrow]
    assert [(a.ay, a.y) for a in arrows] == [("softirq", "main loop"), ("main loop", "vCPU in KVM")]
    assert {"VM exit", "system call", "wake-up"} <= {t.name for t in scatters if t.x == (None,)}


def test_several_are_on_one_scale(timelines: tuple[Timeline, ...]) -> None:
    figure = figures.timeline(*timelines)
    longest = max(one.total_us for one in timelines)
    for axis in figure.select_xaxes():
        assert axis.range == (0, pytest.approx(longest * 1.01))
    headings = " ".join(a.text for a in figure.layout.annotations if a.text)
    assert all(f"{one.label}: one echo in" in headings for one in timelines)
    assert figure.layout.height > 4 * 150


def test_what_could_not_be_traced_is_written_on_the_figure(timelines: tuple[Timeline, ...]) -> None:
    reason = "irq/softirq_entry (softirqs from what they interrupt)"
    figure = figures.timeline(replace(timelines[0], missing=(reason,)))
    assert reason in figure.layout.meta["notice"]
    assert reason not in figures.timeline(timelines[0]).layout.meta["notice"]


def test_nothing_and_two_clocks_are_refused(timelines: tuple[Timeline, ...]) -> None:
    with pytest.raises(UsageError, match="no timeline to draw"):
        figures.timeline()
    with pytest.raises(UsageError, match="no timeline to tabulate"):
        tables.timeline()
    with pytest.raises(UsageError, match="different clocks"):
        figures.timeline(timelines[0], replace(timelines[1], clock=Clock.WALL))


def test_the_table_adds_up_to_the_round_trip(timelines: tuple[Timeline, ...]) -> None:
    frame = tables.timeline(*timelines)
    assert list(frame.columns) == list(RECORDED)
    for one in timelines:
        column = frame[one.label]
        assert column["round trip"] == f"{one.total_us:.0f} µs"
        assert column["untraced, median"] == "80 µs"
        assert column["VM exits"] == str(one.count("exit"))
        assert column["without the lab's share"] == f"{one.total_us - one.lab_us:.0f} µs"
        sums = ["round trip", "without the lab's share", "untraced, median"]
        lanes = column.drop(index=sums).filter(regex="^(?!VM exits)")
        us = [int(text.split(" µs")[0]) for text in lanes if " µs (" in text]
        assert sum(us) == pytest.approx(one.total_us, abs=len(us))
    assert frame.loc["main loop", "sriov-vf"] == "–"
    assert str(frame.loc["vhost worker", "virtio-vhost"]).endswith("%)")
