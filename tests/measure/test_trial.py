"""A whole measurement on a recorded host and VM: trials, session and meters without a host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvmlab.errors import MeasureError, OutputError, UsageError
from kvmlab.measure import Progress, Subject, Trials, measure
from kvmlab.measure.counters import Detail
from kvmlab.measure.meters import Meters
from kvmlab.measure.session import turns
from kvmlab.measure.trial import detail
from kvmlab.measure.workloads import workload
from kvmlab.results import Result
from tests.measure.record import TRIALS
from tests.measure.recorded import DATA, Document, edited, meters_talk, recording

VHOST = DATA / "recorded-vhost"
Edit = Callable[[Document, Document], None]


def measured(folder: Path, trials: Trials = TRIALS) -> Result:
    subject = recording(folder)
    return measure(subject.host, subject.vm, subject.nic, trials)


def guest_reports(guest: Document, *words: str) -> list[dict[str, Any]]:
    """Return the replies to the client that has all these words in its command."""
    replies = [reply for reply in guest["replies"] if set(words) <= set(reply["argv"])]
    assert replies
    return replies


@pytest.fixture(scope="module")
def result() -> Result:
    return measured(VHOST)


def test_a_measurement_is_a_result_with_its_trials(result: Result) -> None:
    assert [trial.workload for trial in result.trials] == list(TRIALS.workloads)
    assert result.scheme == "virtio-vhost"
    assert result.summary("tcp_up_mbps").median > 100
    assert 1 < result.summary("rtt_p50_us").median < 10_000
    assert result.summary("udp_received_pps").median > 1000
    assert not [trial.flags for trial in result.trials if trial.flags]
    raw = {item.name for item in result.raw}
    assert raw >= {"path-trace.txt", "tcp_up-01-client.json", "tcp_up-01-server.txt"}
    # An echo has no server; what the one of the trial before printed is not its own.
    assert "latency-01-server.txt" not in raw
    assert result.path is not None
    assert result.path.devices("peer") == ("p2p2",)


def test_costs_are_those_of_the_workload(result: Result) -> None:
    costs = {
        trial.workload: {cost.name: cost.part for cost in trial.costs} for trial in result.trials
    }
    stream, round_trip = costs["tcp_up"], costs["latency"]
    assert {"vm_exits", "cpu_us", "syscalls", "instructions"} <= stream.keys()
    assert {"vm_exits", "cpu_us", "syscalls"} <= round_trip.keys()
    assert "instructions" not in round_trip
    # The client of a round trip spins until its next packet: the guest's time means nothing.
    latency = next(trial for trial in result.trials if trial.workload == "latency")
    assert not [cost for cost in latency.costs if cost.part.startswith("guest")]


def test_metadata_and_conditions_stand_beside_the_figures(result: Result) -> None:
    assert result.meta["missing_costs"] == {}
    assert result.meta["self_check"]["counted"]["userspace_exits"] > 0
    assert result.meta["host"]["files"]["/proc/sys/net/ipv4/tcp_congestion_control"]
    assert result.meta["ended"]["pps"]["why"] == "1 trials, as was asked for"
    conditions = {condition.name for condition in result.trials[0].conditions}
    assert {"client_sec", "others_cpu_percent", "idle_percent"} <= conditions


def test_progress_is_reported_step_by_step() -> None:
    steps: list[Progress] = []
    subject = recording(VHOST)
    measure(subject.host, subject.vm, subject.nic, TRIALS, progress=steps.append)
    assert [step.done for step in steps] == [0, 1, 2, 3, 4, 5]
    assert {step.total for step in steps} == {5}
    assert steps[-1].what == "done"
    assert "tcp_up, trial 1 of 1" in steps[2].what


def test_a_client_that_fails_is_quoted(tmp_path: Path) -> None:
    def fail(host: Document, guest: Document) -> None:
        for reply in guest_reports(guest, "iperf3", "-c"):
            reply |= {"returncode": 1, "stderr": ["iperf3: error - unable to connect\n"]}

    with pytest.raises(MeasureError, match="client of the workload `tcp_up` failed") as failed:
        measured(edited(VHOST, tmp_path / "r", fail))
    assert "unable to connect" in failed.value.evidence


def test_a_report_that_is_cut_short_is_an_output_error_after_three_attempts(
    tmp_path: Path,
) -> None:
    def cut(host: Document, guest: Document) -> None:
        for reply in guest_reports(guest, "iperf3", "-c"):
            reply["stdout"] = reply["stdout"][:20]
        repeat_trial(host, "tcp", 3)

    with pytest.raises(OutputError, match="no complete JSON"):
        measured(edited(VHOST, tmp_path / "r", cut), TRIALS)


def repeat_trial(host: Document, protocol: str, times: int) -> None:
    """Let the meters answer the first trial's commands several times."""
    events = meters_talk(host)["events"]
    begin = next(
        index
        for index, (kind, text) in enumerate(events)
        if kind == "sent" and text.startswith("serve\t") and f"\t{protocol}\t" in text
    )
    stop = next(index for index in range(begin, len(events)) if events[index] == ["sent", "stop"])
    end = events.index(["line", "=== end"], stop) + 1
    trial, more = events[begin:end], [["sent", "empty\t1"], ["line", "=== end"]]
    meters_talk(host)["events"] = [*events[:end], *(more + trial) * (times - 1), *events[end:]]


