"""Two snapshots of a host make the costs between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure import parsing
from kvmlab.measure.parsing import TICKS_PER_SEC, Counters, Thread
from kvmlab.measure.sections import files, sections
from kvmlab.measure.split import (
    GUEST,
    SAMPLED,
    SERVER,
    VCPU,
    Between,
    guest_ns,
    instructions,
    outside,
    softirq_ns,
)
from kvmlab.measure.vcpu_map import Vcpus, VcpuTimes, vcpus_of
from kvmlab.results import Cost, Metric, Window

US_PER_TICK = 1_000_000 / TICKS_PER_SEC
_VCPUS = "vcpus"
_SYSCALLS = "sys_enter"
_TIME = "cpu0"
_BUSY = "/proc/schedstat"
_WIRE = "standard input"  # as `tail` calls it


@dataclass(frozen=True)
class Snapshot:
    """Every counter of one moment, as ``scripts/meters.sh`` printed it."""

    label: str
    at_sec: float
    wire: Mapping[str, Counters]
    threads: Mapping[int, Thread]
    cpu_ticks: Mapping[str, int]
    softirqs: Mapping[str, int]
    interrupts: Mapping[str, int]
    vm_exits: Mapping[str, int]
    userspace_exits: Mapping[str, int]
    injected: Mapping[str, int]
    syscalls: Mapping[str, int] | None = None  # None where the kernel cannot count them
    guest: Between | None = None  # None where it cannot sum the moments of events
    softirq: Between | None = None  # None where nobody asked who ran each nanosecond
    busy_ns: int | None = None
    vcpus: Mapping[int, VcpuTimes] | None = None  # None where eBPF programs cannot count
    softirqs_ns: Mapping[int, int] | None = None  # by the thread that they interrupted


@dataclass(frozen=True)
class Roles:
    """Which thread is what: ids of the QEMU process and of its vCPU threads."""

    pid: int
    vcpus: frozenset[int]

    def of(self, thread: Thread) -> str:
        """The role of a thread of the VM, or of the server at the peer."""
        if thread.tid in self.vcpus:
            return VCPU
        if thread.comm.startswith("vhost-"):
            return "vhost worker"
        if thread.process != self.pid:
            return SERVER
        if thread.tid == self.pid:
            return "QEMU main loop"
        return "QEMU I/O thread" if thread.comm.startswith("IO ") else "QEMU other threads"


def parse_snapshots(text: str) -> list[Snapshot]:
    """The snapshots in the output of ``meters.sh read`` or ``meters.sh window``, in order.

    ::

        === snapshot begin
        ==> /sys/kernel/tracing/instances/kvmlab-4711/per_cpu/cpu0/stats <==
        now ts:    36.045153
        ==> /sys/kernel/tracing/instances/kvmlab-4711/events/kvm/kvm_exit/hist <==
        # event histogram
        ==> standard input <==
        Inter-|   Receive ...
        ==> /proc/stat <==
        cpu  2255 34 2290 ...
        === end

    Raises:
        OutputError: it broke off, or a part is not what it should be.
    """
    return [
        _snapshot(name.removeprefix("snapshot "), files(body))
        for name, body in sections(text)
        if name.startswith("snapshot ")
    ]


def _snapshot(label: str, read: Mapping[str, str]) -> Snapshot:
    try:
        traced = {path.split("/")[-2]: text for path, text in read.items() if "/tracing/" in path}
        vcpus = vcpus_of(read[_VCPUS]) if _VCPUS in read else None
        told = _by_histograms(traced) if vcpus is None else vcpus
        return Snapshot(
            label=label,
            at_sec=told.at_ns / 1e9,
            wire=parsing.net_dev(read[_WIRE]),
            threads=parsing.threads(read),
            cpu_ticks=parsing.cpu_ticks(read["/proc/stat"]),
            softirqs=parsing.per_cpu_table(read["/proc/softirqs"]),
            interrupts=parsing.per_cpu_table(read["/proc/interrupts"]),
            vm_exits=told.exits,
            userspace_exits=told.userspace_exits,
            injected=told.injected,
            syscalls=parsing.syscalls(traced[_SYSCALLS]) if _SYSCALLS in traced else None,
            guest=_between(traced, "kvm_entry", "kvm_exit"),
            softirq=_between(traced, "softirq_entry", "softirq_exit"),
            busy_ns=parsing.busy_ns(read[_BUSY]) if _BUSY in read else None,
            vcpus=None if vcpus is None else vcpus.times,
            softirqs_ns=None if vcpus is None else vcpus.softirqs_ns,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise OutputError(
            f"The snapshot `{label}` of the meters lacks a part: {error}.",
            evidence="\n".join(read)[:400],
        ) from error


def _by_histograms(traced: Mapping[str, str]) -> Vcpus:
    return Vcpus(
        at_ns=round(parsing.trace_clock_sec(traced[_TIME]) * 1e9),
        exits=parsing.vm_exits(traced["kvm_exit"]),
        userspace_exits=parsing.userspace_exits(traced["kvm_userspace_exit"]),
        injected=parsing.injected(traced["kvm_inj_virq"]),
        times={},
        softirqs_ns=None,
    )


def _between(traced: Mapping[str, str], began: str, ended: str) -> Between | None:
    if began not in traced:
        return None
    return Between(parsing.by_thread(traced[began]), parsing.by_thread(traced[ended]))


def window(begin: Snapshot, end: Snapshot, device: str, counted_at: str) -> Window:
    """Time, packets and bytes (both directions) between two snapshots.

    Raises:
        MeasureError: the device is not there, or time stood still.
    """
    if device not in begin.wire or device not in end.wire:
        raise MeasureError(
            f"There is no device {device} to count packets at ({counted_at}).",
            todo=f"Seen there: {', '.join(begin.wire)}.",
        )
    first, last = begin.wire[device], end.wire[device]
    seconds = end.at_sec - begin.at_sec
    if seconds <= 0:
        raise MeasureError(f"The host's clock moved by {seconds:g} s during a trial.")
    return Window(
        seconds=seconds,
        packets=last.rx_packets - first.rx_packets + last.tx_packets - first.tx_packets,
        bytes=last.rx_bytes - first.rx_bytes + last.tx_bytes - first.tx_bytes,
        counted_at=counted_at,
    )


def arrived_pps(begin: Snapshot, end: Snapshot, device: str, *, at_peer: bool) -> Metric:
    """Packets a second that came from the VM, as the interface at the wire's end counted them.

    ``at_peer`` says that ``device`` is the peer's, which receives them; ours sends them.
    """
    first, last = begin.wire[device], end.wire[device]
    packets = last.rx_packets - first.rx_packets if at_peer else last.tx_packets - first.tx_packets
    rate = packets / (end.at_sec - begin.at_sec)
    return Metric("udp_received_pps", rate, "packets/s", "higher")


def costs(
    begin: Snapshot, end: Snapshot, roles: Roles, devices: tuple[str, ...]
) -> tuple[Cost, ...]:
    """What was spent between two snapshots.

    ``cpu_us`` comes from the scheduler, its part "guest" from the moments of each entry and exit;
    where the kernel cannot sum those, it is sampled at the tick (10 ms) and called "guest
    (sampled)". ``softirq_us`` is exact where the moments of softirqs were summed (as for
    ``instructions``), and sampled as ``steal_us`` elsewhere. ``interrupts`` are those of
    ``devices`` and of handed-over functions.
    """
    found = [
        *_difference("vm_exits", "exits", begin.vm_exits, end.vm_exits),
        *_difference("userspace_exits", "exits", begin.userspace_exits, end.userspace_exits),
        *_difference("guest_interrupts", "interrupts", begin.injected, end.injected),
        *_syscall_costs(begin, end),
        *_thread_costs(begin, end, roles),
        *_difference("softirqs", "softirqs", *(_network(s.softirqs) for s in (begin, end))),
        *_difference(
            "interrupts", "interrupts", *(_of(s.interrupts, devices) for s in (begin, end))
        ),
    ]
    exact_ns = softirq_ns(begin, end)
    softirq_us = _sampled_us(begin, end, "softirq") if exact_ns is None else exact_ns / 1000
    found.append(Cost("softirq_us", "all CPUs", softirq_us, "µs"))
    found.append(Cost("steal_us", "all CPUs", _sampled_us(begin, end, "steal"), "µs"))
    return (*instructions(begin, end, roles), *found)


def _sampled_us(begin: Snapshot, end: Snapshot, kind: str) -> float:
    return (end.cpu_ticks[kind] - begin.cpu_ticks[kind]) * US_PER_TICK


def _difference(
    name: str, unit: str, begin: Mapping[str, int], end: Mapping[str, int]
) -> Iterator[Cost]:
    parts = {part: count - begin.get(part, 0) for part, count in end.items()}
    seen = {part: count for part, count in parts.items() if count} or {"none": 0}
    for part, count in sorted(seen.items(), key=lambda item: -item[1]):
        yield Cost(name, part, float(count), unit)


def others_percent(begin: Snapshot, end: Snapshot, spent: Iterable[Cost]) -> float:
    """CPU time of the host's programs that are not the VM's, in percent of one CPU.

    The peer's program is among them where the peer is a namespace of the host. The kernel samples
    at its tick, so this is good to a few percent of a window of a second.
    """
    kinds = ("user", "nice", "system")
    all_us = sum(end.cpu_ticks[kind] - begin.cpu_ticks[kind] for kind in kinds) * US_PER_TICK
    vm_us = sum(cost.value for cost in spent if cost.name == "cpu_us")
    return max(0.0, all_us - vm_us) / (end.at_sec - begin.at_sec) / 1e4


def _syscall_costs(begin: Snapshot, end: Snapshot) -> Iterator[Cost]:
    if begin.syscalls is not None and end.syscalls is not None:
        yield from _difference("syscalls", "syscalls", begin.syscalls, end.syscalls)


def _network(softirqs: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in softirqs.items() if name.startswith("NET_")}


def _of(interrupts: Mapping[str, int], devices: tuple[str, ...]) -> dict[str, int]:
    return {
        name: count
        for name, count in interrupts.items()
        if name.startswith("vfio-") or any(name.split("-")[0] == device for device in devices)
    }


def _thread_costs(begin: Snapshot, end: Snapshot, roles: Roles) -> Iterator[Cost]:
    spent: dict[str, list[float]] = {}
    sampled_us = 0.0
    for tid, last in end.threads.items():
        role = roles.of(last)
        if role == SERVER:
            continue
        first = begin.threads.get(tid, Thread(tid, last.process, last.comm, 0, 0, 0, 0))
        sums = spent.setdefault(role, [0.0, 0.0, 0.0])
        sums[0] += (last.run_ns - first.run_ns) / 1000
        sums[1] += (last.wait_ns - first.wait_ns) / 1000
        sums[2] += last.switches - first.switches
        sampled_us += (last.guest_ticks - first.guest_ticks) * US_PER_TICK
    for role, (run_us, _, _) in spent.items():
        if role == VCPU:
            exact_ns = guest_ns(begin, end, roles)
            # The tick is coarse: never let the guest have more than its threads ran.
            inside_us = min(sampled_us, run_us) if exact_ns is None else exact_ns / 1000
            yield Cost("cpu_us", SAMPLED if exact_ns is None else GUEST, inside_us, "µs")
            for part, ns in outside(begin, end, (run_us - inside_us) * 1000).items():
                yield Cost("cpu_us", part, ns / 1000, "µs")
        else:
            yield Cost("cpu_us", role, run_us, "µs")
    for role, (_, wait_us, _) in spent.items():
        yield Cost("cpu_wait_us", role, wait_us, "µs")
    for role, (_, _, switches) in spent.items():
        yield Cost("context_switches", role, switches, "switches")
