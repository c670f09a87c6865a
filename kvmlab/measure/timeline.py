"""The timeline of one echo: the kernel's events of a round trip, as lanes that add up to it.

The peer pings the VM, so that both ends of the round trip are seen on the host: from the peer's
system call that sends the echo to the arrival of the reply at the peer's port (or, where the peer
is another machine, from the echo's arrival at our port to the departure of the reply there).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from kvmlab.clock import Clock
from kvmlab.errors import CommandFailed, MeasureError, OutputError
from kvmlab.hosts import parse_output, run_script
from kvmlab.measure.syscall_names import syscall_name
from kvmlab.measure.tool_output import ping_times
from kvmlab.results import Raw
from kvmlab.results.timeline import Lane, Mark, Span, Timeline

if TYPE_CHECKING:
    from kvmlab.domain import VmThreads
    from kvmlab.hosts import Cable
    from kvmlab.measure.subject import Subject
    from kvmlab.process import Completed

_INSTANCE: Final = "kvmlab-timeline"
#: An odd size that nothing else on a quiet host has.
ECHO_DATA_BYTES: Final = 1003
# An IP packet with that echo, and the same with its Ethernet header and a VLAN tag.
_LEAST: Final = ECHO_DATA_BYTES + 8 + 20
_MOST: Final = _LEAST + 14 + 4
_ECHOES: Final = 9
_EVERY_SEC: Final = {Clock.WALL: "0.2", Clock.VIRTUAL: "0.02"}
_TIMEOUT_SEC: Final = 15

#: What cannot be told apart without a tracepoint.
_NEEDED_FOR: Final = {
    "kvm/kvm_entry": "the guest from KVM",
    "kvm/kvm_exit": "the guest from KVM, and exits",
    "raw_syscalls/sys_enter": "KVM from QEMU, and system calls",
    "raw_syscalls/sys_exit": "KVM from QEMU",
    "sched/sched_waking": "wake-ups",
    "irq/softirq_entry": "softirqs from what they interrupt",
    "irq/softirq_exit": "softirqs from what they interrupt",
    "irq/irq_handler_entry": "interrupts from what they interrupt",
    "irq/irq_handler_exit": "interrupts from what they interrupt",
}
_INDISPENSABLE: Final = ("sched/sched_switch", "net/net_dev_start_xmit", "net/netif_receive_skb")

_LINE: Final = re.compile(
    r"^\s*(?P<comm>.+)-(?P<tid>\d+)\s+\[(?P<cpu>\d+)\]\s+\S+\s+(?P<sec>\d+)\.(?P<us>\d{6}): "
    r"(?P<name>\w+):(?: (?P<rest>.*))?$",
    re.MULTILINE,
)
_SWITCH: Final = re.compile(r"next_comm=(?P<comm>.+) next_pid=(?P<tid>\d+) ")
_WAKING: Final = re.compile(r"comm=(?P<comm>.+) pid=(?P<tid>\d+) ")
_CALL: Final = re.compile(r"NR (?P<number>-?\d+)(?: \((?P<arguments>.*)\))?")
_REASON: Final = re.compile(r"reason (?P<reason>\S+)")
_POLLS: Final = ("poll", "ppoll")
_SENDS: Final = ("sendto", "sendmsg")


@dataclass(frozen=True)
class KernelEvent:
    """One line of the trace; ``at_us`` is of the host's monotonic clock."""

    at_us: int
    cpu: int
    tid: int
    comm: str
    name: str
    rest: str


@dataclass(frozen=True)
class EchoEnds:
    """The VM's threads and the devices where an echo begins and ends, known in advance."""

    threads: VmThreads
    port: str
    peer_port: str | None

    @classmethod
    def of(cls, threads: VmThreads, cable: Cable) -> EchoEnds:
        """Return the ends of echoes over a cable."""
        return cls(threads, cable.port, cable.peer_port if cable.peer_netns else None)

    def lane(self, tid: int, comm: str) -> Lane:
        """Return the lane of a thread; a vCPU is in KVM until an event says more."""
        threads = self.threads
        if tid == 0:
            return "idle"
        if tid in threads.vcpus:
            return "vCPU in KVM"
        if tid in threads.vhost or comm.startswith("vhost-"):
            return "vhost worker"
        if tid == threads.pid:
            return "main loop"
        if tid in threads.others:
            return "QEMU's other threads"
        if comm.startswith("ksoftirqd/"):
            return "softirq"
        return "peer" if comm == "ping" else "other programs"


