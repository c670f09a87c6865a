"""kill -9 at every moment of every scheme, then `restore` and a comparison."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvmlab.changes import Plan, leftovers, restore
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from kvmlab.facts import inspect
from kvmlab.hosts import Host
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from tests.faults.host_state import differences, read_state
from tests.faults.killed_lab import plan_to_json
from tests.faults.stranger import CABLES

#: Every scheme, and every kind of step that its options add; the second is its cable.
SCHEMES: Final[Mapping[str, tuple[Scheme, str]]] = {
    scheme.id: (scheme, cable)
    for scheme, cable in (
        (FullEmulation("e1000"), "p2p1"),
        (FullEmulation("e1000e"), "p2p1"),
        (Virtio(), "p2p1"),
        (Virtio(backend="vhost"), "p2p1"),
        (Virtio(with_vfs=7, learning=False), "p2p1"),
        (Macvtap(), "p2p1"),
        (Macvtap(mode="vepa"), "p2p1"),
        (Macvtap(mode="private"), "p2p1"),
        (Macvtap(mode="passthrough"), "p2p1"),
        (Macvtap(model="e1000"), "p2p1"),
        (Macvtap(backend="qemu"), "p2p1"),
        (PciPassthrough(group="take"), "p1p1"),
        (PciPassthrough(group="take", managed=False), "p1p1"),
        (SriovVf(), "p2p1"),
        (SriovVf(how="hostdev"), "p2p1"),
        (SriovVf(how="network"), "p2p1"),
        (SriovVf(way="max_vfs"), "p2p1"),
        (SriovVf(spoofchk=False, trust=True, max_tx_rate=500), "p2p1"),
    )
}
#: The scheme with which `restore` itself is killed.
RESTORED: Final = SriovVf().id
#: A port whose VFs came or went is without its link for a second or two of its own clock.
SETTLE_SEC: Final = 30.0


@dataclass(frozen=True)
class FaultCase:
    """One fault and its outcome: "at once", "by restore" or "not at all"."""

    fault: str
    where: str
    how: str
    message: str = ""
    left: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """The host is not as it was."""
        return self.how == "not at all"


class Killer:
    """A process that is killed on demand; see `tests.faults.killed_lab`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def apply(self, plan: Plan, moment: int = -1) -> dict[str, Any]:
        """Apply, use and revert the plan, and be killed before the moment of that number."""
        return self._ask({"plan": plan_to_json(plan), "moment": moment})

    def restore(self, moment: int = -1) -> dict[str, Any]:
        """Restore the host, and be killed before the moment of that number."""
        return self._ask({"plan": None, "moment": moment})

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(json.dumps(what), file=self._process.stdin, flush=True)
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def killer(repository: Path) -> Iterator[Killer]:
    """Start it; its environment is that of this process, in which a stranger's host is open."""
    with subprocess.Popen(
        (sys.executable, "-m", "tests.faults.killed_lab"),
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        killing = Killer(process)
        killing._receive()
        yield killing


def kill_everywhere(
    name: str,
    host: Host,
    killing: Killer,
    tell: Callable[[FaultCase], None],
    *,
    every: int = 1,
    start: int = 0,
) -> tuple[FaultCase, ...]:
    """Kill at every moment of the scheme of that name, restore, compare; one case for each.

    ``every`` above 1 takes that many moments in one step, and misses those between; ``start`` is
    the number of the first one, above 0 where an earlier call has tried those before it.
    """
    scheme, cable = SCHEMES[name]
    vm = TestVM.find(host)
    before = read_state(host, vm)
    plan = scheme.plan(inspect(host, prove_kvm=False), cable=CABLES[cable], vm=vm)
    whole = killing.apply(plan)
    if "error" in whole:
        raise KvmlabError(f"{name} cannot be applied at all.", evidence=str(whole))
    cases = [after(name, "nothing", host, vm, before)]
    tell(cases[0])
    for number in range(start + every - 1, len(whole["seen"]), every):
        moment = whole["seen"][number]
        died = killing.apply(plan, number)
        if died["status"] != -9:
            raise KvmlabError(f"{name} was not killed before {moment}.", evidence=str(died))
        cases.append(after(name, f"kill -9 before {number}: {moment}", host, vm, before))
        tell(cases[-1])
        if cases[-1].lost:
            break  # what comes next would begin on a host that is not as it was
    return tuple(cases)


def kill_restore_everywhere(
    host: Host, killing: Killer, tell: Callable[[FaultCase], None], *, start: int = 0
) -> tuple[FaultCase, ...]:
    """Die in use, restore, and die at every moment of that as well; one case for each.

    ``start`` is the number of the first moment, as in `kill_everywhere`.
    """
    scheme, cable = SCHEMES[RESTORED]
    vm = TestVM.find(host)
    before = read_state(host, vm)
    plan = scheme.plan(inspect(host, prove_kvm=False), cable=CABLES[cable], vm=vm)
    in_use = killing.apply(plan)["seen"].index("in use")
    killing.apply(plan, in_use)
    cases = []
    moments = killing.restore()["seen"]
    for number in range(start, len(moments)):
        moment = moments[number]
        killing.apply(plan, in_use)
        died = killing.restore(number)
        if died["status"] != -9:
            raise KvmlabError(f"restore was not killed before {moment}.", evidence=str(died))
        cases.append(after(RESTORED, f"kill -9 before {number}: {moment}", host, vm, before))
        tell(cases[-1])
        if cases[-1].lost:
            break
    return tuple(cases)


def after(where: str, fault: str, host: Host, vm: TestVM, before: dict[str, Any]) -> FaultCase:
    """Restore the host after a fault, and compare it with its state before."""
    left = leftovers(host)
    try:
        undone = restore(host)
    except KvmlabError as error:
        return FaultCase(
            fault, where, "not at all", str(error), tuple(leftover.what for leftover in left)
        )
    remains = settled(host, vm, before)
    if restore(host) or leftovers(host):
        remains = [*remains, "a second restore found something"]
    if undone and not left:
        remains = [*remains, "restore undid steps that were not listed as leftovers"]
    how = "not at all" if remains else "by restore" if undone else "at once"
    return FaultCase(fault, where, how, " ".join(undone), tuple(remains))


def settled(host: Host, vm: TestVM, before: dict[str, Any]) -> list[str]:
    """Return the differences that remain once links have had time to come up again."""
    attempts: list[list[str]] = []

    def same() -> bool:
        attempts.append(differences(before, read_state(host, vm)))
        return not attempts[-1]

    with suppress(KvmlabError):
        until(same, timeout_sec=SETTLE_SEC, every_sec=0.5, what="the host as it was")
    return attempts[-1]
