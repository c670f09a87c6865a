"""A rollout over embedded hosts as strangers behind ssh, two of its workers killed at work.

    python -m bench fleet_killed_workers [--hosts 5] [--workers 4]

The first worker that is killed leaves its job, which gets SIGTERM and restores its host; the second
one is killed with its job, as when its machine ends, and its host undoes by itself what nobody
confirms (the time is that of the host's clock). Says what became of each host, and compares the
state of all of them with that of before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench._harness import Bench
from kvmlab.fleet import load_record
from tests.fleet.strangers import (
    dask_workers,
    kill_at_work,
    kvmlab,
    strangers,
    wait_until_restored,
)

_ROLLBACK_SEC = 900.0


def main(argv: Sequence[str] | None = None) -> None:
    """Run the rollout, kill the workers of the second and third host, resume it."""
    parser = argparse.ArgumentParser(prog="python -m bench fleet_killed_workers")
    parser.add_argument("--hosts", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--count", type=int, default=1, help="trials on each host")
    chosen = parser.parse_args(argv)
    bench = Bench("fleet_killed_workers", "a rollout with two workers killed at work")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        stack.enter_context(_in_folder(folder))
        fleet = stack.enter_context(strangers(folder, chosen.hosts))
        workers = stack.enter_context(dask_workers(chosen.workers))
        before = {name: fleet.state(name) for name in fleet.leases}
        words = ["fleet", "measure", "virtio-vhost", "-i", str(fleet.inventory), "--yes"]
        words += ["-w", "latency", "--trials", str(chosen.count), "--max-failures", "0"]
        words += ["--scheduler", workers.address]
        begin = time.monotonic()
        with kvmlab(*words, "--out", "fleet") as rollout:
            kill_at_work(fleet, workers, "kvm2", with_job=False)
            kill_at_work(fleet, workers, "kvm3", with_job=True)
            killed_at = time.monotonic()
            printed = rollout.communicate()[0]
        bench.add("rollout", time.monotonic() - begin)
        bench.notes["exit code"] = str(rollout.returncode)
        for name, outcome in load_record(folder / "fleet").outcomes.items():
            lines = outcome.message.splitlines()
            bench.notes[name] = " / ".join([str(outcome.status), *lines[-1:]])
            if not outcome.failed:
                bench.add("a host's job", outcome.elapsed_sec)
        print(printed, file=sys.stderr)
        wait_until_restored(fleet, "kvm3", _ROLLBACK_SEC)
        bench.add("rollback by the host alone, after the kill", time.monotonic() - killed_at)
        changed = [name for name in fleet.leases if fleet.state(name) != before[name]]
        bench.notes["hosts that differ from before"] = ", ".join(changed) or "none"
        with kvmlab(*words, "--resume", "fleet") as resumed:
            resumed.communicate()
        bench.notes["exit code of --resume"] = str(resumed.returncode)
    bench.finish()


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
