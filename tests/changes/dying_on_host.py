"""Apply a plan on a real host and die, as a power cut would, at one of its moments.

``python -m tests.changes.dying_on_host FILE MOMENT``: FILE says in JSON how to reach the host.
Every command on the host, every call of the VM and the use of the interface is one moment; the
process is killed just before it. With MOMENT -1 nothing is killed and the moments are listed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvmlab.changes import Plan
from kvmlab.changes.steps import step_from_dict
from kvmlab.domain import GuestAgent, TestVM
from kvmlab.hosts import Host, Runner, SshTarget, open_host
from kvmlab.process import Completed


class Fuse:
    """Counts moments, and kills this process when the one that was asked for comes."""

    def __init__(self, moment: int) -> None:
        self.seen: list[str] = []
        self.lit = False
        self._moment = moment

    def burn(self, name: str) -> None:
        if not self.lit:
            return
        if len(self.seen) == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(name)


class DyingRunner:
    def __init__(self, inner: Runner, fuse: Fuse) -> None:
        self.name = inner.name
        self._inner = inner
        self._fuse = fuse

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        self._fuse.burn(argv[0])
        return self._inner.run(
            argv, timeout_sec=timeout_sec, input_text=input_text, check=check, root=root
        )

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        self._fuse.burn(argv[0])
        return self._inner.start(argv, root=root)

    def close(self) -> None:
        self._inner.close()


class DyingAgent(GuestAgent):
    fuse: Fuse

    def wait(self, *args: Any, **options: Any) -> Completed:
        self.fuse.burn("configuring")
        return super().wait(*args, **options)


class DyingVM(TestVM):
    fuse: Fuse

    def attach(self, device_xml: str, *, timeout_sec: float = 60) -> str:
        self.fuse.burn("attach")
        alias = super().attach(device_xml, timeout_sec=timeout_sec)
        self.fuse.burn("attached")
        return alias

    def detach(self, mac_or_alias: str, *, timeout_sec: float = 60) -> bool:
        self.fuse.burn("detach")
        gone = super().detach(mac_or_alias, timeout_sec=timeout_sec)
        self.fuse.burn("detached")
        return gone


def reach(coordinates: dict[str, Any]) -> Host:
    """Open the host again, from another process."""
    ssh = coordinates["ssh"]
    target = SshTarget(
        address=ssh["address"],
        port=ssh["port"],
        user=ssh["user"],
        key_path=Path(ssh["key"]),
        known_hosts=Path(ssh["known_hosts"]),
    )
    return open_host(
        coordinates["spec"], ssh=target, label="the host", deadline_sec=60, allows_changes=True
    )


def main(path: Path, moment: int) -> None:
    fuse = Fuse(moment)
    coordinates = json.loads(path.read_text())
    steps = tuple(step_from_dict(step) for step in coordinates["plan"].pop("steps"))
    plan = Plan(steps=steps, **coordinates["plan"])
    with reach(coordinates) as host:
        found = TestVM.find(host)
        vm = DyingVM(host, found.handle, found.name)
        vm.fuse = fuse
        agent = DyingAgent(vm)
        agent.fuse = fuse
        vm.agent = agent
        host.runner = DyingRunner(host.runner, fuse)
        fuse.lit = True
        with plan.applied(vm):
            fuse.burn("in use")
        fuse.burn("over")
    print(json.dumps(fuse.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
