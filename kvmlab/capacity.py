"""CPUs and memory of this machine that this process may use: its affinity and cgroups included.

In a container or a systemd slice ``/proc/meminfo`` and the number of CPUs are those of the whole
machine, and the limits stand in the process's cgroups, of version 1 or 2.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_MIB: Final = 2**20


def usable_cpus(proc: Path = _PROC) -> int:
    """Return how many CPUs this process may keep busy, one at least.

    Those of its affinity mask, or fewer where a cgroup above it has a quota; a quota of one and a
    half is one. ``proc`` is where procfs is.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    for cgroup in _cgroups(proc):
        cpus = min(cpus, cgroup.cpus)
    return max(1, int(cpus))


def idle_cpus(proc: Path = _PROC, *, sample_sec: float = 0.3) -> int:
    """Return how many of the machine's CPUs nobody uses, rounded, seen for ``sample_sec`` seconds.

    Not the load average, which tells of the last minute and counts what this process did in it.
    """
    before = _idle_and_all(proc)
    threading.Event().wait(sample_sec)  # for nothing but time: ticks are counted over it
    after = _idle_and_all(proc)
    ticks = after[1] - before[1]
    if ticks <= 0:
        return usable_cpus(proc)
    return round((after[0] - before[0]) / ticks * (os.cpu_count() or 1))


def _idle_and_all(proc: Path) -> tuple[int, int]:
    """Return the idle and all ticks of all CPUs; waiting for a disk is idle."""
    first = (proc / "stat").read_text(encoding="ascii").splitlines()[0]
    ticks = [int(word) for word in first.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def available_memory_mib(proc: Path = _PROC) -> int:
    """Return the MiB of memory that this process can still get, as the kernel estimates it.

    MemAvailable of /proc/meminfo, or less where a cgroup above the process is nearer to its limit;
    file pages that the kernel would drop first do not count as used there.
    """
    available = _machine_memory(proc)
    for cgroup in _cgroups(proc):
        available = min(available, cgroup.memory)
    return max(0, int(available)) // _MIB


def _machine_memory(proc: Path) -> float:
    for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024.0
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@dataclass(frozen=True)
class _Cgroup:
    """One directory of a cgroup tree; the names of its files differ between the versions."""

    directory: Path
    is_v2: bool

    @property
    def cpus(self) -> float:
        """CPUs of its quota; infinite without one."""
        if self.is_v2:
            quota, _, period = self._text("cpu.max").partition(" ")
        else:
            quota, period = self._text("cpu.cfs_quota_us"), self._text("cpu.cfs_period_us")
        if not quota.isdecimal() or not period.isdecimal():
            return float("inf")  # "max", -1, or a tree without this controller
        return int(quota) / int(period)

    @property
    def memory(self) -> float:
        """Bytes that still fit into it; infinite without a limit."""
        limit, usage, inactive = (
            ("memory.max", "memory.current", "inactive_file")
            if self.is_v2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        most, used = self._text(limit), self._text(usage)
        if not most.isdecimal() or not used.isdecimal():
            return float("inf")
        droppable = 0
        for line in self._text("memory.stat").splitlines():
            if line.startswith(f"{inactive} "):
                droppable = int(line.split()[1])
        return float(int(most) - int(used) + droppable)

    def _text(self, name: str) -> str:
        try:
            return (self.directory / name).read_text(encoding="ascii").strip()
        except OSError:
            return ""


def _cgroups(proc: Path) -> Iterator[_Cgroup]:
    """Yield the cgroups of this process, inner ones first, as far up as they are mounted."""
    try:
        mounts = (proc / "self/mountinfo").read_text(encoding="utf-8").splitlines()
        paths = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for mount in mounts:
        words, _, rest = mount.partition(" - ")
        kind, *_, options = rest.split(" ")
        _, _, _, root, mount_point, *_ = words.split(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        for line in paths:
            _, controllers, path = line.split(":", 2)
            if kind == "cgroup2":
                is_own = not controllers
            else:
                is_own = bool({*controllers.split(",")} & {*options.split(",")} & {"cpu", "memory"})
            if is_own:
                yield from _up_to(Path(mount_point), root, path, is_v2=kind == "cgroup2")


def _up_to(top: Path, root: str, path: str, *, is_v2: bool) -> Iterator[_Cgroup]:
    """Yield the directories from ``path``, as named below ``root``, up to the mount's ``top``."""
    # Inside a container the path may be the machine's and not the mount's: then only the top is.
    inside = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path()
    directory = top / inside
    while True:
        yield _Cgroup(directory, is_v2)
        if directory == top:
            return
        directory = directory.parent
