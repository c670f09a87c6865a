"""The command that opens JupyterLab on a notebook: on this machine only, and quiet."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from jupyter_core.paths import jupyter_runtime_dir

#: What JupyterLab has for defaults here; a person's own settings still come before these.
_SETTINGS: Final = Path(__file__).parent / "jupyterlab_settings"
# A socket's path may have 107 bytes; Jupyter's are named after the kernel.
_SOCKET: Final = "kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-5"
_LONGEST_SOCKET: Final = 107


def jupyterlab_command(path: Path, *, port: int, browser: bool) -> tuple[str, ...]:
    """JupyterLab on the notebook at ``path``, on 127.0.0.1 with a token.

    ``port`` is the first one tried; ``browser`` opens one. Neither news nor updates are asked
    for, since the lab works without a network.
    """
    return (
        sys.executable, "-m", "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={path.parent}",
        f"--LabApp.default_url=/lab/tree/{path.name}",
        f"--LabApp.app_settings_dir={_SETTINGS}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        # The times that Jupyter gives its pings are refused by tornado with a warning. Both ends
        # are on this machine, where a connection that is gone is seen without any.
        "--ServerApp.tornado_settings={'ws_ping_interval': 0}",
        # Or it lists twenty language servers that are not installed.
        "--LanguageServerManager.autodetect=False",
        *_kernels_by_sockets(),
        *(() if browser else ("--no-browser",)),
        *(("--allow-root",) if os.geteuid() == 0 else ()),
    )  # fmt: skip


def _kernels_by_sockets() -> tuple[str, ...]:
    """Kernels are reached by sockets of this user's, and not by ports that are open to all."""
    longest = Path(jupyter_runtime_dir()) / _SOCKET
    fits = len(os.fsencode(longest)) <= _LONGEST_SOCKET
    return ("--KernelManager.transport=ipc",) if fits else ()
