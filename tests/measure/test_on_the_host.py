"""Measurements on the real embedded host."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from kvmlab.changes import Nic
from kvmlab.deadline import until
from kvmlab.errors import MeasureError, OutputError
from kvmlab.hosts import Host, script_text
from kvmlab.lab import Lab
from kvmlab.measure import Subject, Trials
from kvmlab.measure.counters import Detail, SnapshotPair, conditions, costs
from kvmlab.measure.counters.packets import window
from kvmlab.measure.ebpf import programs
from kvmlab.measure.ebpf.assembler import R1, R2, Program
from kvmlab.measure.meters import Meters
from kvmlab.measure.selfcheck import self_check
from kvmlab.measure.trial import run_trial
from kvmlab.measure.workloads import Workload, workload
from kvmlab.results import Raw, Result, Trial, compare, find_runs
from kvmlab.results.journal import recovered
from kvmlab.schemes import FullEmulation, Virtio

pytestmark = [pytest.mark.host, pytest.mark.minutes(3)]

# A claim of "never" needs three trials.
TRIALS = Trials(count=3, seconds=1, workloads=("latency", "pps"))
DEVICE = "p2p2"


@pytest.fixture(scope="module")
def results(lab: Lab) -> tuple[Result, Result]:
    """e1000e and virtio with QEMU's back end, in turns."""
    plans = (lab.plan(FullEmulation("e1000e")), lab.plan(Virtio()))
    emulated, virtio = lab.compare(*plans, trials=TRIALS, jobs=1)
    return emulated, virtio


@pytest.fixture(scope="module")
def nic(lab: Lab, results: tuple[Result, Result]) -> Iterator[Nic]:
    """Attach an e1000e, after the comparison is done."""
    with lab.plan(FullEmulation("e1000e")).applied(lab.vm) as applied:
        yield applied


@pytest.fixture
def subject(lab: Lab, nic: Nic) -> Subject:
    return Subject.of(lab.host, lab.vm, nic)


def left_behind(host: Host) -> str:
    """Return what a measurement could leave on the host, one object a line."""
    look = (
        "for f in /sys/kernel/tracing/instances/kvmlab-* /sys/kernel/tracing/events/kvmlab; do "
        "[ -e $f ] && echo $f; done; "
        # Not processes that have ended and are not yet reaped.
        "for tool in iperf3 sockperf sleep perl; do pgrep -r D,R,S -ax $tool; done; true"
    )
    return host.run(("sh", "-c", look), timeout_sec=300).stdout


def numbers(host: Host, *paths: str) -> list[float]:
    done = host.run(("sh", "-c", 'cat -- "$@"', "sh", *paths), timeout_sec=300)
    return [float(word) for word in done.stdout.split()]


def one_trial(subject: Subject, name: str) -> Trial:
    work = workload(name, TRIALS, subject.nic.peer_ip)
    trial, _ = attempt(subject, work)
    return trial


def attempt(subject: Subject, work: Workload) -> tuple[Trial, tuple[Raw, ...]]:
    with Meters(subject.host) as meters:
        return run_trial(subject, work, TRIALS.on(subject.host.clock), meters, number=1, block=1)


def test_every_workload_was_measured_in_turns(results: tuple[Result, Result]) -> None:
    for result in results:
        assert result.emulated
        assert [t.number for t in result.of("latency")] == [1, 2, 3]
        for metric in ("rtt_p50_us", "udp_received_pps"):
            assert result.summary(metric).median > 0
        raw = {item.name for item in result.raw}
        assert raw >= {"path-trace.txt", "pps-03-client.json", "pps-03-server.txt"}
        # An echo has no server; what the one of the trial before printed is not its own.
        assert not {f"latency-{number:02d}-server.txt" for number in (1, 2, 3)} & raw
    blocks = {t.block for result in results for t in result.trials}
    assert blocks == set(range(1, 2 * TRIALS.count + 1))


