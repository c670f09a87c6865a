"""The guard: interfaces and PCI functions that no change may touch, each with its reason."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from kvmlab.changes.steps import AttachInterface, HostStep, Step
from kvmlab.errors import Refused
from kvmlab.facts import Rule
from kvmlab.facts.interface_users import function_users, interface_users, stack_of

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts, Link
    from kvmlab.facts.interface_stack import InterfaceStack
    from kvmlab.facts.interface_users import InterfaceUsers


@dataclass(frozen=True)
class Refusal:
    """One reason against a plan; ``evidence`` is what the inspection showed.

    ``cuts`` are the names of what the plan would cut: whoever names all of them overrides it.
    """

    rule: str
    message: str
    evidence: str = ""
    cuts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Protection:
    """Reason why an interface or PCI function must not be touched; ``cut`` is what would be cut."""

    rule: Rule
    text: str
    cut: str


def check(steps: Iterable[Step], facts: HostFacts, vm: TestVM | None = None) -> tuple[Refusal, ...]:
    """Return the refusals of these steps on this host; empty where nothing is in the way.

    What `facts.cuts` names may be cut, and is no reason to refuse. A plan may attach only to the
    VM that the user named, so a step for another domain than ``vm`` is refused.
    """
    refusals = []
    protected = _protected(facts)
    for step in steps:
        if isinstance(step, HostStep | AttachInterface):
            for name in step.touches:
                if name in protected:
                    protection = protected[name]
                    refusals.append(
                        Refusal(
                            protection.rule,
                            f"{step.what} Refused: {protection.text}",
                            _evidence(name, facts),
                            (protection.cut,),
                        )
                    )
                elif (users := _users(name, facts)) is not None and users.in_use:
                    refusals.append(
                        Refusal(
                            Rule.PORT_IN_USE,
                            f"{step.what} Refused: {users.reason}",
                            str(users),
                            users.ends,
                        )
                    )
        if isinstance(step, AttachInterface) and vm is not None and step.domain != vm.name:
            refusals.append(
                Refusal(
                    "not-the-named-domain",
                    f"The plan attaches to {step.domain}, but the VM that was named is {vm.name}.",
                )
            )
    return tuple(dict.fromkeys(refusals))


def protected_interfaces(facts: HostFacts) -> Mapping[str, str]:
    """Return the interfaces and PCI addresses that must not be touched, each with the reason.

    They are the management interface, the interfaces of default routes, interfaces whose
    addresses have established connections (libvirt, storage, logins), everything these depend on
    (the ports of a bridge or bond, the bridge itself, the parent of a VLAN), their PCI functions
    (and the PF of a VF), and every function in the same IOMMU group.
    """
    return {name: protection.text for name, protection in _protected(facts).items()}


def _protected(facts: HostFacts) -> dict[str, _Protection]:
    """Collect the protections by interface name and PCI address; later ones are more specific.

    What the user lets changes cut protects nothing.
    """
    protections: dict[str, _Protection] = {}
    for name, protection in (*_connected(facts), *_managing(facts)):
        if protection.cut not in facts.cuts:
            protections[name] = protection
    _add_functions(protections, facts)
    return protections


def _managing(facts: HostFacts) -> Iterator[tuple[str, _Protection]]:
    """Yield what the connection to the host and its default route depend on."""
    if facts.management is not None:
        cut = facts.management
        for name in facts.carriers:
            text = f"{name} is needed by {cut}, which manages the host."
            yield name, _Protection(Rule.MANAGEMENT, text, cut)
    for name in facts.default_route_interfaces:
        text = f"{name} carries the host's default route."
        yield name, _Protection(Rule.MANAGEMENT, text, name)
    if facts.management is not None:
        text = f"{cut} carries the connection to the host."
        yield cut, _Protection(Rule.MANAGEMENT, text, cut)


def _connected(facts: HostFacts) -> Iterator[tuple[str, _Protection]]:
    """Yield the interfaces that established connections need, in both directions.

    They are those with the connections' address and those of the routes to the other ends, which
    may be others, and what these depend on.
    """
    own = {link.name: link for link in facts.links if link.netns is None}
    stack = stack_of(facts)
    for group in facts.connections:
        local = ip_address(group.address)
        count = "1 connection" if group.count == 1 else f"{group.count} connections"
        talk = ", ".join(group.storage) or f"port {group.example}"
        at_home = [
            link.name
            for link in own.values()
            if any(ip_interface(address).ip == local for address in link.addresses)
        ]
        for start in at_home:
            for name in stack.carriers(start):
                dependent = "" if name == start else f"{start} needs it, and "
                text = (
                    f"{name} is in use: {dependent}{count} of the host end at {group.address} "
                    f"({talk})."
                )
                yield name, _Protection(Rule.CONNECTIONS, text, group.address)
        away = dict.fromkeys(name for end in group.remotes for name in _towards(stack, end))
        for name in stack.carriers(*(name for name in away if name not in at_home)):
            text = (
                f"{name} is in use: it leads to other ends of {count} at {group.address} ({talk})."
            )
            yield name, _Protection(Rule.CONNECTIONS, text, group.address)


def _towards(stack: InterfaceStack, address: str) -> tuple[str, ...]:
    end = ip_address(address)
    return () if end.is_loopback else stack.towards(address)


def _add_functions(protections: dict[str, _Protection], facts: HostFacts) -> None:
    """Extend the protection of interfaces to PCI functions, PFs and IOMMU groups."""
    carriers = {
        port.address: next(name for name in port.names if name in protections)
        for port in facts.ports
        if port.netns is None and any(name in protections for name in port.names)
    }
    for address, name in carriers.items():
        protections[address] = replace(
            protections[name], text=f"{address} is {name}: {protections[name].text}"
        )
        port = facts.port(address)
        for sibling in (*port.names, *port.representors):
            protections.setdefault(
                sibling,
                replace(
                    protections[name],
                    text=f"{sibling} is on the same PCI function as {name}: "
                    f"{protections[name].text}",
                ),
            )
    for port in facts.ports:
        name = carriers.get(port.address, "")
        if name and port.vf_of:
            text = f"{name} is a VF of it: {protections[name].text}"
            for pf in facts.ports:
                if pf.address == port.vf_of:
                    for target in (pf.address, *pf.names):
                        protections.setdefault(
                            target, replace(protections[name], text=f"{target}: {text}")
                        )
    for group in facts.iommu.groups:
        carrier = next((member for member in group.members if member in carriers), None)
        if carrier is None:
            continue
        name = carriers[carrier]
        for member in group.members:
            text = (
                f"shares IOMMU group {group.number} with {carrier}, which is {name}, and {name} "
                "must not be touched."
            )
            names = [n for p in facts.ports if p.address == member for n in p.names]
            for target in (member, *names):
                protections.setdefault(target, replace(protections[name], text=f"{target} {text}"))


def _users(name: str, facts: HostFacts) -> InterfaceUsers | None:
    """Return who uses the interface or function ``name``; None where the host has none such."""
    if facts.link(name) is not None:
        return interface_users(facts, name)
    if any(name == port.address for port in facts.ports):
        return function_users(facts, name)
    return None


def _evidence(name: str, facts: HostFacts) -> str:
    """Describe the interface, its masters, parents and members as the inspection read them."""
    own = {link.name: link for link in facts.links if link.netns is None}
    names = next((p.names for p in facts.ports if p.address == name), (name,))
    stack = stack_of(facts)
    lines = [
        _line(own[link], facts) for start in names for link in stack.carriers(start) if link in own
    ]
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
    """Raise the guard's refusals as one error.

    Raises:
        Refused: there is at least one; the message lists them all.
    """
    if refusals:
        evidence = "\n".join(r.evidence for r in refusals if r.evidence)
        raise Refused(
            " ".join(refusal.message for refusal in refusals) + " Nothing was changed.",
            rule=refusals[0].rule,
            todo=_todo([name for refusal in refusals for name in refusal.cuts]),
            evidence="\n".join(dict.fromkeys(evidence.splitlines())),
        )


def _todo(cuts: Sequence[str]) -> str:
    todo = "Choose another port for the cable, one that carries no traffic of yours."
    if not cuts:
        return todo
    options = shlex.join(word for name in dict.fromkeys(cuts) for word in ("--cut", name))
    return f"{todo} Or cut it knowingly, by its name: {options}"
