"""A cache that all users of a machine share: images and emulators, read and never written.

It is ``/var/cache/kvmlab``, or the directory in KVMLAB_SHARED_CACHE, and laid out as one's own::

    images|emulators/NAME/              a finished build
    images|emulators/NAME.seals.json    the size and hash of each of its files

What stands there runs with the rights of whoever uses it, so that only root or this user may be
able to write it, and each build's hashes are checked once, and again when a file of it changes.
Saved states are not shared: they hold the keys of their host.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from kvmlab.embedded.build_seals import check_seals, seal, seals_path
from kvmlab.embedded.package_builder import Progress, load_manifest
from kvmlab.errors import UsageError, reason_of

VARIABLE: Final = "KVMLAB_SHARED_CACHE"
USUAL: Final = Path("/var/cache/kvmlab")
KINDS: Final = ("images", "emulators")


def shared_dir() -> Path:
    """Return where the shared cache is; it need not exist."""
    return Path(os.environ.get(VARIABLE) or USUAL)


def find_shared(kind: str, name: str) -> Path | None:
    """Return the shared build of that kind and name; None where there is none.

    Raises:
        UsageError: others may write it, or a file of it has changed since it was shared.
    """
    build = shared_dir() / kind / name
    seals = seals_path(build)
    if load_manifest(build) is None or not seals.is_file():
        return None
    _check_owners(build, seals)
    # Whoever may change a file there can change the seals too; this is about damaged disks.
    check_seals(
        build,
        todo=f"Remove it and share it again (`kvmlab host share {shared_dir()}`), or set "
        f"{VARIABLE} to an empty directory to build your own.",
    )
    return build


def share(directory: Path, builds: tuple[Path, ...], progress: Progress) -> None:
    """Copy finished builds into a shared cache, readable for everybody; what is there stays.

    Raises:
        UsageError: the directory cannot be written, or others may write it.
    """
    try:
        for build in builds:
            shelf = directory / build.parent.name
            for folder in (directory, shelf):
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            target = shelf / build.name
            seals = seals_path(target)
            if seals.exists():
                progress(f"{target} is there already")
                continue
            progress(f"copying {target}")
            with tempfile.TemporaryDirectory(prefix=".sharing-", dir=shelf) as scratch:
                copy = Path(scratch) / target.name
                shutil.copytree(build, copy, symlinks=True)
                for path in (copy, *copy.rglob("*")):
                    if not path.is_symlink():
                        is_open = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                        path.chmod(0o755 if is_open else 0o644)
                shutil.rmtree(target, ignore_errors=True)
                copy.rename(target)
            seal(target)
            _check_owners(target, seals)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written: {reason_of(error)}.",
            todo="Run this as root, or give a directory of your own.",
        ) from error


def _check_owners(build: Path, seals: Path) -> None:
    """Raise unless only root and this user may write the build, and what is above it.

    Raises:
        UsageError: somebody else may.
    """
    absolute = build.absolute()
    for path in (*reversed(absolute.parents), absolute, seals, *absolute.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue  # its target is checked where it is; a link itself has no mode
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others and stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
            others = 0  # as in /tmp: nobody can rename what is somebody else's
        if status.st_uid not in (0, os.geteuid()) or others:
            raise UsageError(
                f"{path} belongs to user {status.st_uid}, mode {stat.filemode(status.st_mode)}: "
                "others could put programs there that would run as you.",
                todo=f"Give it to root, writable for nobody else (`chown -R root {shared_dir()}; "
                f"chmod -R go-w {shared_dir()}`), or set {VARIABLE} to another directory.",
            )