def test_what_was_measured_is_a_run_with_its_metadata(
    lab: Lab, results: tuple[Result, Result]
) -> None:
    saved = lab.keep(*results)
    (run,) = find_runs([saved.folder])
    assert (run.status, run.clocks, run.trials) == ("finished", (lab.host.clock.value,), 12)
    assert run.schemes == tuple(result.label for result in results)
    metadata = json.loads((saved.folder / "measurement.json").read_text())
    assert metadata["settings"]["seed"] == TRIALS.seed
    assert metadata["versions"]["kvmlab"]
    assert json.loads((saved.folder / "facts.json").read_text())["kernel"]
    # Every trial was on the disk before the next began, just as the result has it now.
    recorded = {
        (t.workload, t.number): t.metrics for r in recovered(saved.folder) for t in r.trials
    }
    assert len(recorded) == 6
    assert all(recorded[t.workload, t.number] == t.metrics for t in results[1].trials)
    assert results[0].meta["ended"]["pps"]["why"] == "3 trials, as was asked for"


def test_a_trial_has_the_conditions_of_its_machine(results: tuple[Result, Result]) -> None:
    trial = results[0].trials[0]
    conditions_met = {condition.name: condition.value for condition in trial.conditions}
    assert conditions_met["load_count"] >= 0
    assert conditions_met["client_sec"] > 0
    assert conditions_met["emulator_wait_percent"] >= 0


def test_the_article_s_claim_exits_fall_by_an_order_of_magnitude(
    results: tuple[Result, Result],
) -> None:
    for metric in ("vm_exits_per_packet", "userspace_exits_per_packet"):
        comparison = compare(*results, metric, "pps")
        assert comparison.baseline.median > 1
        assert comparison.ratio < 0.1
        assert comparison.verdict == "better"


def test_the_hops_are_those_of_a_bridge(results: tuple[Result, Result]) -> None:
    for result, carrier in zip(results, ("vCPU thread of QEMU", "QEMU main loop"), strict=True):
        path = result.path
        assert path is not None
        tap = result.meta["nic"]["host_device"]
        guest, *_ = path.devices("guest")
        first, bridge, port = path.devices("host")
        assert (guest, first, port) == (result.meta["nic"]["guest_interface"], tap, "p2p1")
        assert path.devices("peer") == ("p2p2",)
        assert path.devices("host", "reply") == (port, bridge, tap)
        assert path.host_hops[0].carrier == carrier
        assert not any(hop.inferred for hop in path.host_hops)


def test_the_counters_were_proven(results: tuple[Result, Result]) -> None:
    for result in results:
        counted = result.meta["self_check"]["counted"]
        for name in ("vm_exits", "userspace_exits", "context_switches", "cpu_us", "packets"):
            assert counted[name] > 0
        assert result.meta["missing_costs"] == {}


def test_sizes_flows_and_load_are_those_of_the_name(lab: Lab, nic: Nic) -> None:
    names = ("tcp_down@64x2", "pps@4096", "pps_down", "latency", "latency_under_up")
    result = lab.measure(nic, Trials(count=1, workloads=names, trace_path=False))
    assert result.workloads == names
    raw = {item.name: item.text for item in result.raw}
    tests = [
        json.loads(raw[f"{name}-01-client.json"])["start"]["test_start"]
        for name in ("tcp_down@64x2", "pps@4096", "pps_down")
    ]
    assert [(one["blksize"], one["num_streams"]) for one in tests] == [(64, 2), (4096, 1), (64, 1)]
    assert [(one["protocol"], one["reverse"]) for one in tests] == [
        ("TCP", 1),
        ("UDP", 0),
        ("UDP", 1),
    ]
    # A datagram of 4,096 bytes is three packets on the wire.
    sent, on_wire = (result.summary(name).median for name in ("udp_sent_pps", "udp_received_pps"))
    assert 2.5 < on_wire / sent < 3.5
    assert result.summary("udp_down_delivered_pps").median > 0
    alone, loaded = (result.summary(name).median for name in ("rtt_p50_us", "loaded_rtt_p50_us"))
    assert loaded > alone
    assert result.summary("load_up_mbps").median > 1
    assert left_behind(lab.host) == ""


