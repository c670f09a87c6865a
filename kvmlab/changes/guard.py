"""The guard: what must not be touched, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.changes.steps import AttachInterface, HostStep, Step
from kvmlab.errors import Refused

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts


@dataclass(frozen=True)
class Refusal:
    """One reason against a plan."""

    rule: str
    message: str


def check(steps: Iterable[Step], facts: HostFacts, vm: TestVM | None = None) -> tuple[Refusal, ...]:
    """What speaks against these steps on this host; empty where nothing does.

    A domain other than the lab's own is refused unless it was named: a `TestVM` that was found
    by its name is named, so only its being another one than the steps' speaks against it.
    """
    found = []
    protected = protected_interfaces(facts)
    for step in steps:
        if isinstance(step, HostStep | AttachInterface):
            for name in step.touches:
                if name in protected:
                    found.append(
                        Refusal("management-interface", f"{step.what} Refused: {protected[name]}")
                    )
        if isinstance(step, AttachInterface) and vm is not None and step.domain != vm.name:
            found.append(
                Refusal(
                    "not-the-named-domain",
                    f"The plan attaches to {step.domain}, but the VM that was named is {vm.name}.",
                )
            )
    return tuple(dict.fromkeys(found))


def protected_interfaces(facts: HostFacts) -> Mapping[str, str]:
    """Interfaces and PCI addresses that carry the hand that makes changes, each with the reason.

    They are the management interface and those of default routes, everything that these need
    (the ports of a bridge or bond, the parent of a VLAN), the PCI functions below all of them, and
    what shares an IOMMU group with such a function.
    """
    reasons: dict[str, str] = {}
    for name in facts.carriers:
        reasons[name] = f"{name} is needed by {facts.management}, which manages the host."
    for name in facts.default_route_interfaces:
        reasons[name] = f"{name} carries the host's default route."
    if facts.management is not None:
        reasons[facts.management] = f"{facts.management} carries the connection to the host."
    _add_functions(reasons, facts)
    return reasons


def _add_functions(reasons: dict[str, str], facts: HostFacts) -> None:
    carriers = {
        port.address: next(name for name in port.names if name in reasons)
        for port in facts.ports
        if port.netns is None and any(name in reasons for name in port.names)
    }
    for address, name in carriers.items():
        reasons[address] = f"{address} is {name}: {reasons[name]}"
    for group in facts.iommu.groups:
        inside = next((member for member in group.members if member in carriers), None)
        for member in group.members if inside is not None else ():
            reasons.setdefault(
                member,
                f"{member} shares IOMMU group {group.number} with {inside}, which is "
                f"{carriers[str(inside)]}, and {carriers[str(inside)]} must not be touched.",
            )


def refuse(refusals: Sequence[Refusal]) -> None:
    """Raise what the guard found.

    Raises:
        Refused: there is at least one refusal; the message holds all of them.
    """
    if refusals:
        raise Refused(
            " ".join(refusal.message for refusal in refusals) + " Nothing was changed.",
            rule=refusals[0].rule,
            todo="Choose another port (the wire of the lab), one that carries no traffic of yours.",
        )
