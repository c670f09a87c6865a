"""All schemes in the article's order, and whether a host can do each: asked of the plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.errors import Unavailable
from kvmlab.facts import Rule
from kvmlab.facts.rule_book import BOOK
from kvmlab.hosts import Wire
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.full_emulation import FullEmulation
from kvmlab.schemes.macvtap import Macvtap
from kvmlab.schemes.passthrough import PciPassthrough
from kvmlab.schemes.sriov import SriovVf
from kvmlab.schemes.virtio import Virtio

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.facts import HostFacts

NO_PORT: Final = "This host has no port that the lab could use."
NO_PORT_FIX: Final = (
    "Every port carries the management connection, belongs to something else or is away: add a "
    "port, or free one."
)
#: One of each kind; what differs in queues or modes is a knob and no other scheme.
CATALOGUE: Final[tuple[Scheme, ...]] = (
    FullEmulation("e1000"),
    FullEmulation("e1000e"),
    Virtio(),
    Virtio(backend="vhost"),
    Macvtap(),
    PciPassthrough(group="take"),
    SriovVf(),
)


@dataclass(frozen=True)
class Attempt:
    """A scheme on a host: its plan, or why there is none. Nothing was changed."""

    scheme: Scheme
    plan: Plan | None = None
    rule: str = ""
    message: str = ""
    todo: str = ""

    @property
    def possible(self) -> bool:
        """The host can do it."""
        return self.plan is not None

    def __str__(self) -> str:
        if self.possible:
            return f"{self.scheme.label}: this host can do it."
        return f"{self.scheme.label}: **not now** ({self.rule}). {self.message} {self.todo}"

    def _repr_markdown_(self) -> str:
        return str(self)


def attempt(scheme: Scheme, facts: HostFacts, wire: Wire | None = None) -> Attempt:
    """Plan ``scheme``; a plan that the guard would refuse counts as none.

    So does one on a host whose libvirt does not answer: it can be made, and not applied.
    """
    if facts.libvirt.problem:
        book = BOOK[Rule.LIBVIRT_MISSING]
        return Attempt(scheme, None, Rule.LIBVIRT_MISSING, facts.libvirt.problem, book.fix)
    cable = wire or scheme.cable(facts) or wire_for(facts)
    if cable is None:
        return Attempt(
            scheme,
            rule="port-missing",
            message=NO_PORT,
            todo=NO_PORT_FIX,
        )
    try:
        plan = scheme.plan(facts, wire=cable)
    except Unavailable as error:
        return Attempt(scheme, None, str(error.rule), error.message, error.todo)
    if plan.refusals:
        first = plan.refusals[0]
        return Attempt(scheme, None, first.rule, first.message, "Choose another port.")
    return Attempt(scheme, plan)


def wire_for(facts: HostFacts) -> Wire | None:
    """The host's cable under test, or one that begins at a free port; None where none is free."""
    return next(iter(wires_for(facts)), None)


def wires_for(facts: HostFacts) -> tuple[Wire, ...]:
    """The host's cable under test first, then one for each free port.

    The addresses of the latter are only placeholders of the documentation's network.
    """
    found = [facts.wire] if facts.wire is not None else []
    taken = {*facts.carriers, *facts.default_route_interfaces, facts.management}
    taken |= {wire.port for wire in found}
    for port in facts.ports:
        link = facts.link(port.name) if port.name and port.netns is None else None
        if link is None or link.name in taken or link.master is not None or port.vf_of:
            continue
        found.append(Wire(link.name, "192.0.2.10/24", "192.0.2.1/24"))
    return tuple(found)
