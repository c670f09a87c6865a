"""Seals of finished builds: the size and hash of each file, checked before a build is used.

They lie beside a build, in ``NAME.seals.json``. All files are hashed once, and again when size,
time or place of one has changed; a stamp in ``probes/`` says for which state that was done.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from kvmlab import directories
from kvmlab.bundle_archive import seals_of
from kvmlab.errors import UsageError

_NAMED: Final = 3


def seals_path(build: Path) -> Path:
    """Return where the seals of a build are."""
    return build.with_name(f"{build.name}.seals.json")


def seal(build: Path) -> None:
    """Write the seals of a build as it is now; they are on the disk on return."""
    text = json.dumps(seals_of(build), indent=1)
    directories.write_atomically(seals_path(build), text, mode=0o644, durable=True)


def check_seals(build: Path, *, todo: str, fully: bool = False) -> int:
    """Check a build against its seals, and return the number of its files.

    A file is read only where it has changed since it was last hashed, or with ``fully``.

    Raises:
        UsageError: a file is missing, more or other than what was built; ``todo`` says what to do.
    """
    stamp = stamp_path(build)
    state = _state_of(build)
    if not fully and stamp.exists() and stamp.read_text(encoding="ascii") == state:
        return 0
    expected, present = read_seals(build), seals_of(build)
    if expected != present:
        names = [name for name in sorted({*expected, *present}) if _other(name, expected, present)]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise UsageError(
            f"The build {build} is damaged: {', '.join(names[:_NAMED])}{more} "
            f"{'is' if len(names) == 1 else 'are'} not what was built.",
            todo=todo,
        )
    directories.write_atomically(stamp, state)
    return len(present)


def _other(name: str, expected: dict[str, Any], present: dict[str, Any]) -> bool:
    return bool(expected.get(name) != present.get(name))


def read_seals(build: Path) -> dict[str, Any]:
    """Return size and hash of each file as it was built, by name; nothing where that is lost."""
    try:
        seals = json.loads(seals_path(build).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return seals if isinstance(seals, dict) else {}


def stamp_path(build: Path) -> Path:
    """Return where it is noted for which state of its files a directory was last read."""
    place = hashlib.sha256(str(build.absolute()).encode()).hexdigest()[:16]
    return directories.probes_dir() / f"sealed-{build.parent.name}-{build.name}-{place}"


def file_status(path: Path) -> str:
    """Return size, time and place of a file: they change when the file does."""
    status = path.lstat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _state_of(build: Path) -> str:
    """Return a hash of size, time and place of each file: it changes when a file does."""
    path = seals_path(build)
    digest = hashlib.sha256(path.read_bytes() if path.is_file() else b"")
    for path in sorted(build.rglob("*")):
        digest.update(f"{path} {file_status(path)}\n".encode())
    return digest.hexdigest()