def test_a_trial_that_missed_its_traffic_is_repeated_and_flagged(tmp_path: Path) -> None:
    def miss(host: Document, guest: Document) -> None:
        repeat_trial(host, "tcp", 2)
        events = meters_talk(host)["events"]
        ready = events.index(["line", "=== ready"])
        end = events.index(["line", "=== end"], ready)
        events[ready + 1 : end] = [["line", "=== no traffic"]]

    result = measured(edited(VHOST, tmp_path / "r", miss))
    assert result.trials[0].flags == ("repeated: an attempt missed the traffic",)
    assert result.trials[0].window.packets > 100


def test_costs_that_the_kernel_refuses_are_missing_with_its_reason(tmp_path: Path) -> None:
    def refuse(host: Document, guest: Document) -> None:
        talk, is_map = meters_talk(host), False
        events: list[list[str]] = []
        for kind, text in talk["events"]:
            command = text.partition("\t")[0]
            if kind == "sent" and command in ("attach", "empty"):
                # Nobody asks for programs where there are no maps; their answers go too.
                is_map = True
                continue
            if is_map and [kind, text] == ["line", "=== end"]:
                is_map = False
                continue
            if kind == "sent":
                text = "\t".join(w for w in text.split("\t") if not w.startswith("map:"))
            if text.startswith("=== fields "):
                text = "=== refused a map: Operation not permitted"
            events.append([kind, text])
        talk["events"] = without_map_values(events)

    result = measured(edited(VHOST, tmp_path / "r", refuse))
    missing = result.meta["missing_costs"]
    assert set(missing) == {
        "instructions",
        "vm_exits",
        "userspace_exits",
        "guest_interrupts",
        "syscalls",
    }
    assert missing["vm_exits"] == "a map: Operation not permitted"
    with pytest.raises(UsageError, match=r"could not be counted there \(a map: Operation not"):
        result.summary("vm_exits_per_packet", "tcp_up")
    stream = result.trials[0]
    assert stream.cost("vm_exits") is None
    assert stream.cost("cpu_us", "guest (sampled)") is not None
    assert stream.cost("context_switches")


def without_map_values(events: list[list[str]]) -> list[list[str]]:
    lines = iter(events)
    left = []
    for event in lines:
        if event[0] == "line" and event[1].startswith("==> map:"):
            next(lines)
        else:
            left.append(event)
    return left


