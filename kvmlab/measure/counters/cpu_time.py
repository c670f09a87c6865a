"""CPU time, waiting for a CPU and context switches of the VM's threads, by role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from kvmlab.measure.counters.counter import VCPU, Counter, SnapshotPair, ThreadSource
from kvmlab.measure.counters.cpu_ticks import CPU_TICKS, sampled_us
from kvmlab.measure.counters.softirqs import SOFTIRQ_TIMES
from kvmlab.measure.counters.vm_exits import VCPUS, guest_ns, qemu_ns
from kvmlab.measure.procfs import US_PER_TICK, Thread
from kvmlab.results import Condition, Cost, Share
from kvmlab.results.cost_kinds import CONTEXT_SWITCHES, CPU_TIME, CPU_WAIT

THREADS = ThreadSource("the VM's threads")
GUEST, OUTSIDE = "guest", "vCPU outside the guest"
IN_KVM, IN_QEMU = "vCPU in KVM", "vCPU in QEMU"
SAMPLED = "guest (sampled)"


class CpuTime(Counter):
    """CPU time by the scheduler's account; the guest's by the moments of each entry and exit.

    Where no eBPF program can take these moments the guest's is sampled at the tick (10 ms), and
    called "guest (sampled)".
    """

    gives = (CPU_TIME, CPU_WAIT, CONTEXT_SWITCHES)
    needs = (THREADS, CPU_TICKS)
    uses = (VCPUS, SOFTIRQ_TIMES)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for each role of a thread; vCPUs' CPU time by where they ran."""
        roles = defaultdict[str, list[Thread]](list)
        for thread in spent_by_threads(pair):
            roles[pair.role(thread)].append(thread)
        for role, threads in roles.items():
            run_us = sum(thread.run_ns for thread in threads) / 1000
            if role == VCPU:
                yield from _vcpu_time(pair, run_us, sum(one.guest_ticks for one in threads))
            else:
                yield CPU_TIME.cost(role, run_us)
        for role, threads in roles.items():
            yield CPU_WAIT.cost(role, sum(thread.wait_ns for thread in threads) / 1000)
        for role, threads in roles.items():
            yield CONTEXT_SWITCHES.cost(role, sum(thread.switches for thread in threads))

    def conditions(self, pair: SnapshotPair) -> Iterator[Condition]:
        """Yield the CPU time of programs that are not the VM's, in percent of one CPU.

        The peer's server is among them where the peer is a namespace of the host. The kernel
        samples at its tick, so this is good to a few percent of a window of a second.
        """
        vm_us = sum(thread.run_ns for thread in spent_by_threads(pair)) / 1000
        others_us = max(0.0, sampled_us(pair, "user", "nice", "system") - vm_us)
        yield Condition("others_cpu_percent", "host", others_us / pair.seconds / 1e4, "%")


def spent_by_threads(pair: SnapshotPair) -> Iterator[Thread]:
    """Yield the VM's threads with what each spent between the snapshots."""
    begin, end = pair.read(THREADS)
    for tid, thread in end.items():
        yield thread.since(begin.get(tid))


def outside_guest(pair: SnapshotPair, outside_ns: float) -> dict[str, float]:
    """Split ``outside_ns`` of the vCPU threads into KVM and QEMU, where that was counted."""
    in_qemu_ns = qemu_ns(pair)
    if in_qemu_ns is None:
        return {OUTSIDE: outside_ns}
    return {IN_KVM: max(0.0, outside_ns - in_qemu_ns), IN_QEMU: float(in_qemu_ns)}


def thread_shares(pair: SnapshotPair) -> tuple[Share, ...]:
    """Return the CPU time of each vhost worker and of each vCPU.

    The kernel starts one worker for each queue pair, in their order.
    """
    spent = {thread.tid: thread.run_ns / 1000 for thread in spent_by_threads(pair)}

    def shares(name: str, tids: Sequence[int]) -> Iterator[Share]:
        for number, tid in enumerate(tids):
            if tid in spent:
                yield Share(name, number, spent[tid], "µs")

    vm = pair.end.vm
    return (*shares("worker_us", vm.vhost), *shares("vcpu_us", vm.vcpus))


def _vcpu_time(pair: SnapshotPair, run_us: float, guest_ticks: int) -> Iterator[Cost]:
    exact_ns = guest_ns(pair)
    # The tick is coarse: never let the guest have more than its threads ran.
    sampled = min(guest_ticks * US_PER_TICK, run_us)
    inside_us = sampled if exact_ns is None else exact_ns / 1000
    yield CPU_TIME.cost(SAMPLED if exact_ns is None else GUEST, inside_us)
    for part, ns in outside_guest(pair, (run_us - inside_us) * 1000).items():
        yield CPU_TIME.cost(part, ns / 1000)
