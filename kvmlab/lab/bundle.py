"""Everything that a place without a network needs, in one file: `kvmlab bundle FILE`.

Wheels of the locked packages for this Python, and of the embedded host its image, its QEMU and its
saved state. `kvmlab.bundle_archive` is the format; ``./lab --bundle FILE`` unpacks it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvmlab import __version__, bundle_archive, embedded, process
from kvmlab.directories import check_writable
from kvmlab.errors import CommandFailed, UsageError, reason_of
from kvmlab.lab.embedded_host import preparation

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHEELS_SEC: Final = 1800.0
LOCK: Final = "requirements.lock"


def write_bundle(
    target: Path, *, with_state: bool = True, progress: Callable[[str], None]
) -> dict[str, int]:
    """Write the bundle and return the bytes of each of its parts; build what is missing first.

    The embedded host is booted once where no state of it is saved. Without ``with_state`` whoever
    uses the bundle boots it. ``progress`` is called with a line for each thing that takes time.

    Raises:
        UsageError: this is no clone, or the file cannot be written.
        EmbeddedError: image, QEMU or state cannot be made.
        CommandFailed: pip failed; the evidence is its last words.
    """
    lock = Path(__file__).resolve().parents[2] / LOCK
    if not lock.is_file():
        raise UsageError(
            "A bundle is for a clone of kvmlab's repository, and this is an installed package.",
            todo="Clone the repository and run `./lab bundle FILE` there.",
        )
    check_writable(target)
    builds = embedded.cached_builds(
        preparation() if with_state else None, progress=progress, with_state=with_state
    )
    with _wheels(lock, progress) as wheels:
        folders = {"wheels": wheels}
        folders |= {f"cache/{build.parent.name}/{build.name}": build for build in builds}
        progress(f"packing {', '.join(folders)}")
        description = {
            "python": ".".join(platform.python_version_tuple()[:2]),
            "machine": platform.machine(),
            "lock": hashlib.sha256(lock.read_bytes()).hexdigest(),
            "version": __version__,
        }
        try:
            bundle_archive.pack(target.absolute(), folders, description)
        except OSError as error:
            raise UsageError(
                f"{target} cannot be written: {reason_of(error)}.",
                todo="Give a file in a folder of yours with 2 GB of free space.",
            ) from error
        return {name: _bytes_of(folder) for name, folder in folders.items()}


@contextmanager
def _wheels(lock: Path, progress: Callable[[str], None]) -> Iterator[Path]:
    """Yield a folder with a wheel of each locked package, and the lock that names just these.

    A package that comes as source only is built here, so that its wheel has a hash of its own.
    """
    with tempfile.TemporaryDirectory(prefix="kvmlab-bundle-", dir="/var/tmp") as scratch:
        folder = Path(scratch)
        progress("collecting the wheels of the locked packages")
        argv = (
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-input", "--require-hashes", "--no-build-isolation", "--no-deps"),
            *("--requirement", lock, "--wheel-dir", folder),
        )
        # The system's pkg-config and compiler come first: conda's would not see its libvirt.
        path = {"PATH": f"/usr/bin:/bin:{os.environ.get('PATH', '')}"}
        try:
            process.run(argv, timeout_sec=_WHEELS_SEC, env=path)
        except CommandFailed as error:
            error.todo = "Check the network, or the index in pip's configuration (pip config list)."
            raise
        lines = [_lock_line(wheel) for wheel in sorted(folder.glob("*.whl"))]
        (folder / LOCK).write_text("".join(lines), encoding="ascii")
        yield folder


def _lock_line(wheel: Path) -> str:
    name, version, *_ = wheel.name.split("-")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{digest}\n"


def _bytes_of(folder: Path) -> int:
    """Return what its files take on disk."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_blocks * 512 for path in files)
