"""CPUs and memory that a process may use, from procfs and cgroups of both versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvmlab.capacity import available_memory_mib, idle_cpus, usable_cpus
from kvmlab.lab.parallelism import jobs_that_fit, usual_jobs

MEMINFO = "MemTotal:       24674340 kB\nMemFree: 1 kB\nMemAvailable:   23068672 kB\n"
GIB = 2**30


def procfs(folder: Path, *, mount: str, cgroup: str) -> Path:
    """Write a procfs with one mounted cgroup tree; `{tree}` in the mount is where it is."""
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    line = mount.format(tree=folder / "tree")
    (proc / "self" / "mountinfo").write_text(f"22 1 0:20 / /proc rw - proc proc rw\n{line}\n")
    (proc / "self" / "cgroup").write_text(cgroup)
    return proc


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_a_limit_of_a_slice_above_counts(tmp_path: Path) -> None:
    """As systemd makes them: the service has no limit of its own, its slice has."""
    mount = "30 23 0:26 / {tree} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
    proc = procfs(tmp_path, mount=mount, cgroup="0::/seat.slice/hub-anna.service\n")
    service = tmp_path / "tree" / "seat.slice" / "hub-anna.service"
    write(service, memory__max="max", memory__current=str(GIB), cpu__max="max 100000")
    write(
        service.parent,
        memory__max=str(4 * GIB),
        memory__current=str(3 * GIB),
        memory__stat=f"anon {GIB}\ninactive_file {GIB}\nactive_file 0",
        cpu__max="50000 100000",
    )
    assert available_memory_mib(proc) == 2048, "4 GiB less 3 used, of which one can be dropped"
    assert usable_cpus(proc) == 1, "half a CPU is still one host"


def test_a_container_of_version_1_is_limited_at_the_top_of_its_mount(tmp_path: Path) -> None:
    """As in Docker: the path is the machine's, and the mount's root is the container's cgroup."""
    mount = "41 40 0:32 /docker/4f {tree} ro - cgroup cgroup rw,memory"
    proc = procfs(tmp_path, mount=mount, cgroup="9:memory:/docker/4f\n3:cpuset:/\n0::/\n")
    write(
        tmp_path / "tree",
        memory__limit_in_bytes=str(2 * GIB),
        memory__usage_in_bytes=str(GIB // 2),
        memory__stat=f"inactive_file 1\ntotal_inactive_file {GIB // 4}",
    )
    assert available_memory_mib(proc) == 2048 - 512 + 256


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    mount = "41 40 0:32 / {tree} rw - cgroup cgroup rw,cpu,cpuacct"
    proc = procfs(tmp_path, mount=mount, cgroup="4:cpu,cpuacct:/\n")
    write(tmp_path / "tree", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert available_memory_mib(proc) == 22528
    assert usable_cpus(proc) == len(os.sched_getaffinity(0))


def test_one_cpu_of_affinity_is_one_host() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from kvmlab.lab.parallelism import jobs_that_fit; print(jobs_that_fit())"
    )
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.fixture
def small_cgroup() -> Path:
    """Return a cgroup of this machine with a limit of 256 MiB, removed when it is empty."""
    version_1 = Path("/sys/fs/cgroup/memory/kvmlab-test")
    try:
        version_1.mkdir()
        (version_1 / "memory.limit_in_bytes").write_text(str(256 * 2**20))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    return version_1


def test_a_process_in_a_cgroup_of_256_mib_sees_them(small_cgroup: Path) -> None:
    script = (
        "import os, sys, pathlib\n"
        "pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()))\n"
        "from kvmlab.capacity import available_memory_mib\n"
        "from kvmlab.lab.parallelism import jobs_that_fit\n"
        "print(available_memory_mib(), jobs_that_fit())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(small_cgroup)],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        small_cgroup.rmdir()
    available, jobs = map(int, done.stdout.split())
    assert 128 < available <= 256
    assert jobs == 1


def test_a_cpu_that_is_busy_is_not_idle() -> None:
    before = idle_cpus(sample_sec=0.5)
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        assert idle_cpus(sample_sec=1) == 0
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert 0 <= before <= (os.cpu_count() or 1)


def test_the_variable_goes_before_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVMLAB_JOBS", "7")
    assert usual_jobs() == 7
    monkeypatch.delenv("KVMLAB_JOBS")
    assert usual_jobs() == jobs_that_fit() <= 1.5 * len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("cpus", "free_mib", "hosts"),
    [(1, 16000, 1), (2, 16000, 3), (4, 16000, 6), (2, 2500, 2), (8, 3000, 3), (2, 500, 1)],
)
def test_hosts_wait_now_and_then_so_that_three_fit_two_cpus(
    monkeypatch: pytest.MonkeyPatch, cpus: int, free_mib: int, hosts: int
) -> None:
    monkeypatch.setattr("kvmlab.lab.parallelism.usable_cpus", lambda: cpus)
    monkeypatch.setattr("kvmlab.lab.parallelism.available_memory_mib", lambda: free_mib)
    assert jobs_that_fit() == hosts
