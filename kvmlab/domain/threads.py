"""The threads of a VM's QEMU process on the host, by role."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kvmlab.errors import DomainError, OutputError
from kvmlab.hosts import Runner, run_script
from kvmlab.language import translate

_NOT_RUNNING = 3
_NUMBER = re.compile(r"[0-9]{1,10}")
_VCPU = re.compile(r"CPU (\d+)/")


@dataclass(frozen=True)
class VmThreads:
    """Thread ids of one VM's QEMU process on the host.

    ``vhost`` are the kernel's workers for this process. Before Linux 6.4 they are kernel threads of
    their own (listed in ``vhost_kernel`` as well), which `ps -T` of QEMU does not show. Since then
    they are threads of QEMU, unless the kernel is asked for the old kind (the parameter
    ``fork_from_owner_default`` of vhost, or the ioctl VHOST_SET_FORK_FROM_OWNER).
    """

    pid: int
    """The QEMU process, which is also its main thread."""
    vcpus: tuple[int, ...]
    """In the order of the vCPUs."""
    vhost: tuple[int, ...]
    others: tuple[int, ...]
    """I/O threads, workers and whatever else runs in the process."""
    vhost_kernel: tuple[int, ...] = ()
    """Those of ``vhost`` that are kernel threads."""

    def __str__(self) -> str:
        """Return the roles of the threads in words of the reader's language, with their ids."""
        threads = "threads" if len(self.vhost) > 1 else "thread"
        kind = f"kernel {threads}" if self.vhost_kernel else f"{threads} of QEMU"
        roles = [_named("vCPU", self.vcpus), _named("vhost worker", self.vhost)]
        if self.vhost:
            roles[1] += f" ({kind})"
        roles.append(_named("other thread", self.others))
        return translate(f"QEMU process {self.pid}: {'; '.join(roles)}")


def _named(role: str, tids: tuple[int, ...]) -> str:
    plural = "" if len(tids) == 1 else "s"
    return f"{role}{plural} {', '.join(map(str, tids))}" if tids else f"no {role}"


def parse_threads(text: str) -> VmThreads:
    """Parse the output of ``vm_threads.sh``.

    ::

        process 812
        task 812 qemu-system-x86
        task 816 CPU 0/KVM
        task 817 CPU 1/KVM
        task 903 vhost-812
        kernel 904 vhost-812            (a worker that is a kernel thread)

    Raises:
        OutputError: no process, or a line of another shape.
    """
    pid: int | None = None
    vcpus: dict[int, int] = {}
    vhost: dict[int, str] = {}
    others: list[int] = []
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        number, _, name = rest.partition(" ")
        if kind not in ("process", "task", "kernel") or not _NUMBER.fullmatch(number):
            raise OutputError("A list of a VM's threads could not be understood.", evidence=line)
        vcpu = _VCPU.match(name)
        if kind == "process":
            pid = int(number)
        elif vcpu:
            vcpus[int(vcpu[1])] = int(number)
        elif name == f"vhost-{pid}":
            vhost[int(number)] = kind
        elif int(number) != pid:
            others.append(int(number))
    if pid is None:
        raise OutputError("A list of a VM's threads names no process.", evidence=text)
    return VmThreads(
        pid,
        tuple(thread for _, thread in sorted(vcpus.items())),
        tuple(sorted(vhost)),
        tuple(others),
        tuple(sorted(thread for thread, kind in vhost.items() if kind == "kernel")),
    )


def read_threads(runner: Runner, name: str) -> VmThreads:
    """Return the threads of the running domain ``name``, in one round trip.

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
