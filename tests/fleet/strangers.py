"""Embedded hosts as strangers behind ssh, an inventory of them, and dask workers to kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.embedded import Lease, Settings, acquire
from kvmlab.errors import HostUnreachable
from kvmlab.hosts import Host, open_host
from kvmlab.lab import EMBEDDED_CABLE, preparation
from tests.faults.host_state import read_state
from tests.faults.stranger import CABLE, alias_of, environ

_START_SEC: Final = 120
_SCHEDULER: Final = """
import sys
from distributed import LocalCluster
if __name__ == '__main__':
    cluster = LocalCluster(n_workers=0, host='127.0.0.1', dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Fleet:
    """Strangers by name, their leases, and the inventory that a user would write."""

    leases: dict[str, Lease]
    inventory: Path
    environment: dict[str, str]

    def open(self, name: str) -> Host:
        """Open one of them as its user would."""
        return open_host(uri_of(name), cable=EMBEDDED_CABLE, allows_changes=True, deadline_sec=60)

    def state(self, name: str) -> dict[str, Any]:
        """Read the state of one of them, its test VM running."""
        with self.open(name) as host:
            return read_state(host, TestVM.ensure(host))

    def has_open_journal(self, name: str) -> bool:
        """Return True while a lab's changes on that host are journalled there."""
        look = self.leases[name].ssh_argv("ls /var/lib/kvmlab/journal/*.undo 2>/dev/null | wc -l")
        done = subprocess.run(look, capture_output=True, text=True, check=False)
        return done.stdout.strip() not in ("", "0")


def uri_of(name: str) -> str:
    return f"qemu+ssh://{name}/system"


@contextmanager
def strangers(folder: Path, count: int) -> Iterator[Fleet]:
    """Lease ``count`` embedded hosts, each reached only by its name in an ssh configuration."""
    with ExitStack() as stack:
        leases = {
            f"kvm{number}": stack.enter_context(
                acquire(Settings(), preparation=preparation(), private=True)
            )
            for number in range(1, count + 1)
        }
        sections = [
            f"Host {name}\n    HostName {lease.address}\n    Port {lease.port}\n"
            f"    User {lease.user}\n    IdentityFile {lease.key_path}\n    IdentitiesOnly yes\n"
            f"    UserKnownHostsFile {lease.known_hosts}\n"
            f"    HostKeyAlias {alias_of(lease.known_hosts)}\n"
            for name, lease in leases.items()
        ]
        (folder / "config").write_text("".join(sections))
        tools = folder / "tools"
        tools.mkdir()
        words = f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{folder / "config"}" "$@"\n'
        (tools / "ssh").write_text(words)
        (tools / "ssh").chmod(0o755)
        hosts = {name: {"uri": uri_of(name), "cable": CABLE} for name in leases}
        inventory = folder / "hosts.yaml"
        inventory.write_text(yaml.safe_dump({"hosts": hosts}))
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "KVMLAB_STATE_HOME": str(folder / "state"),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }
        with environ(environment):
            yield Fleet(leases, inventory, environment)


@dataclass(frozen=True)
class Workers:
    """A dask scheduler and its workers, each a process that can be killed."""

    address: str
    processes: tuple[psutil.Process, ...]

    def working_on(self, name: str) -> tuple[psutil.Process, psutil.Process] | None:
        """Return the worker and its `kvmlab` process that work on a host; None where none does."""
        for worker in self.processes:
            try:
                for child in worker.children(recursive=True):
                    if uri_of(name) in child.cmdline():
                        return worker, child
            except psutil.Error:
                continue
        return None


@contextmanager
def dask_workers(count: int) -> Iterator[Workers]:
    """Start a scheduler on 127.0.0.1 and workers that run one job at a time; end them all."""
    with ExitStack() as stack:
        argv = [sys.executable, "-c", _SCHEDULER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        scheduler = stack.enter_context(subprocess.Popen(argv, text=True, **pipes))  # type: ignore[call-overload]
        stack.callback(scheduler.stdin.close)
        address = scheduler.stdout.readline().strip()
        words = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "30")
        workers = []
        for _ in range(count):
            argv = [sys.executable, "-m", "distributed.cli.dask_worker", address, *words]
            worker = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(worker.wait)
            stack.callback(worker.kill)
            workers.append(psutil.Process(worker.pid))
        yield Workers(address, tuple(workers))


def kill_at_work(fleet: Fleet, workers: Workers, name: str, *, with_job: bool) -> None:
    """Kill the worker of a host while its changes are in place; ``with_job`` its job as well.

    Without, the job gets SIGTERM and restores its host. With both killed, nobody is left to do it,
    as when the machine of a worker ends.
    """

    def at_work() -> tuple[psutil.Process, psutil.Process] | None:
        pair = workers.working_on(name)
        return pair if pair is not None and fleet.has_open_journal(name) else None

    worker, job = until(
        at_work,
        timeout_sec=_START_SEC,
        every_sec=0.2,
        what=f"A change on {name}",
        error=HostUnreachable,
    )
    if with_job:
        worker.suspend()  # it must not see the end of its job
        for process in (*job.children(recursive=True), job):
            with suppress(psutil.NoSuchProcess):  # a command that has just ended by itself
                process.kill()
    os.kill(worker.pid, signal.SIGKILL)


def kvmlab(*words: str) -> subprocess.Popen[str]:
    """Start `kvmlab` as a user would, its output in a pipe."""
    argv: Sequence[str] = [sys.executable, "-m", "kvmlab", *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until_restored(fleet: Fleet, name: str, timeout_sec: float) -> float:
    """Return the seconds until nothing is journalled on a host any more.

    Raises:
        HostUnreachable: something still is after ``timeout_sec`` seconds.
    """
    begin = time.monotonic()
    until(
        lambda: not fleet.has_open_journal(name),
        timeout_sec=timeout_sec,
        every_sec=1,
        what=f"The rollback of {name}",
        error=HostUnreachable,
    )
    return time.monotonic() - begin
