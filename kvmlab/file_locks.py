"""Locks on files that the kernel releases when their holder ends, in whichever way it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from kvmlab import deadline
from kvmlab.errors import KvmlabError

_EVERY_SEC = 0.05


class FileLock:
    """A lock on a file or a directory; a context manager that releases it.

    It belongs to the open file: a child that inherits ``descriptor`` holds it too.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock ``path``, a file that is made where it is missing, or a directory.

        Returns None where another process has the lock.
        """
        return cls.on_descriptor(_open(path, create=True))

    @classmethod
    def on_descriptor(cls, descriptor: int, *, wait: bool = False) -> Self | None:
        """Lock an open file, which belongs to the lock from then on.

        Returns None, and closes it, where another process has the lock; with ``wait`` it waits
        for that process.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    @classmethod
    def wait_for(
        cls, path: Path, *, timeout_sec: float, what: str, error: type[KvmlabError] = KvmlabError
    ) -> Self:
        """Lock ``path`` and wait for it at most ``timeout_sec`` seconds.

        Raises:
            error: another process kept it; ``what`` names in the message what it guards.
        """
        return deadline.until(
            lambda: cls.take(path),
            timeout_sec=timeout_sec,
            every_sec=_EVERY_SEC,
            what=f"Getting the lock for {what}",
            error=error,
            todo=f"See which process holds {path}: `fuser -v {path}`.",
        )

    def close(self) -> None:
        """Release it; it is free once every process that has the open file has closed it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def is_locked(path: Path, *, missing: bool = False) -> bool:
    """Return True where a process has the lock on ``path``, ``missing`` where it does not exist."""
    try:
        descriptor = _open(path, create=False)
    except FileNotFoundError:
        return missing
    try:
        # Shared, so that two who look at once do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: Path, *, create: bool) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not create:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
