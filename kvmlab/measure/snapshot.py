"""Two snapshots of a host make the costs between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure import parsing
from kvmlab.measure.parsing import TICKS_PER_SEC, Counters, Thread
from kvmlab.measure.sections import files, sections
from kvmlab.results import Cost, Metric, Window

US_PER_TICK = 1_000_000 / TICKS_PER_SEC
_TRACED = ("kvm_exit", "kvm_userspace_exit", "kvm_inj_virq")
_SYSCALLS = "sys_enter"


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


@dataclass(frozen=True)
class Roles:
    """Which thread is what: ids of the QEMU process and of its vCPU threads."""

    pid: int
    vcpus: frozenset[int]

    def of(self, tid: int, comm: str) -> str:
        """The role of a thread of the VM."""
        if tid in self.vcpus:
            return "vCPU"
        if comm.startswith("vhost-"):
            return "vhost worker"
        if tid == self.pid:
            return "QEMU main loop"
        return "QEMU I/O thread" if comm.startswith("IO ") else "QEMU other threads"


def parse_snapshots(text: str) -> list[Snapshot]:
    """The snapshots in the output of ``meters.sh read`` or ``meters.sh window``, in order.

    ::

        === snapshot begin
        1763815000.123456789
        === wire
        Inter-|   Receive ...
        === host
        ==> /proc/stat <==
        cpu  2255 34 2290 ...
        === interrupts
        === exits
        ==> /sys/kernel/tracing/instances/kvmlab-4711/events/kvm/kvm_exit/hist <==
        # event histogram
        === end

    Raises:
        OutputError: it broke off, or a part is not what it should be.
    """
    found: list[Snapshot] = []
    label, parts = "", dict[str, str]()
    for name, body in sections(text):
        if name.startswith("snapshot "):
            label, parts = name.removeprefix("snapshot "), {"time": body}
        elif name == "end":
            found.append(_snapshot(label, parts))
        else:
            parts[name] = body
    return found


def _snapshot(label: str, parts: Mapping[str, str]) -> Snapshot:
    try:
        host = files(parts["host"])
        traced = {path.split("/")[-2]: text for path, text in files(parts["exits"]).items()}
        exits, userspace, injected = (traced[event] for event in _TRACED)
        return Snapshot(
            label=label,
            at_sec=float(parts["time"]),
            wire=parsing.net_dev(parts["wire"]),
            threads=parsing.threads(host),
            cpu_ticks=parsing.cpu_ticks(host["/proc/stat"]),
            softirqs=parsing.per_cpu_table(host["/proc/softirqs"]),
            interrupts=parsing.per_cpu_table(parts["interrupts"]),
            vm_exits=parsing.vm_exits(exits),
            userspace_exits=parsing.userspace_exits(userspace),
            injected=parsing.injected(injected),
            syscalls=parsing.syscalls(traced[_SYSCALLS]) if _SYSCALLS in traced else None,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise OutputError(
            f"The snapshot `{label}` of the meters lacks a part: {error}.",
            evidence="\n".join(parts)[:400],
        ) from error


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

    ``cpu_us`` comes from the scheduler (exact) except its part "guest", the share of the vCPU
    threads spent inside the VM, and ``softirq_us`` and ``steal_us``: those the kernel samples at
    its tick (10 ms). ``interrupts`` are those of ``devices`` and of handed-over functions.
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
    for name, kind in (("softirq_us", "softirq"), ("steal_us", "steal")):
        ticks = end.cpu_ticks[kind] - begin.cpu_ticks[kind]
        found.append(Cost(name, "all CPUs", ticks * US_PER_TICK, "µs"))
    return tuple(found)


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
    guest_us = 0.0
    for tid, last in end.threads.items():
        first = begin.threads.get(tid, Thread(tid, last.comm, 0, 0, 0, 0))
        sums = spent.setdefault(roles.of(tid, last.comm), [0.0, 0.0, 0.0])
        sums[0] += (last.run_ns - first.run_ns) / 1000
        sums[1] += (last.wait_ns - first.wait_ns) / 1000
        sums[2] += last.switches - first.switches
        guest_us += (last.guest_ticks - first.guest_ticks) * US_PER_TICK
    for role, (run_us, _, _) in spent.items():
        if role == "vCPU":
            # The tick is coarse: never let the guest have more than its threads ran.
            guest_us = min(guest_us, run_us)
            yield Cost("cpu_us", "guest", guest_us, "µs")
            yield Cost("cpu_us", "vCPU outside the guest", run_us - guest_us, "µs")
        else:
            yield Cost("cpu_us", role, run_us, "µs")
    for role, (_, wait_us, _) in spent.items():
        yield Cost("cpu_wait_us", role, wait_us, "µs")
    for role, (_, _, switches) in spent.items():
        yield Cost("context_switches", role, switches, "switches")
