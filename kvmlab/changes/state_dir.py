"""Where journals and locks live on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path


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
    """Make a directory that only this user can read."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
