"""The recording of a migration: each kind of traffic, parsed from what the tools print."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kvmlab.errors import MeasureError, OutputError, UsageError
from kvmlab.hosts import Cable, Host, HostKind, RecordedRunner
from kvmlab.migration import MemoryLoad, MigrationOptions
from kvmlab.migration.probe import MigrationProbe, TrafficRecording, parse_recording
from kvmlab.migration.remedies import REMEDIES, remedy
from kvmlab.results.migration import JobSample, MigrationEvent, MigrationResult, Traffic
from kvmlab.serialization import from_json
from tests.migration.recordings import BEGIN, recording
from tests.report.builders import MIGRATION

MAC = "52:54:00:30:a7:b7"


def result_of(recorded: TrafficRecording, traffic: Traffic = "answers") -> MigrationResult:
    return replace(
        MIGRATION,
        traffic=traffic,
        elapsed_ms=3600,
        transferred_bytes=135 << 20,
        seconds=recorded.seconds,
        sent=recorded.sent,
        duplicates=recorded.duplicates,
        reordered=recorded.reordered,
        packets=recorded.packets,
        stream=recorded.stream,
        events=recorded.events,
        cpu_sec=recorded.cpu_sec,
    )


def test_a_vm_that_answers() -> None:
    result = result_of(parse_recording(recording("answers"), traffic="answers"))
    assert (result.sent, len(result.packets), result.lost) == (10, 7, 3)
    assert (result.duplicates, result.reordered) == (1, 1)
    assert result.hole == pytest.approx((2.0, 2.5), abs=1e-5)
    assert result.hole_ms == pytest.approx(500, abs=0.01)
    assert [packet.via for packet in result.packets] == [
        *("VF", "virtio on A", "virtio on A"),
        *("virtio on B", "virtio on B", "virtio on B", "VF"),
    ]
    assert result.rtt_ms(0, 2.2) == pytest.approx(0.345)


def test_its_phases_are_qemus_events() -> None:
    result = result_of(parse_recording(recording("answers"), traffic="answers"))
    phases = {phase.name: (phase.begin_sec, phase.end_sec) for phase in result.phases}
    assert list(phases) == [
        "unplug",
        "pre-copy, round 1",
        "pre-copy, round 2",
        "stop",
        "announce",
        "VF back",
    ]
    assert phases["unplug"] == pytest.approx((0.2, 0.7))
    assert phases["pre-copy, round 2"] == pytest.approx((1.5, 2.05))
    assert phases["stop"] == pytest.approx((2.05, 2.4))
    assert phases["announce"] == pytest.approx((2.4, 2.6))
    assert phases["VF back"] == pytest.approx((2.4, 2.99))
    assert result.span == pytest.approx((0.1, 2.4))


def test_cpu_time_by_part() -> None:
    recorded = parse_recording(recording("answers"), traffic="answers")
    assert recorded.cpu_sec == {
        "other programs": 0.05,
        "QEMU's other threads": 0.5,
        "vCPU": 0.2,
        "libvirtd": 0.3,
        "migration threads": 0.9,
        "vhost": 0.1,
        "the recording": 0.2,
    }


def test_a_vm_that_sends() -> None:
    recorded = parse_recording(recording("sends"), traffic="sends")
    assert [packet.number for packet in recorded.packets] == [5, 6, 9]
    assert (recorded.sent, recorded.duplicates) == (5, 1)
    assert [packet.via for packet in recorded.packets] == ["VF", "virtio on A", "virtio on B"]


def test_a_vm_that_receives() -> None:
    # Two, then none for a while, then the seventh, which says that four were lost; the last is
    # still on its way.
    sums = ((2, 0), (0, 0), (5, 4))
    intervals = [{"sum": {"packets": p, "lost_packets": lost}} for p, lost in sums]
    report = json.dumps({"intervals": intervals})
    recorded = parse_recording(recording("receives"), traffic="receives", received=report)
    assert [packet.number for packet in recorded.packets] == [1, 2, 7]
    assert recorded.sent == 8
    # The hole is between what was sent last and next of what arrived, on the peer's clock.
    assert result_of(recorded, "receives").hole_ms == pytest.approx(100, abs=0.01)
    with pytest.raises(OutputError, match="cannot be read"):
        parse_recording(recording("receives"), traffic="receives", received="iperf3: error")


def test_a_stream() -> None:
    result = result_of(parse_recording(recording("tcp"), traffic="tcp"), "tcp")
    assert result.stream[0] == pytest.approx((0.1, 0))
    assert result.hole == pytest.approx((0.2, 0.5))
    assert result.rate_mbit(0.0, 0.25) == pytest.approx(80.0, rel=1e-4)
    assert result.rate_mbit(0.3, 0.3) is None


def test_figures_for_people() -> None:
    rows = dict(result_of(parse_recording(recording("answers"), traffic="answers")).rows())
    assert rows["hole as the peer sees it"] == "500 ms"
    assert rows["packets lost"] == "3 of 10"
    assert rows["moved"] == "135 MiB in 3 rounds"
    assert "vCPU 0.20" in rows["CPU time, s"]


def test_a_vm_that_goes_on_before_its_memory_is_there() -> None:
    result = result_of(parse_recording(recording("answers"), traffic="answers"))
    assert not result.switched_to_post_copy
    others = tuple(event for event in result.events if event.name != "status completed")
    more = (
        MigrationEvent(2.04, "A", "status postcopy-active"),
        MigrationEvent(3.1, "A", "status completed"),
    )
    switched = replace(result, events=(*others, *more))
    assert switched.switched_to_post_copy
    (phase,) = (phase for phase in switched.phases if phase.name == "post-copy")
    assert (phase.begin_sec, phase.end_sec) == pytest.approx((2.4, 3.1))


def test_figures_of_a_vm_that_writes() -> None:
    result = replace(
        result_of(parse_recording(recording("answers"), traffic="answers")),
        options=str(MigrationOptions(bandwidth_mib=24, auto_converge=True)),
        load=str(MemoryLoad(48, 32)),
        written_mib_per_sec=41.3,
        samples=(JobSample(1.0, 2, 30.0, 44.0, 20), JobSample(2.0, 3, 20.0, 31.0, 50)),
    )
    rows = dict(result.rows())
    assert rows["options"] == "at most 24 MiB/s, auto-converge"
    assert rows["the VM writes"] == "41 MiB/s (48 MiB/s of 32 MiB)"
    assert rows["vCPUs held back, at most"] == "50 %"
    again = from_json(json.loads(json.dumps(result.to_dict())), MigrationResult)
    assert again.samples == result.samples


def test_options_that_cannot_be() -> None:
    for make in (
        lambda: MigrationOptions(bandwidth_mib=0),
        lambda: MigrationOptions(downtime_ms=-5),
        lambda: MigrationOptions(parallel=0),
    ):
        with pytest.raises(UsageError, match="is no option"):
            make()


def test_an_output_that_is_cut_off() -> None:
    with pytest.raises(OutputError, match="cut off"):
        parse_recording(recording("answers")[:-20], traffic="answers")
    text = recording("answers").replace("10 packets transmitted", "")
    with pytest.raises(OutputError, match="no statistics"):
        parse_recording(text, traffic="answers")


def test_a_peer_that_is_another_machine() -> None:
    host = Host(
        spec="recorded",
        kind=HostKind.RECORDED,
        label="a recorded host",
        runner=RecordedRunner(talks=()),
        libvirt_uri="test:///default",
    )
    cable = Cable("p1p1", "198.51.100.10/24", "198.51.100.1/24")
    vm = type("Vm", (), {"host": host})()
    probe = MigrationProbe(vm, cable, traffic="answers", mac=MAC, ports=("p1p1", "p1p2"))
    with pytest.raises(UsageError, match="namespace"):
        probe.__enter__()
    with pytest.raises(MeasureError, match="ended"):
        probe.finish(vm)


def test_remedies_have_ids_of_their_own() -> None:
    assert len({one.id for one in REMEDIES}) == len(REMEDIES)
    assert remedy("no-learning").label == "no learning at the uplink"
    assert remedy("").label == ""
    with pytest.raises(UsageError, match="no remedy"):
        remedy("prayer")


def test_begin_is_the_zero_of_all_times() -> None:
    recorded = parse_recording(recording("answers"), traffic="answers")
    assert BEGIN == 1795898700
    assert min(event.at_sec for event in recorded.events) == pytest.approx(0.1)
