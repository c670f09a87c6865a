"""The threads of a VM on the host: who spends the CPU time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kvmlab.errors import DomainError, OutputError
from kvmlab.hosts import Runner, run_script

_NOT_RUNNING = 3
_VCPU = re.compile(r"CPU (\d+)/")


@dataclass(frozen=True)
class VmThreads:
    """Thread ids of one VM's QEMU process on the host.

    ``vhost`` are the kernel's workers for this process: tasks of QEMU itself since Linux 6.4,
    kernel threads of their own before.
    """

    pid: int
    """The QEMU process, which is also its main thread."""
    vcpus: tuple[int, ...]
    """In the order of the vCPUs."""
    vhost: tuple[int, ...]
    others: tuple[int, ...]
    """I/O threads, workers and whatever else runs in the process."""


def parse_threads(text: str) -> VmThreads:
    """Read what ``vm_threads.sh`` prints.

    Its output::

        process 812
        task 812 qemu-system-x86
        task 816 CPU 0/KVM
        task 817 CPU 1/KVM
        task 903 vhost-812

    Raises:
        OutputError: no process, or a line of another shape.
    """
    pid: int | None = None
    vcpus: dict[int, int] = {}
    vhost: set[int] = set()
    others: list[int] = []
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        number, _, name = rest.partition(" ")
        if kind not in ("process", "task", "kernel") or not number.isdigit():
            raise OutputError("A list of a VM's threads could not be understood.", evidence=line)
        vcpu = _VCPU.match(name)
        if kind == "process":
            pid = int(number)
        elif vcpu:
            vcpus[int(vcpu[1])] = int(number)
        elif name == f"vhost-{pid}":
            vhost.add(int(number))
        elif int(number) != pid:
            others.append(int(number))
    if pid is None:
        raise OutputError("A list of a VM's threads names no process.", evidence=text)
    ordered = tuple(thread for _, thread in sorted(vcpus.items()))
    return VmThreads(pid, ordered, tuple(sorted(vhost)), tuple(others))


def read_threads(runner: Runner, name: str) -> VmThreads:
    """The threads of the running domain ``name``, in one round trip.

    Raises:
        DomainError: no QEMU process of that domain runs on the host.
    """
    done = run_script(runner, "kvmlab.domain", "vm_threads.sh", name, timeout_sec=20, check=False)
    if done.returncode == _NOT_RUNNING:
        raise DomainError(
            f"No QEMU process of the domain {name} was found on {runner.name}.",
            todo=f"Start it: `virsh start {name}`.",
            evidence=done.stderr,
        )
    return parse_threads(done.stdout)
