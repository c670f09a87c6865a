"""Keeping what several plans have in common while they take turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvmlab.changes.change import MadeSteps, held_steps
from kvmlab.changes.guard import refuse
from kvmlab.changes.plan import Plan
from kvmlab.changes.steps import HostStep, Step

if TYPE_CHECKING:
    from kvmlab.domain import TestVM


def common_steps(*plans: Plan) -> tuple[Step, ...]:
    """The steps of the host with which all these plans begin, such as making one bridge."""
    shared: list[Step] = []
    for steps in zip(*(plan.steps for plan in plans), strict=False):
        if not isinstance(steps[0], HostStep) or any(step != steps[0] for step in steps):
            break
        shared.append(steps[0])
    return tuple(shared)


@contextmanager
def prepared(*plans: Plan, vm: TestVM) -> Iterator[None]:
    """Make what the plans have in common once, and keep it while the block applies them in turn.

    Inside, ``plan.applied(vm)`` costs only attaching, configuring and detaching. Plans with
    nothing in common may be given: then nothing is made here.

    Raises: as `Plan.apply`.
    """
    for plan in plans:
        refuse(plan.refusals)
    spec = vm.host.spec
    outer = held_steps.get(spec, ())
    shared = MadeSteps(vm, common_steps(*plans), scheme="shared")
    shared.make()
    held_steps[spec] = (*outer, *common_steps(*plans))
    try:
        yield
    finally:
        held_steps[spec] = outer
        shared.revert()
