"""Ways to break a migration in its middle: a command on the host, once memory has moved."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from kvmlab.changes.second_host import FOLDER
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from kvmlab.hosts import Host

LIBVIRTD_OF_B: Final = f"kill -9 $(cat {FOLDER}/run/second.pid)"
LIBVIRTD_OF_A: Final = "kill -9 $(cat /run/libvirtd.pid)"
#: The end of host B's connections, which run through ssh.
CONNECTION: Final = f"pkill -f 'nc .*{FOLDER}/run/libvirt-sock'"
BREAKAGES: Final = {
    "libvirtd of host B": LIBVIRTD_OF_B,
    "libvirtd of host A": LIBVIRTD_OF_A,
    "the connection": CONNECTION,
}
_MOVED_BYTES: Final = 1 << 20


class Breakage:
    """A command of ``host`` that is run once, as soon as `on_job` sees memory move."""

    def __init__(self, host: Host, line: str) -> None:
        self.done = threading.Event()
        self._host = host
        self._line = line

    def on_job(self, job: Mapping[str, Any]) -> None:
        """Break the migration where this is the figure of one that moves memory."""
        if job.get("memory_processed", 0) > _MOVED_BYTES and not self.done.is_set():
            self.done.set()
            self._host.run(("sh", "-c", self._line), timeout_sec=60, check=False)


@contextmanager
def breaking_the_way_home(host: Host, there: Host, domain: str, line: str) -> Iterator[Breakage]:
    """Break the next migration away from ``there``, by ``line`` on ``host``."""
    breakage = Breakage(host, line)
    over = threading.Event()

    def watch() -> None:
        away = TestVM.find(there, domain)
        while not over.is_set() and not breakage.done.is_set():
            with suppress(KvmlabError):
                breakage.on_job(dict(away.handle.jobStats(0)))
            time.sleep(0.1)

    thread = threading.Thread(target=watch, name="breakage")
    thread.start()
    try:
        yield breakage
    finally:
        over.set()
        thread.join()