def test_a_report_that_is_cut_short_means_another_attempt(subject: Subject) -> None:
    work = workload("pps", TRIALS, subject.nic.peer_ip)
    cut = (
        'report=/run/report.json; "$@" >$report; [ ! -e /run/cut ] || exec cat $report; '
        "touch /run/cut; head -c 1000 $report"
    )
    first = replace(work, client=("sh", "-c", cut, "sh", *work.client))
    trial, raw = attempt(subject, first)
    assert trial.flags[0] == "repeated: the client's report could not be read"
    assert json.loads(raw[0].text)["end"]
    assert trial.metrics
    always = replace(work, client=("sh", "-c", '"$@" | head -c 1000', "sh", *work.client))
    with pytest.raises(OutputError, match="no complete JSON"):
        attempt(subject, always)


def test_metadata_says_what_may_explain_a_figure(results: tuple[Result, Result]) -> None:
    host = results[0].meta["host"]
    assert host["versions"]["qemu"].count(".") == 2
    assert host["files"]["/proc/sys/net/ipv4/tcp_congestion_control"]
    assert results[1].meta["guest"]["driver"]["driver"] == "virtio_net"


def test_nothing_is_left_behind(lab: Lab, results: tuple[Result, Result]) -> None:
    assert left_behind(lab.host) == ""


def test_exits_agree_with_kvms_own_statistics(lab: Lab, subject: Subject) -> None:
    """KVM counts exits itself (debugfs); ours lie between its counts taken inside and outside."""
    listed = lab.host.run(
        ("sh", "-c", f"ls -d /sys/kernel/debug/kvm/{subject.threads.pid}-*"), timeout_sec=60
    ).stdout
    own = [f"{listed.strip()}/{name}" for name in ("exits", "mmio_exits")]
    with Meters(lab.host) as meters:
        meters.set_up(subject, Detail.FULL)
        outer_begin = numbers(lab.host, *own)
        begin = meters.snapshot("begin")
        inner_begin = numbers(lab.host, *own)
        lab.vm.agent.run(("ping", "-c", "30", "-i", "0.05", subject.nic.peer_ip), timeout_sec=600)
        inner_end = numbers(lab.host, *own)
        end = meters.snapshot("end")
        outer_end = numbers(lab.host, *own)
    exits = _total(meters.pair(begin, end), "vm_exits")
    mmio = _total(meters.pair(begin, end), "userspace_exits", "MMIO")
    for ours, index in ((exits, 0), (mmio, 1)):
        assert ours > 0
        assert ours >= 0.98 * (inner_end[index] - inner_begin[index])
        assert ours <= 1.02 * (outer_end[index] - outer_begin[index])
    counted = window(meters.pair(begin, end), DEVICE, DEVICE)
    assert counted.packets >= 60


TRACED = """
cd /sys/kernel/tracing
T=/sys/kernel/tracing/instances/crosscheck
case $1 in
start)
    echo "p:crosscheck/run kvm_arch_vcpu_ioctl_run" >> kprobe_events
    mkdir $T
    cd $T
    echo mono > trace_clock
    echo 16384 > buffer_size_kb
    echo "prev_pid == $2 || next_pid == $2" > events/sched/sched_switch/filter
    for event in kvm/kvm_entry kvm/kvm_exit kvm/kvm_userspace_exit crosscheck/run \\
        irq/softirq_entry irq/softirq_exit; do
        echo "common_pid == $2" > events/$event/filter
        echo 1 > events/$event/enable
    done
    echo 1 > events/sched/sched_switch/enable
    ;;
stop)
    cat $T/trace
    for event in $T/events/*/enable; do echo 0 > $event; done
    rmdir $T
    echo "-:crosscheck/run" >> kprobe_events
    ;;
esac
"""
EVENT = re.compile(r"\s(?P<at>\d+\.\d+): (?P<name>\w+):(?: (?P<rest>.*))?$", re.MULTILINE)


@dataclass
class TracedThread:
    """One thread between two moments, as the kernel's own trace has it."""

    spent_us: dict[str, float]
    exits: Counter[str]


