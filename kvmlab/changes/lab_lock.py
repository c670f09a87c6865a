"""One lab at a time on one host: two locks, which the kernel drops when their holder dies.

One is a file lock on this machine. For a host that others may use as well, the other is on the host
itself (`kvmlab.changes.host_lock`). The embedded host is leased to one process anyway.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kvmlab import file_locks
from kvmlab.changes.host_lock import SILENCE_SEC, HostIdentity, HostLock
from kvmlab.directories import private_dir, state_dir
from kvmlab.errors import HostBusy
from kvmlab.file_locks import FileLock
from kvmlab.hosts.uri import host_key
from kvmlab.process import Completed

if TYPE_CHECKING:
    from kvmlab.hosts import Host, RemoteProcess


@dataclass
class _Entry:
    """A lock of this process: the file lock, how often it is nested, the lock on the host."""

    file_lock: FileLock
    depth: int
    purpose: str
    host_lock: HostLock | None = None


_entries: dict[Path, _Entry] = {}
_guard = threading.Lock()


@contextmanager
def locked(host: Host, *, purpose: str) -> Iterator[None]:
    """Lock the host for this process. May be nested.

    Raises:
        HostBusy: another process has the lock; the message says which, since when and for what.
        HostRefused, HostUnreachable: the lock on the host cannot be taken.
    """
    path = _path(host)
    with _guard:
        _take(path, host, purpose)
    try:
        yield
    finally:
        with _guard:
            _release(path)


def host_lock_of(host: Host) -> HostLock | None:
    """Return this process's lock on the host itself; None where it has none."""
    entry = _entries.get(_path(host))
    return entry.host_lock if entry is not None else None


def reacquire(host: Host) -> bool:
    """Take the lock on the host again if it was lost; return whether it was.

    A frozen connection loses it, and a process that was stopped. Another lab may have had the host
    in between.

    Raises:
        HostBusy: another lab has it now, and has to restore what was changed.
        HostRefused, HostUnreachable: it cannot be taken.
    """
    with _guard:
        entry = _entries.get(_path(host))
        if entry is None or entry.host_lock is None or entry.host_lock.alive:
            return False
        entry.host_lock.close()
        entry.host_lock = _take_on_host(host, entry.purpose)
        return True


def identity_of(host: Host) -> HostIdentity:
    """Return the identity of a locked host; an empty one where nobody else uses it."""
    host_lock = host_lock_of(host)
    return host_lock.identity if host_lock is not None else HostIdentity()


class LockedRunner:
    """Runs commands on a host only while this process has its lock.

    A lab that was stopped in the middle of its steps, and continues after another one got the lock,
    must not go on with them.
    """

    def __init__(self, host: Host) -> None:
        self.name = host.runner.name
        self._host = host

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv``; see :meth:`kvmlab.hosts.Runner.run`.

        Raises:
            HostUnreachable: the lock is lost; also as `Runner.run`.
        """
        self._require_lock()
        return self._host.runner.run(
            argv, timeout_sec=timeout_sec, input_text=input_text, check=check, root=root
        )

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Start ``argv`` and go on; see :meth:`kvmlab.hosts.Runner.spawn`. Raises as `run` does."""
        self._require_lock()
        return self._host.runner.spawn(argv, root=root, shown_as=shown_as)

    def close(self) -> None:
        """Do nothing: the connection belongs to the host."""

    def _require_lock(self) -> None:
        host_lock = host_lock_of(self._host)
        if host_lock is not None:
            host_lock.must_be_alive()


def is_locked(host: Host) -> bool:
    """Return whether a process on this machine, this one included, has the host's lock."""
    path = _path(host)
    with _guard:
        return path in _entries or file_locks.is_locked(path)


def _path(host: Host) -> Path:
    return private_dir(state_dir() / "lock", must_own=False) / f"{host_key(host.spec)}.lock"


def _take(path: Path, host: Host, purpose: str) -> None:
    if path in _entries:
        _entries[path].depth += 1
        return
    file_lock = FileLock.take(path)
    if file_lock is None:
        raise HostBusy(
            f"Another lab works on {host.label}: {_holder(path)}.",
            todo="Wait until it has ended, or end it; the lock goes with its process.",
        )
    note = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat("T", "seconds")}
    # On a full disk the lock has no note; the change then fails at its journal.
    with suppress(OSError):
        os.ftruncate(file_lock.descriptor, 0)
        text = json.dumps({**note, "purpose": purpose})
        os.pwrite(file_lock.descriptor, text.encode(), 0)
    try:
        host_lock = _take_on_host(host, purpose) if host.is_shared else None
    except BaseException:
        file_lock.close()
        raise
    _entries[path] = _Entry(file_lock, 1, purpose, host_lock)


def _take_on_host(host: Host, purpose: str) -> HostLock:
    confirm_sec = host.confirm_within_sec
    silence_sec = confirm_sec if 0 < confirm_sec < SILENCE_SEC else SILENCE_SEC
    return HostLock.take(host, purpose, silence_sec=silence_sec, confirm_sec=confirm_sec)


def _release(path: Path) -> None:
    entry = _entries[path]
    entry.depth -= 1
    if entry.depth == 0:
        if entry.host_lock is not None:
            entry.host_lock.close()
        # The file stays: removing it would let two processes lock two files of one name.
        entry.file_lock.close()
        del _entries[path]


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        note = json.loads(path.read_text(encoding="utf-8"))
        return f"process {note['pid']}, since {note['since']}, {note['purpose']}"
    return "a process that left no note"
