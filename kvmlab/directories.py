"""Directories of kvmlab on this machine, and files in them.

::

    $XDG_CACHE_HOME/kvmlab (~/.cache/kvmlab)
        images/     root file system, kernel and QEMU of the embedded host, by their recipe
        states/     saved states, by the hash of all that a state depends on
        probes/     abilities of QEMU and of accelerators, as they were tried
        emulators/  QEMU programs that were built here
    /var/cache/kvmlab or $KVMLAB_SHARED_CACHE
        images/, emulators/ for all users of the machine, only read
    $XDG_RUNTIME_DIR/kvmlab (or run/ in the cache)
        shared/     the host started by `kvmlab host up`
        own-*/      hosts that end with the process that started them
        ssh-*/      connections
    $KVMLAB_STATE_HOME, or $XDG_STATE_HOME/kvmlab (~/.local/state/kvmlab)
        journal/    journals of changes, by host
        lock/       locks of hosts
        defined/    persistent definitions of VMs that were changed
        course/     progress of the course, tasks and incidents that are started
    $XDG_DATA_HOME/kvmlab (~/.local/share/kvmlab)
        notebooks/  working copies of the notebooks, by language
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path, user_data_path, user_state_path

from kvmlab.errors import UsageError, reason_of

_APP = "kvmlab"
_VARIABLES = "KVMLAB_STATE_HOME, XDG_CACHE_HOME and XDG_RUNTIME_DIR"


def cache_dir() -> Path:
    """Return the cache; it is made where it is missing."""
    return private_dir(user_cache_path(_APP))


def images_dir() -> Path:
    """Return the directory of images."""
    return private_dir(cache_dir() / "images")


def states_dir() -> Path:
    """Return the directory of saved states."""
    return private_dir(cache_dir() / "states")


def probes_dir() -> Path:
    """Return the directory of the results of probes."""
    return private_dir(cache_dir() / "probes")


def runtime_dir() -> Path:
    """Return the directory of the sockets, keys and console logs of running hosts."""
    # Not platformdirs: where the variable is not set, ours is below the cache.
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/") and os.access(base, os.W_OK | os.X_OK):
        return private_dir(Path(base) / _APP)
    return private_dir(cache_dir() / "run")


def state_dir() -> Path:
    """Return the directory of journals and locks; it is not made."""
    explicit = os.environ.get("KVMLAB_STATE_HOME")
    return Path(explicit) if explicit else user_state_path(_APP)


def data_dir() -> Path:
    """Return the directory of what users write themselves; it is not made."""
    return user_data_path(_APP)


def private_dir(path: Path, *, must_own: bool = True) -> Path:
    """Make the directory ``path`` for this user only, and return it.

    With ``must_own=False`` root may use the directory of another user.

    Raises:
        UsageError: it cannot be made, or it belongs to somebody else.
    """
    try:
        _make(path)
        status = path.stat()
        if status.st_uid != os.geteuid() and (must_own or os.geteuid() != 0):
            raise UsageError(
                f"{path} belongs to user {status.st_uid}; kvmlab keeps keys and journals there "
                f"and needs a directory of its own user {os.geteuid()}.",
                todo=f"Remove it, or set {_VARIABLES} to directories of your own.",
            )
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"The directory {path} cannot be used: {reason_of(error)}.",
            todo=f"Make it writable, or set {_VARIABLES} to directories of your own on a disk "
            "with some space.",
        ) from error
    return path


def _make(path: Path) -> None:
    """Make ``path`` and what is missing above it, usable for this user whatever the umask is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    path.mkdir(exist_ok=True)  # raises where it is a file


def write_atomically(
    path: Path, data: str | bytes, *, mode: int = 0o666, durable: bool = False
) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the whole new one.

    ``mode`` is the mode of the new file, less the process's umask; text is written as UTF-8. With
    ``durable`` the file and its name are on the disk on return.
    """
    part = _part(path)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_named(path: Path, data: str | bytes, *, mode: int = 0o666) -> None:
    """Write a file that the user has named, as :func:`write_atomically` does.

    Raises:
        UsageError: it cannot be written.
    """
    if isinstance(data, str):
        # What a host says may hold bytes that are no text.
        data = data.encode(errors="backslashreplace")
    with naming_failures(path):
        write_atomically(path, data, mode=mode)


def check_writable(path: Path) -> None:
    """Check, before what takes long, that a file can be written to ``path``; nothing stays there.

    Raises:
        UsageError: it cannot.
    """
    with naming_failures(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        part = _part(path)
        part.touch(mode=0o600)
        part.unlink()


@contextmanager
def naming_failures(path: Path) -> Iterator[None]:
    """Say of what fails to be written in the block that it is ``path``, and what to do.

    Raises:
        UsageError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {reason_of(error)}.",
            todo="Name a file in a folder that you may write to, on a disk with some space.",
        ) from error


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.part")


def sync_folder(folder: Path) -> None:
    """Write a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
