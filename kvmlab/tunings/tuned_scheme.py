"""A scheme with tunings: one plan, in which everything is shown, guarded, journalled and undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kvmlab.changes import (
    AttachInterface,
    ConfigureGuest,
    GuestSetting,
    HostStep,
    Plan,
    RestartVm,
    Step,
    TuneGuest,
    check,
    read_settings,
)
from kvmlab.domain import Domain, HostDevice, Interface, diff_of_attaching
from kvmlab.errors import UsageError
from kvmlab.schemes import Scheme
from kvmlab.schemes.base import with_own_name
from kvmlab.tunings.base import TAP, Target, Tuning

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable

#: Between a scheme's id and its tunings: "virtio-vhost+rx-ring=256".
AND = "+"


@dataclass(frozen=True)
class TunedScheme(Scheme):
    """A scheme with one tuning or several: `kvmlab.tuned(Virtio(), "rx-ring=256")`.

    Its id is that of the scheme with each tuning behind it, "virtio-vhost+rx-ring=256", also in
    results; its MAC is the scheme's own.

    Raises:
        UsageError: no tuning, two values of one tuning, or a scheme that is tuned already.
    """

    scheme: Scheme
    tunings: tuple[Tuning, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, Scheme):
            raise UsageError(
                f"{self.scheme!r} is no scheme that could be tuned.",
                todo='Give one, such as kvmlab.Virtio(backend="vhost").',
            )
        ids = [tuning.id for tuning in self.tunings]
        if not ids or len(set(ids)) < len(ids) or isinstance(self.scheme, TunedScheme):
            raise UsageError(
                f"The tunings {', '.join(map(str, self.tunings)) or '(none)'} of "
                f"{self.scheme.id} do not go together.",
                todo="Name each tuning once, all of them behind one scheme.",
            )

    @property
    def id(self) -> str:
        """The scheme's id and the tunings: "virtio-vhost+rx-ring=256"."""
        return AND.join((self.scheme.id, *map(str, self.tunings)))

    @property
    def label(self) -> str:
        """The name in figures: "virtio, vhost, rx-ring=256"."""
        return ", ".join((self.scheme.label, *map(str, self.tunings)))

    @property
    def backend(self) -> str:
        """The scheme's own."""
        return self.scheme.backend

    @property
    def queues(self) -> int:
        """The scheme's own."""
        return self.scheme.queues

    @property
    def channels(self) -> int:
        """The scheme's own."""
        return self.scheme.channels

    @property
    def must_answer(self) -> bool:
        """The scheme's own."""
        return self.scheme.must_answer

    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Return the scheme's own steps; `plan` adds those of the tunings."""
        return self.scheme.host_steps(facts, cable)

    def interface(self, facts: HostFacts, cable: Cable, mac: str) -> Interface | HostDevice:
        """Return the scheme's own device; `plan` adds what the tunings change."""
        return self.scheme.interface(facts, cable, mac)

    def cable(self, facts: HostFacts) -> Cable | None:
        """Return the scheme's own."""
        return self.scheme.cable(facts)

    def plan(
        self, facts: HostFacts, *, cable: Cable | None = None, vm: TestVM | None = None
    ) -> Plan:
        """Return the plan of the scheme with everything that its tunings change; change nothing.

        Where ``vm`` is given, the settings that will be moved are read from its host now.

        Raises:
            Unavailable: the host cannot do the scheme or one of the tunings.
            UsageError: as `Scheme.plan`.
        """
        plan = self.scheme.plan(facts, cable=cable, vm=vm)
        cable = cable or self.scheme.cable(facts)
        assert cable is not None
        target = self._target(facts, with_own_name(facts, cable), plan, vm)
        for tuning in self.tunings:
            tuning.check(target)
        device = self._device(plan, target)
        steps = self._steps(plan, target, device, vm)
        return replace(
            plan,
            scheme=self.id,
            label=self.label,
            steps=steps,
            interface_xml=device.xml(),
            domain_diff=diff_of_attaching(self._domain_xml(vm), device),
            refusals=check(steps, facts, vm),
        )

    def _target(self, facts: HostFacts, cable: Cable, plan: Plan, vm: TestVM | None) -> Target:
        device = _parse(plan.interface_xml)
        interface = device if isinstance(device, Interface) else None
        target = Target(facts, cable, self.scheme, interface)
        if vm is None:
            return target
        target = replace(target, vm_name=vm.name)
        paths = [path for tuning in self.tunings for path in tuning.reads(target)]
        settings = read_settings(vm.host.runner, paths)
        return replace(target, settings=settings)

    def _device(self, plan: Plan, target: Target) -> Interface | HostDevice:
        device = _parse(plan.interface_xml)
        if isinstance(device, Interface):
            for tuning in self.tunings:
                tuning.edit_interface(device, target)
            if any(tuning.tap_steps(target) for tuning in self.tunings):
                device.target_dev = TAP
        return device

    def _steps(
        self, plan: Plan, target: Target, device: Interface | HostDevice, vm: TestVM | None
    ) -> tuple[Step, ...]:
        before = [step for tuning in self.tunings for step in tuning.host_steps(target)]
        on_tap = [
            replace(step, after_attach=True)
            for tuning in self.tunings
            for step in tuning.tap_steps(target)
        ]
        steps: list[Step] = []
        for step in plan.steps:
            if isinstance(step, AttachInterface):
                steps += [*before, *self._in_vm(vm), replace(step, interface_xml=device.xml())]
                steps += on_tap
            else:
                steps.append(step)
            if isinstance(step, ConfigureGuest):
                steps += self._in_guest(step)
        return tuple(steps)

    def _in_vm(self, vm: TestVM | None) -> list[Step]:
        """Return the steps that start the VM anew, and those that write files inside it."""
        steps: list[Step] = []
        restarting = [tuning for tuning in self.tunings if tuning.restarts_vm]
        if vm is None:
            return steps
        if restarting:
            old_xml = vm.xml(inactive=True)
            names = ", ".join(map(str, restarting))
            steps.append(
                RestartVm(
                    f"Start the VM anew with {names}.", vm.name, old_xml, self._domain_xml(vm) or ""
                )
            )
        for tuning in self.tunings:
            for path, text in tuning.guest_settings():
                old = vm.agent.run(("cat", path), timeout_sec=_GUEST_SEC).stdout.strip()
                what = f"Set {tuning} inside the VM."
                steps += [] if old == text else [GuestSetting(what, vm.name, path, old, text)]
        return steps

    def _domain_xml(self, vm: TestVM | None) -> str | None:
        """Return the VM's XML as it will be when the interface is plugged in."""
        if vm is None:
            return None
        restarting = [tuning for tuning in self.tunings if tuning.restarts_vm]
        if not restarting:
            return vm.xml()
        domain = Domain.parse(vm.xml(inactive=True))
        for tuning in restarting:
            tuning.edit_domain(domain)
        return domain.xml()

    def _in_guest(self, configured: ConfigureGuest) -> list[Step]:
        return [
            TuneGuest(
                what=f"Set {tuning} inside the VM.",
                mac=configured.mac,
                commands=tuning.guest_commands(),
                checks=tuning.guest_checks(),
            )
            for tuning in self.tunings
            if tuning.guest_commands() or tuning.guest_checks()
        ]


_GUEST_SEC = 60


def _parse(xml: str) -> Interface | HostDevice:
    kinds: dict[str, Any] = {Interface.tag: Interface, HostDevice.tag: HostDevice}
    kind = next(kind for tag, kind in kinds.items() if xml.lstrip().startswith(f"<{tag}"))
    device: Interface | HostDevice = kind.parse(xml)
    return device
