"""A private directory for one connection: control socket, wrapper, log.

Each connection holds a lock on its directory as long as its process lives, so that the directory
of a killed process can be told from a live one and swept away by the next connection.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from kvmlab.errors import HostError

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
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Remove the directory and all in it; may be called twice."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _base() -> Path:
    """A directory of this user's own in which socket paths stay short enough."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    cache = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(cache) if cache else Path.home() / ".cache"
    candidates = [Path(runtime) / "kvmlab"] if runtime else []
    candidates += [home / "kvmlab" / "run", Path("/tmp") / f"kvmlab-{os.getuid()}"]
    refused = []
    for path in candidates:
        if len(os.fsencode(path)) + len("/ssh-xxxxxxxx/master") > _SOCKET_PATH_MAX:
            refused.append(f"{path}: too long for a socket")
            continue
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.lstat()
            if found.st_uid != os.getuid() or path.is_symlink():
                refused.append(f"{path}: belongs to somebody else")
                continue
            path.chmod(0o700)
        except OSError as error:
            refused.append(f"{path}: {error.strerror or error}")
            continue
        return path
    raise HostError(
        "No private directory for connections could be made.",
        todo="Set XDG_RUNTIME_DIR to a directory of your own with a short path.",
        evidence="\n".join(refused),
    )


def _sweep(base: Path) -> None:
    """Remove the directories of connections whose process is gone."""
    for path in base.glob(f"{_PREFIX}*"):
        try:
            if time.time() - path.stat().st_mtime < _SWEEP_AFTER_SEC:
                continue
            lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            continue  # gone in the meantime, or not ours to judge
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue  # its process lives
        finally:
            os.close(lock)