def replay_trace(text: str, tid: int, begin_sec: float, end_sec: float) -> TracedThread:
    """Add up a trace event by event."""
    thread = TracedThread(defaultdict(float), Counter())
    where, before, back = "?", begin_sec, ["?"]
    for event in EVENT.finditer(text):
        at = float(event["at"])
        inside = begin_sec <= at <= end_sec
        thread.spent_us[where] += max(0.0, min(at, end_sec) - max(before, begin_sec)) * 1e6
        before = at
        rest = event["rest"] or ""
        match event["name"]:
            case "kvm_entry":
                where = "guest"
            case "kvm_exit":
                where = "kvm"
                thread.exits[rest.split("reason ")[1].split(" rip")[0]] += inside
            case "kvm_userspace_exit":
                where = "qemu"
            case "run":
                where = "kvm"
            case "sched_switch" if f"next_pid={tid} " in rest:
                where = back.pop()
            case "sched_switch" | "softirq_entry":
                back.append(where)
                where = "softirq" if event["name"] == "softirq_entry" else "away"
            case "softirq_exit":
                where = back.pop()
    return thread


def test_programs_agree_with_the_kernels_own_trace(lab: Lab, subject: Subject) -> None:
    """The kernel writes each event of a vCPU's thread down; they are added up here."""
    (tid,) = subject.threads.vcpus
    runner, name = lab.host.runner, ("crosscheck",)
    with Meters(lab.host) as meters:
        meters.set_up(subject, Detail.FULL)
        runner.run(("sh", "-c", TRACED, *name, "start", str(tid)), timeout_sec=300, root=True)
        begin = meters.snapshot("begin")
        lab.vm.agent.run(("ping", "-c", "40", "-i", "0.01", subject.nic.peer_ip), timeout_sec=600)
        end = meters.snapshot("end")
        stop = ("sh", "-c", TRACED, *name, "stop")
        trace = runner.run(stop, timeout_sec=600, root=True).stdout
    traced = replay_trace(trace, tid, begin.at_ns / 1e9, end.at_ns / 1e9)
    ours = {(cost.name, cost.part): cost.value for cost in costs(meters.pair(begin, end))}
    assert traced.exits["npf"] > 100
    for reason, count in traced.exits.items():
        # The trace's clock and the map are read one after the other.
        assert ours["vm_exits", reason] == pytest.approx(count, abs=3), reason
    assert traced.spent_us["guest"] > 1000
    assert ours["cpu_us", "guest"] == pytest.approx(traced.spent_us["guest"], rel=0.03)
    # Writing an event down takes microseconds at the edge of two parts, once for each round.
    rounds = ours["userspace_exits", "MMIO"]
    more_us = ours["cpu_us", "vCPU in QEMU"] - traced.spent_us["qemu"]
    assert traced.spent_us["qemu"] > 10 * rounds
    assert 0 <= more_us < 5 * rounds


def test_a_program_that_the_kernel_refuses_is_refused_in_its_words(lab: Lab) -> None:
    into_nowhere = Program().load(R2, R1, 4096).end().assembled()
    argv = ("sh", "-c", 'exec perl - "$@"', "meters.pl", "64")
    with lab.host.runner.spawn(argv, root=True) as process:
        process.send(script_text("kvmlab.measure", "meters.pl"))
        assert process.expect("=== end", timeout_sec=300) == ([], "")
        process.send(f"attach\t0\t{programs.Attached('raw', 'kvm_entry', into_nowhere).word}\n")
        (refusal,), _ = process.expect("=== end", timeout_sec=300)
        # It goes on.
        process.send("empty\t0\n")
        assert process.expect("=== end", timeout_sec=300) == ([], "")
    assert refusal.startswith("=== refused the program of kvm_entry")
    assert "off=4096" in refusal
    assert left_behind(lab.host) == ""


def test_where_no_program_can_be_loaded_the_result_says_what_is_missing(lab: Lab, nic: Nic) -> None:
    formats = [f"/sys/kernel/tracing/events/{event}/format" for event in programs.RECORDS]
    for path in formats:
        lab.host.run(("mount", "--bind", "/dev/null", path), timeout_sec=300, root=True)
    try:
        result = lab.measure(nic, Trials(count=1, workloads=("pps",), full_costs=True))
    finally:
        for path in formats:
            lab.host.run(("umount", path), timeout_sec=300, root=True)
    missing = result.meta["missing_costs"]
    assert {"vm_exits", "userspace_exits", "guest_interrupts", "instructions"} == missing.keys()
    assert "kvm_exit has no field exit_reason" in missing["vm_exits"]
    (trial,) = result.trials
    parts = {cost.part: cost.value for cost in trial.costs if cost.name == "cpu_us"}
    assert parts["guest (sampled)"] >= 0
    assert parts["vCPU outside the guest"] > 1000
    assert trial.cost("vm_exits") is None
    assert trial.cost("syscalls", "ioctl") is not None
    assert left_behind(lab.host) == ""


