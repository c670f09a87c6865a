"""VM exits, exits to QEMU and injected interrupts, and the time in the VM: from the vCPUs' map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmlab.domain import VmThreads
from kvmlab.measure.counters.counter import (
    MOMENT,
    Counter,
    MapSource,
    SnapshotPair,
    differences,
)
from kvmlab.measure.ebpf import layout, programs
from kvmlab.measure.ebpf.layout import Vcpus, parse_vcpus
from kvmlab.results import Cost
from kvmlab.results.cost_kinds import GUEST_INTERRUPTS, USERSPACE_EXITS, VM_EXITS


def _parse(value: bytes, texts: Mapping[str, str], vm: VmThreads) -> Vcpus:
    now, vendor = texts[MOMENT].split()
    return parse_vcpus(
        value,
        sorted(vm.vcpus),
        now_ns=int(now),
        is_amd=vendor == "amd",
        # The detailed programs, which tell KVM from QEMU, are those that fill this table.
        is_detailed=f"map:{layout.SOFTIRQS}" in texts,
    )


VCPUS = MapSource(
    "the map of vCPUs",
    layout.VCPUS,
    size=lambda vm: layout.PLACE_BYTES * len(vm.vcpus),
    programs=lambda vm, fields: programs.light(sorted(vm.vcpus), fields),
    parser=_parse,
)


class VmExits(Counter):
    """VM exits by the reason that the CPU gives."""

    gives = (VM_EXITS,)
    needs = (VCPUS,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for each reason."""
        yield from differences(VM_EXITS, *(vcpus.exits for vcpus in pair.read(VCPUS)))


class UserspaceExits(Counter):
    """Exits that leave the kernel for QEMU, by what QEMU has to do."""

    gives = (USERSPACE_EXITS,)
    needs = (VCPUS,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for each reason."""
        vcpus = pair.read(VCPUS)
        yield from differences(USERSPACE_EXITS, *(one.userspace_exits for one in vcpus))


class GuestInterrupts(Counter):
    """Interrupts that KVM injected into the VM, by vector."""

    gives = (GUEST_INTERRUPTS,)
    needs = (VCPUS,)

    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield a cost for each vector."""
        yield from differences(GUEST_INTERRUPTS, *(one.injected for one in pair.read(VCPUS)))


def guest_ns(pair: SnapshotPair) -> int | None:
    """Return how long the vCPU threads were inside the VM; None where no program counted it."""
    if not pair.has(VCPUS):
        return None
    begin, end = (vcpus.times for vcpus in pair.read(VCPUS))
    return sum(
        times.guest_ns - (begin[tid].guest_ns if tid in begin else 0) for tid, times in end.items()
    )


def qemu_ns(pair: SnapshotPair) -> int | None:
    """Return how long the vCPU threads ran in QEMU; None where no program told it from KVM."""
    if not pair.has(VCPUS):
        return None
    begin, end = (vcpus.times for vcpus in pair.read(VCPUS))
    total = 0
    for tid, times in end.items():
        if times.qemu_ns is None or tid not in begin or (before := begin[tid].qemu_ns) is None:
            return None
        total += times.qemu_ns - before
    return total if end else None