def trace_timeline(subject: Subject) -> tuple[Timeline, Raw]:
    """Trace a few echoes from the peer; return the timeline of the median one, and its events.

    Raises:
        MeasureError: tracing cannot be used, no reply came, or no end of an echo can be seen.
    """
    host, cable = subject.host, subject.cable
    threads = subject.threads
    ends = EchoEnds.of(threads, cable)
    if ends.peer_port is None and subject.nic.host_device is None:
        raise MeasureError(
            f"The host sees no packet of {subject.nic.label}, and the peer is another machine.",
            todo="A timeline needs the peer's port in a namespace of the host, or a device of the "
            "host on the path.",
        )
    untraced = ping_times(_ping(subject).stdout)
    everything = (threads.pid, *threads.vcpus, *threads.vhost, *threads.others)
    ids = (",".join(map(str, group)) for group in (sorted(threads.vcpus), everything))
    try:
        started = _run(subject, "start", str(_LEAST), str(_MOST), *ids)
        echo = _ping(subject)
    except CommandFailed as error:
        raise MeasureError(
            f"Echoes cannot be traced on {host.label}.",
            todo="Needed: root and tracefs (`mount -t tracefs nodev /sys/kernel/tracing`).",
            evidence=(error.completed.stdout + error.completed.stderr)[-2000:],
        ) from error
    finally:
        stopped = _run(subject, "stop", check=False)
    missing = parse_missing(started.stdout)
    text = parse_output(stopped.stdout).text("trace")
    events = parse_events(text)
    if not events:
        raise MeasureError(
            f"No event of an echo was traced on {host.label}.",
            evidence=(echo.stdout + stopped.stderr)[-2000:],
        )
    begin, end = median_echo(events, ends)
    spans, path, marks = lanes(events, ends, begin, end)
    timeline = Timeline(
        scheme=subject.nic.scheme,
        label=subject.nic.label,
        host=host.label,
        clock=host.clock,
        emulated=host.emulated,
        spans=spans,
        path=path,
        marks=marks,
        total_us=float(end - begin),
        untraced_us=next(m.value for m in untraced if m.name == "rtt_p50_us"),
        missing=missing,
    )
    return timeline, Raw("timeline-trace.txt", text)


def parse_missing(text: str) -> tuple[str, ...]:
    """Return the tracepoints that the kernel lacks, each with what cannot be told without it.

    ``timeline.sh start`` prints them as ``=== missing irq/softirq_entry``.

    Raises:
        MeasureError: one of them is indispensable.
    """
    names = tuple(parse_output(text).named("missing"))
    lacking = [name for name in names if name in _INDISPENSABLE]
    if lacking:
        raise MeasureError(
            f"The host's kernel has no tracepoint {lacking[0]}, so no echo can be traced.",
            todo="A kernel with CONFIG_FTRACE and CONFIG_ENABLE_DEFAULT_TRACERS has it.",
        )
    return tuple(f"{name} ({_NEEDED_FOR[name]})" for name in names)


def parse_events(text: str) -> list[KernelEvent]:
    """Parse a trace into its events, in order of time.

    ::

        qemu-system-x86-259     [000] ..... 401.226210: sys_enter: NR 271 (55d0c0, 9, 7ffd, 0, 8, 0)
                 <idle>-0       [000] d.s1. 401.226401: softirq_entry: vec=3 [action=NET_RX]
              CPU 0/KVM-263     [000] d..1. 401.226455: kvm_exit: vcpu 0 reason npf rip 0x...
    """
    events = [
        KernelEvent(
            at_us=int(line["sec"]) * 1_000_000 + int(line["us"]),
            cpu=int(line["cpu"]),
            tid=int(line["tid"]),
            comm=line["comm"].strip(),
            name=line["name"],
            rest=line["rest"] or "",
        )
        for line in _LINE.finditer(text)
    ]
    return sorted(events, key=lambda event: event.at_us)