def _total(pair: SnapshotPair, name: str, part: str | None = None) -> float:
    return sum(
        cost.value for cost in costs(pair) if cost.name == name and part in (None, cost.part)
    )


def test_cpu_time_and_syscalls_agree_with_the_process_accounting(
    lab: Lab, subject: Subject
) -> None:
    """The kernel's accounting of the QEMU process: CPU time in ticks, calls that read or write."""
    process = f"/proc/{subject.threads.pid}"

    def accounted() -> tuple[int, int]:
        look = ("cat", f"{process}/stat", f"{process}/io")
        stat, _, accounting = lab.host.run(look, timeout_sec=300).stdout.partition("\n")
        fields = stat.rpartition(")")[2].split()
        io = dict(line.split(": ") for line in accounting.splitlines())
        return int(fields[11]) + int(fields[12]), int(io["syscr"]) + int(io["syscw"])

    with Meters(lab.host) as meters:
        meters.set_up(subject, Detail.FULL)
        begin, before = meters.snapshot("begin"), accounted()
        lab.vm.agent.run(("ping", "-c", "60", "-i", "0.02", subject.nic.peer_ip), timeout_sec=600)
        after, end = accounted(), meters.snapshot("end")
    cpu_sec, calls = ((new - old) for new, old in zip(after, before, strict=True))
    ours = _total(meters.pair(begin, end), "cpu_us") / 1e6
    assert ours == pytest.approx(cpu_sec / 100, rel=0.35, abs=0.15)
    kinds = ("read", "write", "pread64", "pwrite64", "readv", "writev", "preadv", "pwritev")
    counted = sum(_total(meters.pair(begin, end), "syscalls", kind) for kind in kinds)
    assert counted == pytest.approx(calls, rel=0.1)
    assert counted > 100
    # Each exit to QEMU is the end of one ioctl(KVM_RUN).
    ioctls = _total(meters.pair(begin, end), "syscalls", "ioctl")
    assert ioctls > 0.95 * _total(meters.pair(begin, end), "userspace_exits", "MMIO")


def test_bytes_on_the_wire_agree_with_what_iperf3_says_it_sent(lab: Lab, subject: Subject) -> None:
    work = workload("tcp_up", TRIALS, subject.nic.peer_ip)
    with Meters(lab.host) as meters:
        meters.set_up(subject, Detail.FULL)
        begin = meters.snapshot("begin")
        # Beside the meters' own: this server ends with its client, and its counters with it.
        lab.host.run(lab.cable.on_peer((*work.server[2:], "-D")), timeout_sec=300)
        client = lab.vm.agent.run(work.client, timeout_sec=600)
        end = meters.snapshot("end")
    intervals = json.loads(client.stdout)["intervals"]
    sent_mb = sum(interval["sum"]["bytes"] for interval in intervals) / 1e6
    wire_mb = window(meters.pair(begin, end), DEVICE, DEVICE).megabytes
    # Headers and acknowledgements weigh less than a tenth; a socket's buffer may not get through.
    assert wire_mb == pytest.approx(sent_mb, rel=0.15, abs=1)


def test_a_failing_client_is_quoted_and_nothing_stays(lab: Lab, subject: Subject) -> None:
    work = workload("tcp_up", TRIALS, subject.nic.peer_ip)
    broken = replace(
        work, client=("timeout", "20", "iperf3", "-c", subject.nic.peer_ip, "-p", "9", "-J")
    )
    with pytest.raises(MeasureError, match="client of the workload") as failed:
        attempt(subject, broken)
    assert "refused" in str(failed.value)
    assert left_behind(lab.host) == ""
    assert one_trial(subject, "tcp_up").window.packets > 100


