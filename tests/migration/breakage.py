"""Ways to break a migration in its middle: a command on the host, once memory has moved."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from kvmlab.changes.second_host import FOLDER
from kvmlab.domain import TestVM
from kvmlab.errors import DomainNotFound, KvmlabError
from kvmlab.hosts import Host, libvirt_client

LIBVIRTD_OF_B: Final = f"kill -9 $(cat {FOLDER}/run/second.pid)"
LIBVIRTD_OF_A: Final = "kill -9 $(cat /run/libvirtd.pid)"
#: The end of host B's connections, which run through ssh.
CONNECTION: Final = f"pkill -f 'nc .*{FOLDER}/run/libvirt-sock'"
#: The connection over which memory moves from one QEMU to the other.
STREAM: Final = shlex.join(
    (
        *("perl", "-e", Path(__file__).with_name("cut_stream.pl").read_text(encoding="utf-8")),
        f"{FOLDER}/migration.sock",
    )
)
BREAKAGES: Final = {
    "libvirtd of host B": LIBVIRTD_OF_B,
    "libvirtd of host A": LIBVIRTD_OF_A,
    "the connection": CONNECTION,
    "the stream": STREAM,
}
_MOVED_BYTES: Final = 1 << 20
_FOLLOWED_BYTES: Final = 4 << 20


def memory_moves(job: Mapping[str, Any]) -> bool:
    """Return whether these are the figures of a migration that moves memory."""
    return bool(job.get("memory_processed", 0) > _MOVED_BYTES)


def runs_in_post_copy(there: Host, domain: str) -> bool:
    """Return whether the VM runs on ``there``, and a part of its memory is still where it was."""
    library = libvirt_client.library()
    try:
        state, reason = TestVM.find(there, domain).handle.state()
    except DomainNotFound:
        return False
    return (state, reason) == (library.VIR_DOMAIN_RUNNING, library.VIR_DOMAIN_RUNNING_POSTCOPY)


def memory_follows(there: Host, domain: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return a condition: the VM runs on ``there``, and 4 MiB have followed it so far.

    Right after it went on, QEMU may wait for a page itself, and takes no connection meanwhile.
    """
    left: list[int] = []

    def due(job: Mapping[str, Any]) -> bool:
        if not runs_in_post_copy(there, domain):
            return False
        left.append(int(job.get("memory_remaining", 0)))
        return left[0] - left[-1] > _FOLLOWED_BYTES

    return due


class Breakage:
    """A command of ``host`` that is run once, as soon as `on_job` sees that it is ``due``."""

    def __init__(
        self, host: Host, line: str, due: Callable[[Mapping[str, Any]], bool] = memory_moves
    ) -> None:
        self.done = threading.Event()
        self._host = host
        self._line = line
        self._due = due

    def on_job(self, job: Mapping[str, Any]) -> None:
        """Break the migration where these figures say that it is due."""
        if not self.done.is_set() and self._due(job):
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
