"""Commands on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from kvmlab import process
from kvmlab.errors import HostRefused
from kvmlab.hosts.remote_process import ProcessPipes, RemoteProcess
from kvmlab.hosts.runner import (
    DEADLINE_GRACE_SEC,
    TOOL_PATH,
    checked,
    raise_if_ended_by_deadline,
    refuse_without_root,
    with_deadline,
    with_root,
)
from kvmlab.process import Completed


class LocalRunner:
    """Runner of commands on this machine, as the user that runs kvmlab."""

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
        shown, wall_timeout_sec = words, timeout_sec
        if words[0] == "sudo":  # what runs as root cannot be ended from here
            words = with_deadline(argv, timeout_sec=timeout_sec, root=root, uid=os.geteuid())
            wall_timeout_sec += DEADLINE_GRACE_SEC
        completed = process.run(
            words,
            timeout_sec=wall_timeout_sec,
            input_text=input_text,
            check=False,
            env={"PATH": path},
            host=self.name,
            shown_as=shown,
        )
        if words != shown:
            raise_if_ended_by_deadline(completed, timeout_sec=timeout_sec)
        return checked(completed, check=check)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Start ``argv`` here and go on; see :meth:`kvmlab.hosts.Runner.spawn`."""
        words, path = self._words(argv, root=root)
        started = process.start(words, env={"PATH": path}, host=self.name)
        shown = with_root(shown_as or argv, root=root, uid=os.geteuid())
        return RemoteProcess(
            ProcessPipes(started), shown, host=self.name, end_check=refuse_without_root
        )

    def _words(self, argv: Sequence[str], *, root: bool) -> tuple[tuple[str, ...], str]:
        """Return the command as it is started, and the PATH for it."""
        path = f"{os.environ.get('PATH', '')}:{TOOL_PATH}".lstrip(":")
        words = with_root(argv, root=root, uid=os.geteuid())
        if words[0] == "sudo" and shutil.which("sudo", path=path) is None:
            raise HostRefused(
                f"`{words[3]}` needs root on this machine, and there is no sudo to become root.",
                todo="Run kvmlab as root, or install sudo.",
            )
        return words, path

    def close(self) -> None:
        """Do nothing; there is nothing to release."""
