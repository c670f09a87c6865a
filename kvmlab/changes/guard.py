"""The guard: what must not be touched, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from kvmlab.changes.steps import AttachInterface, HostStep, Step
from kvmlab.errors import Refused
from kvmlab.facts import Rule
from kvmlab.facts.management import chain

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts, Link


@dataclass(frozen=True)
class Refusal:
    """One reason against a plan; ``evidence`` is what was read of the host."""

    rule: str
    message: str
    evidence: str = ""


@dataclass(frozen=True)
class _Reason:
    """Why something is not to be touched."""

    rule: Rule
    text: str


def check(steps: Iterable[Step], facts: HostFacts, vm: TestVM | None = None) -> tuple[Refusal, ...]:
    """What speaks against these steps on this host; empty where nothing does.

    A domain other than the lab's own is refused unless it was named: a `TestVM` that was found
    by its name is named, so only its being another one than the steps' speaks against it.
    """
    found = []
    protected = _protected(facts)
    for step in steps:
        if isinstance(step, HostStep | AttachInterface):
            for name in step.touches:
                if name in protected:
                    reason = protected[name]
                    found.append(
                        Refusal(
                            reason.rule,
                            f"{step.what} Refused: {reason.text}",
                            _evidence(name, facts),
                        )
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
    """Interfaces and PCI addresses that must not be touched, each with the reason.

    They are the management interface and those of default routes, interfaces at whose addresses
    connections end (libvirt's, storage, other logins), everything that these need (the ports of a
    bridge or bond, the bridge itself, the parent of a VLAN), the PCI functions below all of them
    (and the PF, where that is a VF), and what shares an IOMMU group with such a function.
    """
    return {name: reason.text for name, reason in _protected(facts).items()}


def _protected(facts: HostFacts) -> dict[str, _Reason]:
    reasons: dict[str, _Reason] = {}
    for name, text in _connected(facts):
        reasons[name] = _Reason(Rule.CONNECTIONS, text)
    for name in facts.carriers:
        reasons[name] = _Reason(
            Rule.MANAGEMENT, f"{name} is needed by {facts.management}, which manages the host."
        )
    for name in facts.default_route_interfaces:
        reasons[name] = _Reason(Rule.MANAGEMENT, f"{name} carries the host's default route.")
    if facts.management is not None:
        reasons[facts.management] = _Reason(
            Rule.MANAGEMENT, f"{facts.management} carries the connection to the host."
        )
    _add_functions(reasons, facts)
    return reasons


def _connected(facts: HostFacts) -> Iterable[tuple[str, str]]:
    """Interfaces at whose addresses connections end, and what these interfaces need."""
    own = {link.name: link for link in facts.links if link.netns is None}
    for one in facts.connections:
        there = ip_address(one.address)
        for link in own.values():
            if not any(ip_interface(address).ip == there for address in link.addresses):
                continue
            what = "1 connection" if one.count == 1 else f"{one.count} connections"
            for name in chain(link.name, own):
                through = "" if name == link.name else f"{link.name} needs it, and "
                yield (
                    name,
                    f"{name} is in use: {through}{what} of the host end at {one.address} "
                    f"(port {one.example}).",
                )


def _add_functions(reasons: dict[str, _Reason], facts: HostFacts) -> None:
    carriers = {
        port.address: next(name for name in port.names if name in reasons)
        for port in facts.ports
        if port.netns is None and any(name in reasons for name in port.names)
    }
    for address, name in carriers.items():
        reasons[address] = _Reason(reasons[name].rule, f"{address} is {name}: {reasons[name].text}")
    for port in facts.ports:
        name = carriers.get(port.address, "")
        if name and port.vf_of:
            text = f"{name} is a VF of it: {reasons[name].text}"
            for pf in facts.ports:
                if pf.address == port.vf_of:
                    for own in (pf.address, *pf.names):
                        reasons.setdefault(own, _Reason(reasons[name].rule, f"{own}: {text}"))
    for group in facts.iommu.groups:
        inside = next((member for member in group.members if member in carriers), None)
        if inside is None:
            continue
        name = carriers[inside]
        for member in group.members:
            text = (
                f"shares IOMMU group {group.number} with {inside}, which is {name}, and {name} "
                "must not be touched."
            )
            names = [n for p in facts.ports if p.address == member for n in p.names]
            for own in (member, *names):
                reasons.setdefault(own, _Reason(reasons[name].rule, f"{own} {text}"))


def _evidence(name: str, facts: HostFacts) -> str:
    """What was read of the interface, its masters, parents and members."""
    own = {link.name: link for link in facts.links if link.netns is None}
    names = next((p.names for p in facts.ports if p.address == name), (name,))
    lines = [_line(own[one], facts) for start in names for one in chain(start, own)]
    return "\n".join(dict.fromkeys(lines))


def _line(link: Link, facts: HostFacts) -> str:
    words = [f"{link.name}:", link.kind or "hardware", "up" if link.up else "down"]
    words += [f"master {link.master}"] if link.master else []
    words += [f"parent {link.parent}"] if link.parent else []
    words += list(link.addresses)
    words += ["default route"] if link.name in facts.default_route_interfaces else []
    words += ["management connection"] if link.name == facts.management else []
    return " ".join(words)


def refuse(refusals: Sequence[Refusal]) -> None:
    """Raise what the guard found.

    Raises:
        Refused: there is at least one refusal; the message holds all of them.
    """
    if refusals:
        evidence = "\n".join(r.evidence for r in refusals if r.evidence)
        raise Refused(
            " ".join(refusal.message for refusal in refusals) + " Nothing was changed.",
            rule=refusals[0].rule,
            todo="Choose another port (the wire of the lab), one that carries no traffic of yours.",
            evidence="\n".join(dict.fromkeys(evidence.splitlines())),
        )