def test_a_killed_run_leaves_nothing(lab: Lab, subject: Subject) -> None:
    killed = Meters(lab.host)
    work = workload("tcp_up", TRIALS, subject.nic.peer_ip)
    killed.set_up(subject, Detail.FULL)
    killed.serve(work.server, work.listens, work.port)
    killed.arm(0, 1, await_server=True)
    assert "iperf3" in left_behind(lab.host)
    # Nobody serves, and at the cable's address only.
    owner = lab.host.run(("ps", "-o", "user=", "-C", "iperf3"), timeout_sec=300).stdout.split()
    assert owner == ["nobody"]
    sockets = lab.host.run(lab.cable.on_peer(("ss", "-Hlnt")), timeout_sec=300, root=True).stdout
    assert [line.split()[3] for line in sockets.splitlines()] == [f"{subject.nic.peer_ip}:5201"]
    killed.finish()
    until(lambda: left_behind(lab.host) == "", timeout_sec=60, what="The end of the meters")
    assert one_trial(subject, "tcp_up").window.packets > 100


def test_meters_that_end_in_a_window_are_not_no_traffic(lab: Lab, subject: Subject) -> None:
    with Meters(lab.host) as meters:
        meters.set_up(subject, Detail.STREAM)
        meters.arm(0, 1, await_server=False)
        lab.host.run(("pkill", "-KILL", "-f", "^perl - "), timeout_sec=300, root=True)
        with pytest.raises(MeasureError, match="ended by themselves"):
            meters.window()
    assert left_behind(lab.host) == ""


def test_a_counter_that_cannot_count_is_found_out(lab: Lab, subject: Subject) -> None:
    blind = replace(subject.threads, vcpus=(2**22 - 1,))  # no such thread: nothing will be counted
    with Meters(lab.host) as meters:
        blinded = replace(subject, threads=blind)
        meters.set_up(blinded, Detail.FULL)
        with pytest.raises(MeasureError, match="did not count") as silent:
            self_check(blinded, meters)
    assert "vm_exits" in silent.value.message
    assert "userspace_exits" in silent.value.message
    assert left_behind(lab.host) == ""


TURNS = 100_000_000


def counted_loop(turns: int) -> bytes:
    """Assemble a program without a library: ``mov ecx, turns``, ``dec ecx; jnz``, exit(0)."""
    code = (
        b"\xb9" + struct.pack("<I", turns) + b"\xff\xc9\x75\xfc" + b"\x31\xff\xb8\x3c\0\0\0\x0f\x05"
    )
    base, header = 0x400000, 64 + 56
    size = header + len(code)
    elf = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + header, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


def test_instructions_are_counted_by_who_ran_them(lab: Lab, subject: Subject) -> None:
    """A loop of a known length runs in the VM, then on the host: each in its own part."""
    path = "/tmp/kvmlab-loop"
    text = base64.b64encode(counted_loop(TURNS)).decode()
    make = ("sh", "-c", f"echo {text} | base64 -d > {path} && chmod +x {path}")
    lab.vm.agent.run(make, timeout_sec=300)
    lab.host.run(make, timeout_sec=300)
    many = ("sh", "-c", "for i in $(seq 400); do /bin/true; done")
    with Meters(lab.host) as meters:
        # Each program that a softirq meets takes a place, which the next trial has again.
        meters.set_up(subject, Detail.FULL)
        lab.host.run(many, timeout_sec=600)
        meters.set_up(subject, Detail.FULL)
        begin = meters.snapshot("begin")
        lab.vm.agent.run((path,), timeout_sec=600)
        middle = meters.snapshot("middle")
        lab.host.run((path,), timeout_sec=600)
        end = meters.snapshot("end")
    lab.host.run(("rm", path), timeout_sec=300)
    instructions = 2 * TURNS
    in_vm = _total(meters.pair(begin, middle), "instructions", "guest")
    assert instructions <= in_vm < 1.05 * instructions
    on_host = _total(meters.pair(middle, end), "instructions", "other programs")
    assert instructions <= on_host < 1.25 * instructions
    for first, last in ((begin, middle), (middle, end)):
        met = {one.name: one.value for one in conditions(meters.pair(first, last))}
        assert -0.5 < met["idle_percent"] < 100
