"""Where journals and locks live on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kvmlab.errors import UsageError


def state_dir() -> Path:
    """``KVMLAB_STATE_HOME``, else ``kvmlab`` under ``XDG_STATE_HOME`` or ~/.local/state."""
    own = os.environ.get("KVMLAB_STATE_HOME")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_STATE_HOME")
    return (Path(shared) if shared else Path.home() / ".local" / "state") / "kvmlab"


def host_key(spec: str) -> str:
    """A host's spec as a file name: ``qemu+ssh-root-kvm1-system``."""
    return re.sub(r"[^A-Za-z0-9_.+@]+", "-", spec).strip("-.") or "host"


def private_dir(path: Path) -> Path:
    """Make a directory that only this user can read.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(
            f"kvmlab cannot keep its journals and locks in {path}: {error.strerror or error}.",
            todo="Set KVMLAB_STATE_HOME to a folder of yours on a disk with some space.",
        ) from error
    return path