def test_a_counter_that_stays_at_zero_is_not_trusted(tmp_path: Path) -> None:
    def stand_still(host: Document, guest: Document) -> None:
        events = meters_talk(host)["events"]
        begin = events.index(["line", "==> map:0 <=="]) + 1
        end = events.index(["line", "==> map:0 <=="], begin) + 1
        events[end] = events[begin]

    with pytest.raises(MeasureError, match="did not count what was provoked: vm_exits") as blind:
        measured(edited(VHOST, tmp_path / "r", stand_still))
    assert "userspace_exits" in blind.value.message


def test_meters_that_end_in_a_window_are_quoted(tmp_path: Path) -> None:
    def end(host: Document, guest: Document) -> None:
        talk = meters_talk(host)
        ready = talk["events"].index(["line", "=== ready"])
        talk |= {
            "events": [*talk["events"][: ready + 1], ["ended", ""]],
            "returncode": 9,
            "stderr": "a map: Bad file descriptor",
        }

    with pytest.raises(MeasureError, match="ended by themselves") as broken:
        measured(edited(VHOST, tmp_path / "r", end))
    assert "Bad file descriptor" in broken.value.evidence


def test_without_perl_the_meters_name_what_is_needed(tmp_path: Path) -> None:
    def no_perl(host: Document, guest: Document) -> None:
        talk = meters_talk(host)
        talk |= {
            "events": [talk["events"][0], ["ended", ""]],
            "returncode": 127,
            "stderr": "sh: 1: exec: perl: not found",
        }

    with pytest.raises(MeasureError, match="meters cannot be started") as missing:
        measured(edited(VHOST, tmp_path / "r", no_perl))
    assert "perl-base" in missing.value.todo
    assert "not found" in missing.value.evidence


def test_a_server_that_does_not_come_up_is_quoted(tmp_path: Path) -> None:
    def refuse(host: Document, guest: Document) -> None:
        events = meters_talk(host)["events"]
        serve = next(index for index, (_, text) in enumerate(events) if text.startswith("serve\t"))
        events[serve + 1 : serve + 2] = [
            ["line", "=== refused no server: iperf3: unable to start listener"],
            ["line", "=== end"],
        ]

    with pytest.raises(MeasureError, match=r"server `timeout .*` does not run") as silent:
        measured(edited(VHOST, tmp_path / "r", refuse))
    assert "unable to start listener" in silent.value.evidence


def test_a_window_that_nobody_waited_for_ends_the_meters() -> None:
    played = recording(VHOST)
    host, subject = played.host, Subject.of(played.host, played.vm, played.nic)
    work = workload("tcp_up", TRIALS.on(host.clock), played.nic.peer_ip)
    with Meters(host) as meters:
        meters.set_up(subject, Detail.FULL)
        begin, end = meters.snapshot("begin"), meters.snapshot("end")
        assert meters.pair(begin, end).seconds > 0
        meters.set_up(subject, Detail.FULL)
        meters.serve(work.server, work.listens, work.port)
        meters.arm(0, 0.6, await_server=True)
        # A client that cannot be started leaves the window armed: nothing may wait for it.
        assert meters.stop_server() == ""
        assert meters.window() is None


def test_the_detail_fits_the_workload() -> None:
    plain, full = Trials(), Trials(full_costs=True)
    stream, echo = workload("tcp_up", plain, "192.0.2.1"), workload("latency", plain, "192.0.2.1")
    assert (detail(stream, plain), detail(stream, full)) == (Detail.STREAM, Detail.FULL)
    assert detail(echo, plain) is detail(echo, full) is Detail.ROUND_TRIP


def test_turns_are_drawn_from_the_seed_and_fair() -> None:
    names = ("a", "b", "c")
    first, again, other = (turns(names, seed) for seed in (3, 3, 4))
    rounds = [next(first) for _ in range(40)]
    assert rounds == [next(again) for _ in range(40)]
    assert rounds != [next(other) for _ in range(40)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    # Each scheme is first about as often as the others.
    assert all(7 <= sum(order[0] == name for order in rounds) <= 20 for name in names)
