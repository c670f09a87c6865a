"""Feasibility of a scheme on a host, by planning it; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.changes import protected_interfaces
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule
from kvmlab.facts.interface_users import interface_users
from kvmlab.facts.port_kind import unfit_reason
from kvmlab.facts.rules import BOOK
from kvmlab.hosts import Cable
from kvmlab.language import _, translate
from kvmlab.schemes.base import Scheme

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.facts import HostFacts, Link, NetFunction

NO_PORT: Final = "This host has no port that the lab could use."
#: The most ports that are named with their reason in one sentence.
_MOST_REASONS: Final = 6
NO_PORT_FIX: Final = (
    "Every port carries the management connection, belongs to something else or is away: add a "
    "port, or free one."
)


@dataclass(frozen=True)
class Attempt:
    """A scheme on a host: its plan, or the rule, message and fix of why there is none."""

    scheme: Scheme
    plan: Plan | None = None
    rule: str = ""
    message: str = ""
    todo: str = ""

    @property
    def possible(self) -> bool:
        """True where the host can do it."""
        return self.plan is not None

    def __str__(self) -> str:
        if self.possible:
            return f"{self.scheme.label}: this host can do it."
        return f"{self.scheme.label}: **not now** ({self.rule}). {self.message} {self.todo}"

    def _repr_markdown_(self) -> str:
        if self.possible:
            return translate(str(self))
        # Part by part: the reason has sentences of its own.
        return _("{label}: **not now** ({rule}). {message} {todo}").format(
            label=_(self.scheme.label),
            rule=self.rule,
            message=_(self.message),
            todo=_(self.todo),
        )


def attempt(scheme: Scheme, facts: HostFacts, cable: Cable | None = None) -> Attempt:
    """Return the plan of ``scheme`` on the host of ``facts``, or why it cannot be applied there.

    A plan that the guard refuses counts as none, and so does any plan for a host whose libvirt
    does not answer.
    """
    if facts.libvirt.problem:
        book = BOOK[Rule.LIBVIRT_MISSING]
        return Attempt(scheme, None, Rule.LIBVIRT_MISSING, facts.libvirt.problem, book.fix)
    cable = cable or scheme.cable(facts) or cable_for(facts)
    if cable is None:
        return Attempt(scheme, None, Rule.PORT_MISSING, no_port(facts), NO_PORT_FIX)
    try:
        plan = scheme.plan(facts, cable=cable)
    except Unavailable as error:
        return Attempt(scheme, None, str(error.rule), error.message, error.todo)
    if plan.refusals:
        first = plan.refusals[0]
        return Attempt(scheme, None, first.rule, first.message, "Choose another port.")
    return Attempt(scheme, plan)


def cable_for(facts: HostFacts) -> Cable | None:
    """Return the host's cable under test, else one at a free port; None where no port is free."""
    return next(iter(cables_for(facts)), None)


def cables_for(facts: HostFacts) -> tuple[Cable, ...]:
    """Return the host's cable under test, then one for each free port, PCI functions first.

    The addresses of the latter are placeholders from the documentation's network (RFC 5737).
    """
    cables = [facts.cable] if facts.cable is not None else []
    named = {link.name for cable in cables if (link := facts.link(cable.port)) is not None}
    for link in _candidates(facts):
        if link.name not in named and not _why_not(facts, link):
            cables.append(Cable(link.name, "192.0.2.10/24", "192.0.2.1/24"))
    return tuple(cables)


def no_port(facts: HostFacts) -> str:
    """Return the sentences that say why no interface of the host can be the lab's port."""
    reasons = [reason for link in _candidates(facts) if (reason := _why_not(facts, link))]
    more = len(reasons) - _MOST_REASONS
    words = reasons[:_MOST_REASONS] + ([f"{more} others are not free either."] if more > 0 else [])
    return " ".join((NO_PORT, *words))


def _candidates(facts: HostFacts) -> tuple[Link, ...]:
    """Return hardware interfaces of the host's own namespace, those of PCI functions first."""
    of_pci = {name: port for port in facts.ports if port.netns is None for name in port.names}
    hardware = [
        link for link in facts.links if link.netns is None and not link.kind and not link.loopback
    ]
    first = [link for name in of_pci for link in hardware if link.name == name]
    others = [link for link in hardware if link.name not in of_pci]
    return tuple(link for link in (*first, *others) if not _is_vf(of_pci.get(link.name)))


def _is_vf(port: NetFunction | None) -> bool:
    return port is not None and port.vf_of is not None


def _why_not(facts: HostFacts, link: Link) -> str:
    """Return why ``link`` is not offered as a port; empty where it is."""
    if link.name in (*facts.carriers, *facts.default_route_interfaces, facts.management):
        return f"{link.name} carries the connection to the host."
    protection = protected_interfaces(facts).get(link.name)
    if protection is not None:
        return protection
    return unfit_reason(facts, link) or interface_users(facts, link.name).reason
