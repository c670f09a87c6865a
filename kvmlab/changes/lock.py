"""One lab at a time on one host: locks that the kernel drops when their holder dies.

There are two: one on this machine, and for a host that others may use as well one on the host
itself (`kvmlab.changes.keeper`). The embedded host is leased to one process anyway.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kvmlab.changes.keeper import Keeper
from kvmlab.changes.state_dir import host_key, private_dir, state_dir
from kvmlab.errors import HostBusy
from kvmlab.process import Completed

if TYPE_CHECKING:
    from kvmlab.hosts import Host


@dataclass
class _Held:
    descriptor: int
    times: int
    purpose: str
    keeper: Keeper | None = None


_held: dict[Path, _Held] = {}
_guard = threading.Lock()


@contextmanager
def locked(host: Host, *, purpose: str) -> Iterator[None]:
    """Hold the host for this process. May be nested.

    Raises:
        HostBusy: another process holds it; the message says which, since when and for what.
        HostRefused, HostUnreachable: the lock on the host cannot be had.
    """
    path = _path(host)
    with _guard:
        _take(path, host, purpose)
    try:
        yield
    finally:
        with _guard:
            _give(path)


def keeper_of(host: Host) -> Keeper | None:
    """The lock on the host itself, where this process holds one."""
    held = _held.get(_path(host))
    return held.keeper if held is not None else None


def hold_again(host: Host) -> bool:
    """Take the lock on the host again where it was lost; whether it was.

    A connection that froze loses it, and a process that was stopped. Another lab may have had the
    host meanwhile.

    Raises:
        HostBusy: another lab has taken it meanwhile, and what was changed is its business now.
        HostRefused, HostUnreachable: it cannot be had.
    """
    with _guard:
        held = _held.get(_path(host))
        if held is None or held.keeper is None or held.keeper.alive:
            return False
        held.keeper.close()
        held.keeper = Keeper.take(host, held.purpose)
        return True


def boot_of(host: Host) -> str:
    """The id of the boot of a host that this process holds; "" for one that nobody else uses."""
    keeper = keeper_of(host)
    return keeper.boot if keeper is not None else ""


class HoldingRunner:
    """Runs commands on a host only while this process holds it.

    A lab that was stopped in the middle of its steps, and comes back when its lock has been given
    to another one, would else go on with them.
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
        self._must_hold()
        return self._host.runner.run(
            argv, timeout_sec=timeout_sec, input_text=input_text, check=check, root=root
        )

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        """Start ``argv``; see :meth:`kvmlab.hosts.Runner.start`. Raises as `run` does."""
        self._must_hold()
        return self._host.runner.start(argv, root=root)

    def close(self) -> None:
        """The connection is the host's: nothing."""

    def _must_hold(self) -> None:
        keeper = keeper_of(self._host)
        if keeper is not None:
            keeper.must_be_alive()


def is_locked(host: Host) -> bool:
    """Whether this process or another one on this machine holds the host."""
    path = _path(host)
    with _guard:
        if path in _held:
            return True
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _path(host: Host) -> Path:
    return private_dir(state_dir() / "lock") / f"{host_key(host.spec)}.lock"


def _take(path: Path, host: Host, purpose: str) -> None:
    if path in _held:
        _held[path].times += 1
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise HostBusy(
            f"Another lab works on {host.label}: {_holder(path)}.",
            todo="Wait until it has ended, or end it; the lock goes with its process.",
        ) from error
    note = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat("T", "seconds")}
    # On a full disk the lock is held without a note; what is to be changed then fails to be noted.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({**note, "purpose": purpose}).encode(), 0)
    try:
        keeper = Keeper.take(host, purpose) if host.is_shared else None
    except BaseException:
        os.close(descriptor)
        raise
    _held[path] = _Held(descriptor, 1, purpose, keeper)


def _give(path: Path) -> None:
    held = _held[path]
    held.times -= 1
    if held.times == 0:
        if held.keeper is not None:
            held.keeper.close()
        # The file stays: removing it would let two processes lock two files of one name.
        os.close(held.descriptor)
        del _held[path]


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError, KeyError):
        note = json.loads(path.read_text())
        return f"process {note['pid']}, since {note['since']}, {note['purpose']}"
    return "a process that left no note"
