"""A private directory for one connection: control socket, wrapper, log.

Each connection holds a lock on its directory as long as its process lives, so that the directory
of a killed process can be told from a live one and swept away by the next connection.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from kvmlab.directories import private_dir
from kvmlab.errors import HostError, UsageError
from kvmlab.file_locks import FileLock

_PREFIX: Final = "ssh-"
_LOCK: Final = "lock"
#: A Unix socket's path has 107 bytes at most, and ssh binds to the path with 17 characters more
#: before it renames it.
_SOCKET_PATH_MAX: Final = 107 - 17
#: Younger directories may belong to a connection that is just about to take its lock.
_SWEEP_AFTER_SEC: Final = 60


class RuntimeDir:
    """One connection's own directory, mode 700; ``close`` removes it."""

    def __init__(self) -> None:
        base = _base()
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = FileLock.take(self.path / _LOCK)

    def close(self) -> None:
        """Remove the directory and all in it; may be called twice."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self._lock.close()
            self._lock = None


def _base() -> Path:
    """Return a directory of this user's own in which socket paths stay short enough."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(runtime) / "kvmlab"] if runtime else []
    candidates += [user_cache_path("kvmlab") / "run", Path("/tmp") / f"kvmlab-{os.getuid()}"]
    refused = []
    for path in candidates:
        if len(os.fsencode(path)) + len("/ssh-xxxxxxxx/master") > _SOCKET_PATH_MAX:
            refused.append(f"{path}: too long for a socket")
        elif path.is_symlink():
            refused.append(f"{path}: a symbolic link")
        else:
            try:
                return private_dir(path)
            except UsageError as error:
                refused.append(error.message)
    raise HostError(
        "No private directory for connections could be made.",
        todo="Set XDG_RUNTIME_DIR to a directory of your own with a short path.",
        evidence="\n".join(refused),
    )


def _sweep(base: Path) -> None:
    """Remove the directories of connections whose process is gone."""
    for path in base.glob(f"{_PREFIX}*"):
        # One that is gone meanwhile, or is not ours to judge, raises.
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _SWEEP_AFTER_SEC:
                continue
            lock = FileLock.take(path / _LOCK)
            if lock is not None:
                with lock:
                    shutil.rmtree(path, ignore_errors=True)