def median_echo(events: Sequence[KernelEvent], ends: EchoEnds) -> tuple[int, int]:
    """Return begin and end, in µs of the trace, of the echo whose length is the median.

    Raises:
        MeasureError: no echo is whole.
    """
    echoes = sorted(_echoes(events, ends), key=lambda echo: echo[1] - echo[0])
    # The first echo warms caches, and an emulator's translation of code.
    if not echoes:
        raise MeasureError(
            "Echoes were traced, and none from its begin to its end.",
            todo="Does the VM answer the peer's ping?",
        )
    return echoes[(len(echoes) - 1) // 2]


def _echoes(events: Sequence[KernelEvent], ends: EchoEnds) -> Iterator[tuple[int, int]]:
    begin: int | None = None
    sending: int | None = None
    for event in events:
        device = re.search(r"\bdev=(\S+)", event.rest)
        at = (event.name, device[1] if device else "")
        if event.comm == "ping" and event.name == "sys_enter" and _call(event)[0] in _SENDS:
            sending = event.at_us
        if ends.peer_port is not None:
            if at == ("net_dev_start_xmit", ends.peer_port):
                begin = event.at_us if sending is None else sending
            if at == ("netif_receive_skb", ends.peer_port) and begin is not None:
                yield begin, event.at_us
                begin = sending = None
        else:
            if at == ("netif_receive_skb", ends.port):
                begin = event.at_us
            if at == ("net_dev_start_xmit", ends.port) and begin is not None:
                yield begin, event.at_us
                begin = None


def _call(event: KernelEvent) -> tuple[str, str]:
    """Return a system call's name and its arguments."""
    match = _CALL.match(event.rest)
    if match is None:
        raise OutputError("A system call of the trace has no number.", evidence=event.rest)
    return syscall_name(int(match["number"])), match["arguments"] or ""


@dataclass
class _Cpu:
    """The state of one CPU: its thread, and what interrupts it."""

    tid: int = -1
    comm: str = ""
    interrupts: list[Lane] = field(default_factory=list)
    since_us: int = 0
    lane: Lane = "other programs"


class _Replay:
    """The lanes of all CPUs, event by event."""

    def __init__(self, ends: EchoEnds) -> None:
        self._ends = ends
        self._cpus: dict[int, _Cpu] = {}
        self._vcpus: dict[int, Lane] = {}
        self.spans: list[tuple[Lane, int, int]] = []

    def step(self, event: KernelEvent) -> None:
        """Take the next event."""
        cpu = self._cpus.setdefault(event.cpu, _Cpu(event.tid, event.comm, since_us=event.at_us))
        if event.name == "sched_switch":
            if match := _SWITCH.search(event.rest):
                cpu.tid, cpu.comm = int(match["tid"]), match["comm"]
            cpu.interrupts.clear()
        elif event.name == "softirq_entry":
            cpu.interrupts.append("softirq")
        elif event.name == "irq_handler_entry":
            cpu.interrupts.append("interrupt")
        elif event.name in ("softirq_exit", "irq_handler_exit"):
            if cpu.interrupts:
                cpu.interrupts.pop()
        elif event.tid in self._ends.threads.vcpus:
            self._vcpus[event.tid] = _vcpu_lane(event, self._vcpus.get(event.tid))
        self._turn(cpu, event.at_us)

    def _turn(self, cpu: _Cpu, at_us: int) -> None:
        if cpu.interrupts:
            lane: Lane = cpu.interrupts[-1]
        else:
            lane = self.lane_of_thread(cpu.tid, cpu.comm)
        if lane != cpu.lane:
            self.spans.append((cpu.lane, cpu.since_us, at_us))
            cpu.lane, cpu.since_us = lane, at_us

    def lane_of_cpu(self, number: int) -> Lane | None:
        """Return the lane of a CPU now; None where nothing is known of it yet."""
        return self._cpus[number].lane if number in self._cpus else None

    def lane_of_thread(self, tid: int, comm: str) -> Lane:
        """Return the lane in which a thread goes on when it runs again."""
        return self._vcpus.get(tid) or self._ends.lane(tid, comm)

    def finish(self, at_us: int) -> None:
        """Close what still runs."""
        for cpu in self._cpus.values():
            self.spans.append((cpu.lane, cpu.since_us, at_us))


def _vcpu_lane(event: KernelEvent, before: Lane | None) -> Lane:
    if event.name == "kvm_entry":
        return "guest"
    if event.name == "kvm_exit":
        return "vCPU in KVM"
    if event.name == "sys_enter" and _call(event)[0] == "ioctl":
        return "vCPU in KVM"
    if event.name == "sys_exit":
        return "vCPU in QEMU"
    return before or "vCPU in KVM"


def lanes(
    events: Sequence[KernelEvent], ends: EchoEnds, begin: int, end: int
) -> tuple[tuple[Span, ...], tuple[Span, ...], tuple[Mark, ...]]:
    """Return spans, path and marks of the echo from ``begin`` to ``end``, in µs of the trace."""
    replay = _Replay(ends)
    marks: list[Mark] = []
    for event in events:
        if event.at_us > end:
            break
        before = replay.lane_of_cpu(event.cpu)
        replay.step(event)
        after = replay.lane_of_cpu(event.cpu)
        lane = (before if event.name in _OF_THE_LANE_BEFORE else None) or after
        if event.at_us >= begin and lane is not None:
            marks.extend(_marks(event, lane, replay, begin))
    replay.finish(end)
    sent = _sent_us(events, ends, begin)
    spans = tuple(
        Span(
            "peer after sending" if lane == "peer" and first > sent else lane,
            float(max(first, begin) - begin),
            float(min(last, end) - begin),
        )
        for lane, first, last in replay.spans
        if min(last, end) > max(first, begin)
    )
    asleep = [span for span in spans if span.lane == "peer after sending"]
    placed = (
        replace(mark, lane="peer after sending")
        if mark.lane == "peer" and any(s.begin_us <= mark.at_us <= s.end_us for s in asleep)
        else mark
        for mark in marks
    )
    return spans, _path(spans, float(end - begin)), tuple(placed)


def _sent_us(events: Sequence[KernelEvent], ends: EchoEnds, begin: int) -> int:
    """Return when the echo that begins at ``begin`` left the peer, in µs of the trace."""
    leaving = (
        event.at_us
        for event in events
        if event.at_us >= begin
        and event.name == "net_dev_start_xmit"
        and f"dev={ends.peer_port} " in f"{event.rest} "
    )
    return next(leaving, begin)


#: An exit, an interrupt and a system call are marked in the lane that they leave.
_OF_THE_LANE_BEFORE: Final = ("kvm_exit", "irq_handler_entry", "sys_enter", "sched_waking")


def _marks(event: KernelEvent, lane: Lane, replay: _Replay, begin: int) -> Iterator[Mark]:
    at_us = float(event.at_us - begin)
    if event.name == "kvm_exit":
        match = _REASON.search(event.rest)
        yield Mark("exit", at_us, lane, match["reason"].lower() if match else "")
    elif event.name == "sys_enter":
        name, arguments = _call(event)
        if name in _POLLS and len(words := arguments.split(", ")) > 1:
            name = f"{name} of {int(words[1], 16)} descriptors"
        yield Mark("system call", at_us, lane, name)
    elif event.name == "irq_handler_entry":
        yield Mark("interrupt", at_us, lane, event.rest.partition("name=")[2])
    elif event.name == "sched_waking" and (match := _WAKING.search(event.rest)):
        to_lane = replay.lane_of_thread(int(match["tid"]), match["comm"])
        yield Mark("wake-up", at_us, lane, match["comm"], to_lane)
    elif event.name in ("net_dev_start_xmit", "netif_receive_skb"):
        device = re.search(r"\bdev=(\S+)", event.rest)
        yield Mark("packet", at_us, lane, device[1] if device else "")


def _path(spans: Sequence[Span], total_us: float) -> tuple[Span, ...]:
    """Return one lane for each moment: of those that ran, the one that began last."""
    edges = sorted({0.0, total_us, *(s.begin_us for s in spans), *(s.end_us for s in spans)})
    path: list[Span] = []
    for first, last in itertools.pairwise(edges):
        running = [s for s in spans if s.begin_us <= first and s.end_us >= last]
        busy = [span for span in running if span.lane != "idle"]
        lane = max(busy, key=lambda span: span.begin_us).lane if busy else "idle"
        if path and path[-1].lane == lane:
            path[-1] = Span(lane, path[-1].begin_us, last)
        else:
            path.append(Span(lane, first, last))
    return tuple(path)


def _ping(subject: Subject) -> Completed:
    host, cable = subject.host, subject.cable
    every = ("-i", _EVERY_SEC[host.clock])
    words = ("ping", "-n", "-c", str(_ECHOES), *every, "-s", str(ECHO_DATA_BYTES))
    argv = (*words, subject.nic.vm_ip)
    timeout_sec = host.clock.wall_timeout(_TIMEOUT_SEC)
    if cable.peer_netns is not None:
        return host.run(
            ("sh", "-c", 'exec "$@"', "sh", *cable.on_peer(argv)),
            timeout_sec=timeout_sec,
            check=False,
            root=True,
        )
    peer = host.peer(cable)
    if peer is None:
        raise MeasureError(
            "The peer is another machine to which there is no login, so it cannot ping the VM.",
            todo="Give its login in the cable: `,ssh://USER@MACHINE`.",
        )
    return peer.run(argv, timeout_sec=timeout_sec, check=False)


def _run(subject: Subject, action: str, *args: str, check: bool = True) -> Completed:
    return run_script(
        subject.host.runner,
        "kvmlab.measure",
        "timeline.sh",
        action,
        _INSTANCE,
        *args,
        timeout_sec=subject.host.clock.wall_timeout(_TIMEOUT_SEC),
        check=check,
        root=True,
    )
