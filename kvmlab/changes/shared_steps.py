"""Steps that several plans share, applied once while the plans alternate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvmlab.changes.change import AppliedSteps, shared_steps
from kvmlab.changes.guard import refuse
from kvmlab.changes.plan import Plan
from kvmlab.changes.steps import GuestSetting, HostStep, RestartVm, Step

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

_SHAREABLE = (HostStep, RestartVm, GuestSetting)


def common_steps(*plans: Plan) -> tuple[Step, ...]:
    """Return the steps with which all these plans begin, up to the interface: one bridge, say."""
    shared: list[Step] = []
    for steps in zip(*(plan.steps for plan in plans), strict=False):
        if not isinstance(steps[0], _SHAREABLE) or any(step != steps[0] for step in steps):
            break
        shared.append(steps[0])
    return tuple(shared)


@contextmanager
def prepared(*plans: Plan, vm: TestVM) -> Iterator[None]:
    """Apply the plans' common steps once, and keep them while the block alternates the plans.

    Inside, ``plan.applied(vm)`` costs only attaching, configuring and detaching. Plans without
    common steps are fine: then nothing is applied here.

    Raises: as `Plan.apply`.
    """
    for plan in plans:
        refuse(plan.refusals)
    spec = vm.host.spec
    outer = shared_steps.get(spec, ())
    shared = AppliedSteps(vm, common_steps(*plans), scheme="shared")
    shared.apply()
    shared_steps[spec] = (*outer, *common_steps(*plans))
    try:
        yield
    finally:
        shared_steps[spec] = outer
        shared.revert()
