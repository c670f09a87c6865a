"""A stranger's host at rest, and a scheme applied there while something breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kvmlab.changes import ConfigureGuest, Plan
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from kvmlab.facts import inspect
from kvmlab.hosts import Host
from kvmlab.schemes import Scheme, Virtio
from tests.faults.host_state import read_state
from tests.faults.stranger import CABLES, Stranger, stranger

VIRTIO: Final = Virtio(backend="vhost")
ASK_SEC: Final = 60.0


@dataclass
class Scene:
    """A stranger's host at rest, as it is before every fault."""

    stranger: Stranger
    host: Host
    folder: Path
    repository: Path
    vm: TestVM
    before: dict[str, Any]

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, repository: Path) -> Iterator[Scene]:
        """Start a stranger's host of its own, and end it afterwards."""
        with stranger(folder) as host:
            scene = cls.on(host, folder, repository)
            yield scene
            scene.host.close()

    @classmethod
    def on(cls, stranger: Stranger, folder: Path, repository: Path) -> Scene:
        host = stranger.open()
        vm = TestVM.ensure(host)
        return cls(stranger, host, folder, repository, vm, read_state(host, vm))

    def plan(self, scheme: Scheme = VIRTIO, *, wall_timeout_sec: int | None = None) -> Plan:
        plan = scheme.plan(inspect(self.host, prove_kvm=False), cable=CABLES["p2p1"], vm=self.vm)
        if wall_timeout_sec is None:
            return plan
        last = plan.steps[-1]
        assert isinstance(last, ConfigureGuest)
        return replace(plan, steps=(*plan.steps[:-1], replace(last, timeout_sec=wall_timeout_sec)))

    def reopen(self) -> None:
        """Open the host anew, and find the VM as libvirt has it now."""
        self.host.close()
        self.host = self.stranger.open()
        self.vm = TestVM.ensure(self.host)

    def on_host(self, *argv: str, text: str | None = None) -> str:
        return self.host.run(argv, timeout_sec=ASK_SEC, root=True, input_text=text).stdout.strip()

    def in_vm(self, script: str) -> str:
        return self.vm.agent.run(
            ("sh", "-s"), input_text=script, timeout_sec=ASK_SEC
        ).stdout.strip()


Fault = Callable[[Scene], str]
"""Causes the fault while a scheme is applied, mends what is not kvmlab's; returns its error."""


def applied(scene: Scene, plan: Plan, fault: Callable[[], object], vm: TestVM | None = None) -> str:
    """Apply, cause the fault, revert; return the error's text, "" without one."""
    try:
        with plan.applied(vm or scene.vm):
            fault()
    except KvmlabError as error:
        return str(error)
    return ""


class BreakingVM(TestVM):
    """A VM with which a fault happens at an agreed moment."""

    def arm(self, moment: str, fault: Callable[[], object]) -> None:
        self._moment, self._fault = moment, fault

    def _now(self, moment: str) -> None:
        if moment == self._moment:
            self._fault()

    def attach(self, device_xml: str, *, timeout_sec: float = 60) -> str:
        self._now("attach")
        alias = super().attach(device_xml, timeout_sec=timeout_sec)
        self._now("attached")
        return alias

    def detach(self, mac_or_alias: str, **options: Any) -> bool:
        self._now("detach")
        return super().detach(mac_or_alias, **options)


def breaking(scene: Scene, moment: str, fault: Callable[[], object]) -> BreakingVM:
    vm = BreakingVM(scene.host, scene.vm.handle, scene.vm.name)
    vm.arm(moment, fault)
    return vm
