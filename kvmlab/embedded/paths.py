"""Where the embedded host keeps its files on this machine, all of them private to the user.

::

    $XDG_CACHE_HOME/kvmlab (~/.cache/kvmlab)
        images/   root filesystem, kernel and QEMU of the lab host, by the hash of their recipe
        states/   saved states, by the hash of all that a state depends on
        probes/   what a QEMU and an accelerator were found to be able to do
    $XDG_RUNTIME_DIR/kvmlab (or run/ in the cache)
        shared/   the host started by `kvmlab host up`
        own-*/    hosts that end with the process that started them
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from kvmlab.errors import UsageError


def cache_dir() -> Path:
    """The cache of kvmlab; made with mode 700 where it is missing."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return private_dir(root / "kvmlab")


def images_dir() -> Path:
    """Where images are stored."""
    return private_dir(cache_dir() / "images")


def states_dir() -> Path:
    """Where saved states are stored."""
    return private_dir(cache_dir() / "states")


def probes_dir() -> Path:
    """Where the results of probes are stored."""
    return private_dir(cache_dir() / "probes")


def runtime_dir() -> Path:
    """Where running hosts keep their sockets, keys and console logs."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/") and os.access(base, os.W_OK | os.X_OK):
        return private_dir(Path(base) / "kvmlab")
    return private_dir(cache_dir() / "run")


def private_dir(path: Path) -> Path:
    """Make the directory ``path`` for this user only, and return it.

    Raises:
        UsageError: it cannot be made, or it belongs to somebody else.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise UsageError(
                f"{path} belongs to user {found.st_uid}; kvmlab keeps keys there and needs a "
                f"directory of its own user {os.geteuid()}.",
                todo="Remove it, or point XDG_CACHE_HOME and XDG_RUNTIME_DIR at directories of "
                "your own.",
            )
        if found.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"The directory {path} cannot be used: {error.strerror or error}.",
            todo="Make it writable, or point XDG_CACHE_HOME and XDG_RUNTIME_DIR elsewhere.",
        ) from error
    return path


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old file or the whole new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
