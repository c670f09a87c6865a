"""A process that applies a plan on a stranger's host and is killed at one of its moments.

``python -m tests.faults.dying`` opens the host, then reads lines of JSON: a plan and a moment. For
each it forks a child, which applies the plan, uses it and reverts it (without a plan: restores the
host), and is killed with SIGKILL just before that moment; the answer is a line of JSON. Every
command on the host, everything said to the host's journal, every call of the VM and the use of the
interface is one moment. With moment -1 nobody is killed, and the answer lists the moments.

The ssh connection is the parent's: a child's death does not cost the time of a new one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

from kvmlab.changes import Plan, restore
from kvmlab.changes.steps import step_from_dict
from kvmlab.domain import GuestAgent, TestVM
from kvmlab.errors import KvmlabError
from kvmlab.hosts import Host, Runner, SshRunner, open_host
from kvmlab.process import Completed
from tests.faults.stranger import SPEC, WIRES


class Fuse:
    """Counts moments, and kills this process when the one that was asked for comes."""

    def __init__(self, moment: int) -> None:
        self.seen: list[str] = []
        self._moment = moment

    def burn(self, name: str) -> None:
        if len(self.seen) == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(name)


class DyingPipe:
    """What is said to the journal on the host."""

    def __init__(self, inner: IO[bytes], fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def write(self, said: bytes) -> int:
        if not said.startswith(b"beat"):
            self._fuse.burn(f"journal: {said.split()[0].decode()}")
        return self._inner.write(said)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


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
        self._fuse.burn(named(argv, input_text))
        return self._inner.run(
            argv, timeout_sec=timeout_sec, input_text=input_text, check=check, root=root
        )

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        self._fuse.burn("lock")
        process = self._inner.start(argv, root=root)
        assert process.stdin is not None
        process.stdin = DyingPipe(process.stdin, self._fuse)  # type: ignore[assignment]
        return process

    def close(self) -> None:
        self._inner.close()


def named(argv: Sequence[str], input_text: str | None) -> str:
    """A moment's name: the command, or the first line of the script that it reads."""
    if argv[0] == "sh" and input_text is not None:
        return input_text.lstrip("# ").partition(" ")[0].partition("\n")[0].rstrip(":")
    return " ".join(argv[:2]) if argv[0] in ("ip", "virsh", "modprobe") else argv[0]


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


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan that the guard has nothing against, for another process."""
    assert not plan.refusals
    return {**vars(plan), "steps": [step.to_dict() for step in plan.steps]}


def _restore(host: Host, fuse: Fuse) -> None:
    host.runner = DyingRunner(host.runner, fuse)
    restore(host)


def _apply(host: Host, told: dict[str, Any], fuse: Fuse) -> None:
    steps = tuple(step_from_dict(step) for step in told.pop("steps"))
    plan = Plan(steps=steps, **told)
    found = TestVM.find(host)
    vm = DyingVM(host, found.handle, found.name)
    vm.fuse = fuse
    agent = DyingAgent(vm)
    agent.fuse = fuse
    vm.agent = agent
    host.runner = DyingRunner(host.runner, fuse)
    with plan.applied(vm):
        fuse.burn("in use")
    fuse.burn("over")


def _child(host: Host, asked: dict[str, Any], answer: int) -> None:
    """Ends this process, in one way or another."""
    # The connection is the parent's child: from here its end cannot be waited for, nor asked.
    assert isinstance(host.runner, SshRunner)
    host.runner._master.poll = lambda: None  # type: ignore[method-assign]
    fuse = Fuse(asked["moment"])
    said: dict[str, Any] = {"seen": fuse.seen}
    try:
        if asked["plan"] is None:
            _restore(host, fuse)
        else:
            _apply(host, asked["plan"], fuse)
    except KvmlabError as error:
        said = {"error": str(error)}
    os.write(answer, json.dumps(said).encode())
    # Without the interpreter's own end, which would close the parent's connection.
    os._exit(0)


def main() -> None:
    wire = WIRES["p2p1"]
    with open_host(SPEC, wire=wire, allows_changes=True, deadline_sec=60) as host:
        print(json.dumps({"ready": os.getpid()}), flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            reads, writes = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reads)
                _child(host, asked, writes)
            os.close(writes)
            with os.fdopen(reads) as pipe:
                text = pipe.read()
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(json.dumps({"status": status, **(json.loads(text) if text else {})}), flush=True)


if __name__ == "__main__":
    main()
