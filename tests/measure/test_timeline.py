"""Timelines of one echo, from traces that an embedded host really printed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.clock import Clock
from kvmlab.domain import VmThreads
from kvmlab.errors import KvmlabError, MeasureError
from kvmlab.hosts import parse_output
from kvmlab.measure.timeline import (
    EchoEnds,
    lanes,
    median_echo,
    parse_events,
    parse_missing,
)
from kvmlab.results.timeline import LANES, Timeline
from kvmlab.schemes import FullEmulation, SriovVf, Virtio

if TYPE_CHECKING:
    from kvmlab.lab import Lab

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
RECORDED = ("e1000", "virtio-qemu", "virtio-vhost", "sriov-vf")


def ends(scheme: str) -> EchoEnds:
    vhost = (390,) if scheme == "virtio-vhost" else ()
    return EchoEnds(VmThreads(261, (265,), vhost, (263, 264, 267)), "p2p1", "p2p2")


def recorded(scheme: str) -> str:
    text = (DATA / f"timeline-{scheme}.txt").read_text()
    return parse_output(text).text("trace")


def timeline(scheme: str, text: str = "", missing: tuple[str, ...] = ()) -> Timeline:
    events = parse_events(text or recorded(scheme))
    begin, end = median_echo(events, ends(scheme))
    spans, path, marks = lanes(events, ends(scheme), begin, end)
    return Timeline(
        scheme=scheme,
        label=scheme,
        host="recorded host",
        clock=Clock.VIRTUAL,
        emulated="Recorded on the embedded host.",
        spans=spans,
        path=path,
        marks=marks,
        total_us=float(end - begin),
        untraced_us=None,
        missing=missing,
    )


def listing(one: Timeline) -> str:
    """Return the path and the marks as text, in order of time."""
    rows = [
        *((s.begin_us, 0, f"{s.begin_us:6.0f} {s.us:5.0f} µs  {s.lane}") for s in one.path),
        *(
            (
                m.at_us,
                1,
                f"{m.at_us:6.0f}             {m.kind}: {m.name}"
                + (f" -> {m.to_lane}" if m.to_lane else ""),
            )
            for m in one.marks
        ),
    ]
    lines = [text for _, _, text in sorted(rows, key=lambda row: row[:2])]
    return "\n".join([*lines, f"{one.total_us:6.0f} round trip", ""])


@pytest.mark.parametrize("scheme", RECORDED)
def test_an_echo_is_as_recorded(scheme: str, golden: Callable[[Path, str], None]) -> None:
    golden(DATA / f"timeline-{scheme}.golden.txt", listing(timeline(scheme)))


@pytest.mark.parametrize("scheme", RECORDED)
def test_the_path_adds_up_to_the_round_trip(scheme: str) -> None:
    one = timeline(scheme)
    assert sum(span.us for span in one.path) == pytest.approx(one.total_us)
    assert one.path[0].begin_us == 0
    assert one.path[-1].end_us == one.total_us
    assert all(b.begin_us == a.end_us for a, b in itertools.pairwise(one.path))
    assert sum(one.us(lane) for lane in LANES) == pytest.approx(one.total_us)
    # One CPU: nothing runs beside the path.
    assert sum(span.us for span in one.spans) == pytest.approx(one.total_us)


def test_each_scheme_spends_the_time_where_the_article_says() -> None:
    e1000, qemu, vhost, vf = map(timeline, RECORDED)
    assert e1000.us("vCPU in QEMU") > 50
    assert qemu.us("main loop") > 0.4 * qemu.total_us
    assert vhost.us("main loop") == vf.us("main loop") == 0
    assert vhost.us("vhost worker") > 0
    assert vf.us("vhost worker") == 0
    totals = [one.total_us for one in (e1000, qemu, vhost, vf)]
    assert totals == sorted(totals, reverse=True)


def test_the_peers_way_to_sleep_is_the_labs_and_not_the_schemes() -> None:
    """On one CPU the ping that has sent its echo delays whoever the echo woke, in each scheme."""
    timelines = [timeline(scheme) for scheme in RECORDED]
    shares = [one.lab_us for one in timelines]
    assert min(shares) > 10
    assert max(shares) - min(shares) < 8
    for one in timelines:
        after = [span for span in one.path if span.lane == "peer after sending"]
        sent_us = next(m.at_us for m in one.marks if m.kind == "packet" and m.name == "p2p2")
        assert all(span.begin_us > sent_us for span in after)
        assert one.us("peer") < 20
        receiving = next(m for m in one.marks if m.name == "recvmsg")
        assert receiving.lane == "peer after sending"


def test_marks_name_what_happened() -> None:
    one = timeline("virtio-qemu")
    calls = [mark.name for mark in one.marks if mark.kind == "system call"]
    assert calls[0] == "sendto"
    assert any(name.startswith("ppoll of 1") for name in calls)
    wake_ups = {(m.lane, m.to_lane) for m in one.marks if m.kind == "wake-up"}
    assert ("softirq", "main loop") in wake_ups
    assert ("main loop", "vCPU in KVM") in wake_ups
    devices = [mark.name for mark in one.marks if mark.kind == "packet"]
    assert devices[0] == devices[-1] == "p2p2"
    assert one.count("exit", "guest") == one.count("exit") > 0


def test_without_the_exits_the_guest_is_a_part_of_kvm() -> None:
    whole = recorded("virtio-vhost")
    blind = "\n".join(
        line for line in whole.splitlines() if ": kvm_entry:" not in line and "kvm_exit" not in line
    )
    one = timeline("virtio-vhost", blind)
    assert one.us("guest") == 0
    assert one.us("vCPU in KVM") + one.us("vCPU in QEMU") == pytest.approx(
        sum(
            timeline("virtio-vhost").us(lane)
            for lane in LANES
            if lane in ("guest", "vCPU in KVM", "vCPU in QEMU")
        )
    )


def test_several_cpus_have_one_path() -> None:
    """While the vCPU still runs on one CPU, the vhost worker that it woke runs on another."""
    template = "{comm}-{tid} [{cpu:03}] d..1. {us:.6f}: {event}"
    threads = {"CPU 0/KVM": 265, "vhost-261": 390, "swapper/1": 0, "ping": 500}
    rows = [
        ("ping", 0, 10, "sys_enter: NR 44 (3, 5, 0, 0, 0, 0)"),
        ("ping", 0, 12, "net_dev_start_xmit: dev=p2p2 skbaddr=ff len=1045"),
        (
            "ping",
            0,
            14,
            "sched_switch: prev_comm=ping prev_pid=500 prev_prio=1 prev_state=S ==> "
            "next_comm=CPU 0/KVM next_pid=265 next_prio=120",
        ),
        ("CPU 0/KVM", 0, 16, "kvm_entry: vcpu 0, rip 0x1"),
        (
            "swapper/1",
            1,
            20,
            "sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=1 "
            "prev_state=R ==> next_comm=vhost-261 next_pid=390 next_prio=120",
        ),
        (
            "vhost-261",
            1,
            30,
            "sched_switch: prev_comm=vhost-261 prev_pid=390 prev_prio=1 "
            "prev_state=S ==> next_comm=swapper/1 next_pid=0 next_prio=120",
        ),
        ("CPU 0/KVM", 0, 36, "kvm_exit: vcpu 0 reason HLT rip 0x1"),
        ("CPU 0/KVM", 0, 40, "netif_receive_skb: dev=p2p2 skbaddr=fe len=1031"),
    ]
    text = "\n".join(
        template.format(comm=comm, tid=threads[comm], cpu=cpu, us=us / 1e6, event=event)
        for comm, cpu, us, event in rows
    )
    one = timeline("virtio-vhost", text)
    lanes_in_order = [(span.lane, span.us) for span in one.path]
    assert lanes_in_order == [
        ("peer", 4.0),
        ("vCPU in KVM", 2.0),
        ("guest", 4.0),
        ("vhost worker", 10.0),
        ("guest", 6.0),
        ("vCPU in KVM", 4.0),
    ]
    assert sum(span.us for span in one.spans if span.lane == "guest") == 20
    assert [mark.name for mark in one.marks if mark.kind == "exit"] == ["hlt"]


def test_missing_tracepoints_are_listed_with_what_they_tell() -> None:
    text = "=== missing irq/softirq_entry\n=== missing raw_syscalls/sys_enter\n=== end\n"
    assert parse_missing(text) == (
        "irq/softirq_entry (softirqs from what they interrupt)",
        "raw_syscalls/sys_enter (KVM from QEMU, and system calls)",
    )
    with pytest.raises(MeasureError, match="no tracepoint sched/sched_switch"):
        parse_missing("=== missing sched/sched_switch\n=== end\n")


def test_echoes_without_an_end_are_no_timeline() -> None:
    events = [event for event in parse_events(recorded("e1000")) if "p2p2" not in event.rest]
    with pytest.raises(MeasureError, match="none from its begin to its end"):
        median_echo(events, ends("e1000"))


@settings(max_examples=40)
@given(share=st.floats(0, 1), scheme=st.sampled_from(RECORDED))
def test_a_trace_that_is_cut_off_is_a_timeline_or_an_error(share: float, scheme: str) -> None:
    whole = recorded(scheme)
    try:
        one = timeline(scheme, whole[: int(share * len(whole))] or " ")
    except KvmlabError:
        return
    assert sum(span.us for span in one.path) == pytest.approx(one.total_us)


@pytest.mark.host
@pytest.mark.timeout(900)
def test_timelines_on_the_host(lab: Lab) -> None:
    lab.inspect()
    totals = []
    for scheme in (FullEmulation("e1000"), Virtio(backend="vhost"), SriovVf()):
        with lab.plan(scheme).applied(lab.vm) as nic:
            one = lab.timeline(nic)
        assert one.missing == ()
        assert sum(span.us for span in one.path) == pytest.approx(one.total_us)
        assert one.untraced_us is not None
        assert 0.5 * one.untraced_us < one.total_us < 2 * one.untraced_us
        assert one.us("guest") > 0
        assert one.count("exit") > 0
        totals.append(one.total_us)
    assert totals == sorted(totals, reverse=True)
    look = ("sh", "-c", "ls -d /sys/kernel/tracing/instances/kvmlab-* 2>/dev/null; true")
    assert lab.host.run(look, timeout_sec=300).stdout == ""
