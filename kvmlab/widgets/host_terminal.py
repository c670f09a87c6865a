"""A button that opens a terminal on the host beside the notebook."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kvmlab.language import _

#: The extension of JupyterLab in `kvmlab/labextensions` draws outputs of this type.
TERMINAL_MIME: Final = "application/vnd.kvmlab.terminal+json"


@dataclass(frozen=True)
class HostTerminal:
    """The way into the host's shell: a button in JupyterLab, and the command anywhere else."""

    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        """The line that a terminal on this machine runs."""
        return shlex.join(self.argv)

    def __str__(self) -> str:
        return _("A shell on the host: {command}").format(command=self.command)

    def _repr_mimebundle_(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return what the extension draws as a button, and the command as text."""
        button = {"command": self.command, "label": _("Open a terminal on the host")}
        return {TERMINAL_MIME: button, "text/plain": str(self)}
