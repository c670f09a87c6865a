"""Locks that the kernel gives back when their holder ends, in whatever way it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvmlab import waiting
from kvmlab.errors import EmbeddedError


class FileLock:
    """An exclusive lock on a file. It belongs to the open file, so it can be handed to a child."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """Lock ``path``, which is made if it is missing; None if somebody else holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def close(self) -> None:
        """Let go; the lock is free once every process that has the open file has closed it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@contextmanager
def held(path: Path, *, timeout_sec: float, what: str) -> Iterator[None]:
    """Hold the lock on ``path`` for a block, waiting for it at most ``timeout_sec`` seconds.

    Raises:
        EmbeddedError: somebody else kept it; ``what`` says what it guards.
    """
    lock = waiting.until(
        lambda: FileLock.take(path),
        timeout_sec=timeout_sec,
        every_sec=0.05,
        what=f"Getting the lock for {what}",
        error=EmbeddedError,
        todo=f"See who holds {path}: `fuser -v {path}`.",
    )
    try:
        yield
    finally:
        lock.close()
