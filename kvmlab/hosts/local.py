"""Commands on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from kvmlab import process
from kvmlab.errors import HostRefused
from kvmlab.hosts.runner import TOOL_PATH, checked, with_root
from kvmlab.process import Completed


class LocalRunner:
    """Runs commands on this machine, as the user that runs kvmlab."""

    name = "this machine"

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv`` here; see :meth:`kvmlab.hosts.Runner.run`."""
        words, path = self._words(argv, root=root)
        completed = process.run(
            words,
            timeout_sec=timeout_sec,
            input_text=input_text,
            check=False,
            env={"PATH": path},
            host=self.name,
        )
        return checked(completed, check=check)

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        """Start ``argv`` here; see :meth:`kvmlab.hosts.Runner.start`."""
        words, path = self._words(argv, root=root)
        return process.start(words, env={"PATH": path}, host=self.name)

    def _words(self, argv: Sequence[str], *, root: bool) -> tuple[tuple[str, ...], str]:
        """The command as it is started, and the path on which it is looked for."""
        path = f"{os.environ.get('PATH', '')}:{TOOL_PATH}".lstrip(":")
        words = with_root(argv, root=root, uid=os.geteuid())
        if words[0] == "sudo" and shutil.which("sudo", path=path) is None:
            raise HostRefused(
                f"`{words[3]}` needs root on this machine, and there is no sudo to become root.",
                todo="Run kvmlab as root, or install sudo.",
            )
        return words, path

    def close(self) -> None:
        """Nothing is held."""
