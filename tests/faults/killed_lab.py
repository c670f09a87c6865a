"""A process that applies a plan on a stranger's host and is killed at one of its moments.

``python -m tests.faults.killed_lab`` opens the host, then reads lines of JSON: a plan and a moment.
For each it forks a child, which applies the plan, uses it and reverts it (without a plan: restores
the host), and is killed with SIGKILL just before that moment; the answer is a line of JSON. Every
command on the host, everything said to the host's journal, every call of the VM and the use of the
interface is one moment. With moment -1 nobody is killed, and the answer lists the moments.

The ssh connection is the parent's: a child's death does not cost the time of a new one.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from typing import Any

from kvmlab.changes import Plan, restore
from kvmlab.domain import GuestAgent, TestVM
from kvmlab.errors import KvmlabError
from kvmlab.hosts import Host, RemoteProcess, Runner, SshRunner, open_host
from kvmlab.process import Completed
from tests.faults.stranger import CABLES, SPEC


class Fuse:
    """Counts moments, and kills this process when the one that was request for comes."""

    def __init__(self, moment: int) -> None:
        self.seen: list[str] = []
        self._moment = moment

    def burn(self, name: str) -> None:
        if len(self.seen) == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(name)


class DyingProcess(RemoteProcess):
    """The program that keeps the lock and the journal on the host."""

    fuse: Fuse

    def send(self, data: str | bytes, *, timeout_sec: float = 60.0) -> None:
        words = data.decode() if isinstance(data, bytes) else data
        if not words.startswith("beat"):
            self.fuse.burn(f"journal: {words.split()[0]}")
        super().send(data, timeout_sec=timeout_sec)


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

    def spawn(
        self, argv: Sequence[str], *, root: bool = False, shown_as: Sequence[str] | None = None
    ) -> RemoteProcess:
        self._fuse.burn("lock")
        inner = self._inner.spawn(argv, root=root, shown_as=shown_as)
        process = DyingProcess(
            inner.conversation, inner.argv, host=inner.host, end_check=inner.end_check
        )
        process.fuse = self._fuse
        return process

    def close(self) -> None:
        self._inner.close()


def named(argv: Sequence[str], input_text: str | None) -> str:
    """Return a moment's name: the command, or the first line of the script that it reads."""
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

    def detach(self, mac_or_alias: str, **options: Any) -> bool:
        self.fuse.burn("detach")
        removed = super().detach(mac_or_alias, **options)
        self.fuse.burn("detached")
        return removed


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan without refusals as JSON, for another process."""
    assert not plan.refusals
    return {"pickled": base64.b64encode(pickle.dumps(plan)).decode()}


def _restore(host: Host, fuse: Fuse) -> None:
    host.runner = DyingRunner(host.runner, fuse)
    restore(host)


def _apply(host: Host, request: dict[str, Any], fuse: Fuse) -> None:
    # Our own process has written it.
    plan: Plan = pickle.loads(base64.b64decode(request["pickled"]))
    domain = TestVM.find(host)
    vm = DyingVM(host, domain.handle, domain.name)
    vm.fuse = fuse
    agent = DyingAgent(vm)
    agent.fuse = fuse
    vm.agent = agent
    host.runner = DyingRunner(host.runner, fuse)
    with plan.applied(vm):
        fuse.burn("in use")
    fuse.burn("over")


def _child(host: Host, request: dict[str, Any], answer: int) -> None:
    """Do what was request, and end this process."""
    # The connection is the parent's child: from here its end cannot be waited for, nor request.
    assert isinstance(host.runner, SshRunner)
    host.runner._master.poll = lambda: None  # type: ignore[method-assign]
    fuse = Fuse(request["moment"])
    answer_body: dict[str, Any] = {"seen": fuse.seen}
    try:
        if request["plan"] is None:
            _restore(host, fuse)
        else:
            _apply(host, request["plan"], fuse)
    except KvmlabError as error:
        answer_body = {"error": str(error)}
    os.write(answer, json.dumps(answer_body).encode())
    # Without the interpreter's own end, which would close the parent's connection.
    os._exit(0)


def main() -> None:
    cable = CABLES["p2p1"]
    with open_host(SPEC, cable=cable, allows_changes=True, deadline_sec=60) as host:
        print(json.dumps({"ready": os.getpid()}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            reads, writes = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reads)
                _child(host, request, writes)
            os.close(writes)
            with os.fdopen(reads) as pipe:
                text = pipe.read()
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(json.dumps({"status": status, **(json.loads(text) if text else {})}), flush=True)


if __name__ == "__main__":
    main()
