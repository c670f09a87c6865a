"""kill -9 at every moment of every scheme, and what is left of it after `restore`."""

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
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from kvmlab.facts import inspect
from kvmlab.hosts import Host
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.waiting import until
from tests.faults.dying import plan_to_json
from tests.faults.photograph import differences, photograph
from tests.faults.stranger import WIRES

#: Every scheme, and every kind of step that its knobs add; the second is its cable.
SCHEMES: Final[Mapping[str, tuple[Scheme, str]]] = {
    scheme.id: (scheme, wire)
    for scheme, wire in (
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
class Case:
    """One fault, and how it ended. ``how`` is "at once", "by restore" or "not at all"."""

    fault: str
    where: str
    how: str
    said: str = ""
    left: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """The host is not as it was."""
        return self.how == "not at all"


class Killer:
    """A process that dies on demand; see `tests.faults.dying`."""

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
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


@contextmanager
def killer(repository: Path) -> Iterator[Killer]:
    """Start it; its environment is that of this process, in which a stranger's host is open."""
    with subprocess.Popen(
        (sys.executable, "-m", "tests.faults.dying"),
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        made = Killer(process)
        made._hear()
        yield made


def kill_everywhere(
    name: str, host: Host, killing: Killer, tell: Callable[[Case], None], *, every: int = 1
) -> tuple[Case, ...]:
    """Kill at every moment of the scheme of that name, restore, compare; one case for each.

    ``every`` above 1 takes that many moments in one step, and misses those between.
    """
    scheme, wire = SCHEMES[name]
    vm = TestVM.find(host)
    before = photograph(host, vm)
    plan = scheme.plan(inspect(host, prove_kvm=False), wire=WIRES[wire], vm=vm)
    whole = killing.apply(plan)
    if "error" in whole:
        raise KvmlabError(f"{name} cannot be applied at all.", evidence=str(whole))
    cases = [after(name, "nothing", host, vm, before)]
    tell(cases[0])
    for number in range(every - 1, len(whole["seen"]), every):
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
    host: Host, killing: Killer, tell: Callable[[Case], None]
) -> tuple[Case, ...]:
    """Die in use, restore, and die at every moment of that as well; one case for each."""
    scheme, wire = SCHEMES[RESTORED]
    vm = TestVM.find(host)
    before = photograph(host, vm)
    plan = scheme.plan(inspect(host, prove_kvm=False), wire=WIRES[wire], vm=vm)
    in_use = killing.apply(plan)["seen"].index("in use")
    killing.apply(plan, in_use)
    cases = []
    for number, moment in enumerate(killing.restore()["seen"]):
        killing.apply(plan, in_use)
        died = killing.restore(number)
        if died["status"] != -9:
            raise KvmlabError(f"restore was not killed before {moment}.", evidence=str(died))
        cases.append(after(RESTORED, f"kill -9 before {number}: {moment}", host, vm, before))
        tell(cases[-1])
        if cases[-1].lost:
            break
    return tuple(cases)


def after(where: str, fault: str, host: Host, vm: TestVM, before: dict[str, Any]) -> Case:
    """What a fault has left, and whether `restore` puts it right."""
    left = leftovers(host)
    try:
        said = restore(host)
    except KvmlabError as error:
        return Case(fault, where, "not at all", str(error), tuple(one.what for one in left))
    remains = settled(host, vm, before)
    if restore(host) or leftovers(host):
        remains = [*remains, "a second restore found something"]
    if said and not left:
        remains = [*remains, "restore undid what was not told as left behind"]
    how = "not at all" if remains else "by restore" if said else "at once"
    return Case(fault, where, how, " ".join(said), tuple(remains))


def settled(host: Host, vm: TestVM, before: dict[str, Any]) -> list[str]:
    """What still differs, once links have had the time to come up again."""
    found: list[list[str]] = []

    def same() -> bool:
        found.append(differences(before, photograph(host, vm)))
        return not found[-1]

    with suppress(KvmlabError):
        until(same, timeout_sec=SETTLE_SEC, every_sec=0.5, what="the host as it was")
    return found[-1]
