"""Host B of a live migration: seconds until it is up, of the host's clock and of the wall.

    python -m bench second_host [--count N]

``script`` is the command that makes it (``second_host.sh up``), by the host's clock; ``open`` is
all of `lab.second_host().open()`, with the checks, the journal and the connection to its libvirt.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._harness import Bench, repeats
from kvmlab import open_lab
from kvmlab.changes.second_host import FOLDER
from kvmlab.hosts import Host, Runner
from kvmlab.process import Completed


class TimedRunner:
    """A runner that notes how long the host's clock went on while host B was made."""

    def __init__(self, inner: Runner) -> None:
        self.name = inner.name
        self.spawn = inner.spawn
        self.close = inner.close
        self.script_sec = 0.0
        self._inner = inner

    def run(self, argv: Sequence[str], **keywords: Any) -> Completed:
        """Run ``argv``; see `Runner`."""
        if not {"up", FOLDER} <= set(argv):
            return self._inner.run(argv, **keywords)
        begin = uptime(self._inner)
        done = self._inner.run(argv, **keywords)
        self.script_sec = uptime(self._inner) - begin
        return done


def uptime(runner: Runner) -> float:
    """Return the seconds since the host's boot, by its own clock."""
    return float(runner.run(("cat", "/proc/uptime"), timeout_sec=60).stdout.split()[0])


def main(argv: Sequence[str] | None = None) -> None:
    """Open and close host B ``--count`` times, with VFs and without."""
    count = repeats(10, argv)
    bench = Bench("second_host", "seconds until host B is up")
    with tempfile.TemporaryDirectory() as out, open_lab("embedded", out=Path(out)) as lab:
        _ = lab.vm
        host: Host = lab.host
        runner = TimedRunner(host.runner)
        host.runner = runner
        for _ in range(count):
            for vfs in (True, False):
                kind = "with VFs" if vfs else "without"
                second = lab.second_host(with_vfs=vfs)
                begin, started = uptime(runner), time.monotonic()
                second.open()
                wall = time.monotonic() - started
                bench.add(f"open, {kind}", uptime(runner) - begin)
                bench.add(f"script, {kind}", runner.script_sec)
                bench.add(f"open, {kind}: wall", wall)
                second.close()
    bench.finish()
