"""The command that opens JupyterLab on a notebook: on this machine only, and quiet."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Final

from jupyter_core.paths import jupyter_runtime_dir

from kvmlab.directories import private_dir, runtime_dir, write_atomically

#: Defaults for JupyterLab; a person's own settings come before these.
_SETTINGS: Final = Path(__file__).parent / "jupyterlab_settings"
#: The tile and button that open a terminal on the host.
_EXTENSIONS: Final = Path(__file__).parents[1] / "labextensions"
# Jupyter names a socket after the kernel; its path may have 107 bytes.
_SOCKET: Final = "kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-5"
_MAX_SOCKET_PATH: Final = 107
_CONFIG: Final = """\
from pathlib import Path

from jupyter_core.paths import jupyter_config_path
from jupyter_server.auth.identity import IdentityProvider
from traitlets.config.loader import JSONFileConfigLoader

for folder in reversed(jupyter_config_path()):
    if Path(folder, "jupyter_lab_config.py").exists():
        load_subconfig("jupyter_lab_config.py", path=folder)
    if Path(folder, "jupyter_lab_config.json").exists():
        c.merge(JSONFileConfigLoader("jupyter_lab_config.json", path=folder).load_config())
c.IdentityProvider.token = "{token}"
IdentityProvider.token_generated = True  # the addresses that it prints then have the token
c.ServerApp.allow_unauthenticated_access = False
"""


def jupyterlab_command(path: Path, *, port: int, browser: bool) -> tuple[str, ...]:
    """Return the argv of JupyterLab on the notebook at ``path``, on 127.0.0.1 with a token.

    ``port`` is the first one tried; ``browser`` opens one. Neither news nor updates are fetched,
    since the lab works without a network.
    """
    return (
        sys.executable, "-m", "jupyterlab",
        f"--config={_config_with_token()}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={path.parent}",
        f"--LabApp.default_url=/lab/tree/{path.name}",
        f"--LabApp.app_settings_dir={_SETTINGS}",
        f"--LabApp.extra_labextensions_path={_EXTENSIONS}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        # tornado refuses Jupyter's ping timeouts with a warning. Both ends are on this machine,
        # where a closed connection is noticed without pings.
        "--ServerApp.tornado_settings={'ws_ping_interval': 0}",
        # A login shell would set PATH anew, and not find `kvmlab`.
        f"--ServerApp.terminado_settings={{'shell_command': [{_shell()!r}]}}",
        # Otherwise it lists twenty language servers that are not installed.
        "--LanguageServerManager.autodetect=False",
        *_kernel_transport(),
        *(() if browser else ("--no-browser",)),
        *(("--allow-root",) if os.geteuid() == 0 else ()),
    )  # fmt: skip


def _shell() -> str:
    return os.environ.get("SHELL") or shutil.which("bash") or "/bin/sh"


def _config_with_token() -> Path:
    """Write a configuration with a fresh token, which a person's own may not take away.

    Not on the command line, which other users of this machine can read; JupyterLab reads this file
    in place of the person's own of that name, so that one is read from here.
    """
    path = private_dir(runtime_dir() / "jupyterlab") / "jupyter_lab_config.py"
    write_atomically(path, _CONFIG.format(token=secrets.token_hex(24)), mode=0o600)
    return path


def _kernel_transport() -> tuple[str, ...]:
    """Reach kernels by this user's sockets instead of ports, where the socket's path fits."""
    socket = Path(jupyter_runtime_dir()) / _SOCKET
    fits = len(os.fsencode(socket)) <= _MAX_SOCKET_PATH
    return ("--KernelManager.transport=ipc",) if fits else ()
