"""The threads of a VM on the host: who spends the CPU time."""

from __future__ import annotations

from dataclasses import dataclass


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
