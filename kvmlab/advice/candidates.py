"""What could be recommended on a host: schemes asked of their plans, and pairs made of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from kvmlab.advice.model import Exclusion
from kvmlab.advice.needs import Need
from kvmlab.advice.pairs import macvtap_on_vf_xml, teaming_xml
from kvmlab.changes import HostStep
from kvmlab.domain import Interface
from kvmlab.facts import ModuleState, Rule
from kvmlab.hosts import Wire
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.schemes.base import mac_for
from kvmlab.schemes.catalogue import Attempt, attempt, wires_for

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, NetFunction

#: More queue pairs than these gain little, and each costs interrupts and memory.
MOST_QUEUES: Final = 4
#: Addresses for a plan that is only looked at.
_PLACEHOLDERS: Final = ("192.0.2.10/24", "192.0.2.1/24")


class Kind(Enum):
    """What the rules distinguish; simple ones first, since order breaks ties."""

    VHOST = auto()
    MACVTAP = auto()
    VHOST_QUEUES = auto()
    VIRTIO_QEMU = auto()
    VF = auto()
    TEAMING = auto()
    MACVTAP_ON_VF = auto()
    CARD = auto()
    E1000E = auto()
    E1000 = auto()
    USER = auto()


#: Kinds that hand a device of the host to the VM.
HARDWARE: Final = frozenset({Kind.VF, Kind.TEAMING, Kind.CARD})
#: Kinds whose card in the guest is virtio.
VIRTIO: Final = frozenset(
    {Kind.VHOST, Kind.MACVTAP, Kind.VHOST_QUEUES, Kind.VIRTIO_QEMU, Kind.MACVTAP_ON_VF}
)


@dataclass(frozen=True)
class Candidate:
    """Something this host can do. ``driver`` is the host's driver of a device handed over."""

    kind: Kind
    scheme: str
    label: str
    interface_xml: str
    steps: tuple[str, ...] = ()
    driver: str = ""


def candidates(
    facts: HostFacts, need: Need, wire: Wire | None
) -> tuple[tuple[Candidate, ...], tuple[Exclusion, ...]]:
    """All that ``facts`` allow, and the rest with the reason. Nothing is asked of the host."""
    found: list[Candidate] = [_user_network(need)]
    excluded: list[Exclusion] = []
    wires = (wire,) if wire is not None else wires_for(facts)
    tried = {kind: _first(scheme, facts, wires) for kind, scheme in _schemes(facts, need).items()}
    for kind, done in tried.items():
        scheme = done.scheme
        if done.plan is None:
            excluded.append(Exclusion(scheme.id, scheme.label, done.rule, done.message, done.todo))
            continue
        steps = tuple(step.what for step in done.plan.steps if isinstance(step, HostStep))
        driver = ""
        if kind is Kind.VF:
            driver = _pf_driver(facts, done)
        found.append(
            Candidate(kind, scheme.id, scheme.label, done.plan.interface_xml, steps, driver)
        )
    pairs, without = _pairs(facts, tried, found)
    card = _whole_card(facts, need)
    found += pairs
    excluded += without
    if isinstance(card, Candidate):
        found.append(card)
    else:
        excluded.append(card)
    return tuple(sorted(found, key=lambda one: one.kind.value)), tuple(excluded)


def _schemes(facts: HostFacts, need: Need) -> dict[Kind, Scheme]:
    queues = max(2, min(MOST_QUEUES, facts.cpu.logical_cpus))
    return {
        Kind.E1000: FullEmulation("e1000"),
        Kind.E1000E: FullEmulation("e1000e"),
        Kind.VIRTIO_QEMU: Virtio(),
        Kind.VHOST: Virtio(backend="vhost"),
        Kind.VHOST_QUEUES: Virtio(backend="vhost", queues=queues),
        Kind.MACVTAP: Macvtap(trust_guest_rx_filters=True),
        Kind.VF: SriovVf(vfs=_vfs(facts, need)),
    }


def _vfs(facts: HostFacts, need: Need) -> int:
    """As many as VMs; at least as many as there are, since their number cannot be raised."""
    there = [port.sriov_numvfs or 0 for port in facts.ports]
    return max(need.density, *there, 1) if there else need.density


def _first(scheme: Scheme, facts: HostFacts, wires: tuple[Wire, ...]) -> Attempt:
    """On the first port that can do it; else why the first port cannot."""
    tried = [attempt(scheme, facts, wire) for wire in wires] or [attempt(scheme, facts)]
    return next((one for one in tried if one.possible), tried[0])


def _pf_driver(facts: HostFacts, done: Attempt) -> str:
    source = Interface.parse(done.plan.interface_xml).source_pci if done.plan else None
    for port in facts.ports:
        if source is not None and str(source) in port.vfs:
            return port.driver or ""
    # VFs that are yet to be made sit beside their PF.
    pfs = [port for port in facts.ports if port.sriov_totalvfs and port.driver]
    same = [port for port in pfs if source is not None and port.address[:7] == str(source)[:7]]
    return (same or pfs)[0].driver or "" if pfs else ""


def _user_network(need: Need) -> Candidate:
    """QEMU's own network: needs no port, no bridge and no rights, and always works."""
    card = Interface()
    card.type = "user"
    card.mac = mac_for("user-network")
    card.model = "e1000e" if need.guest_os == "legacy" else "virtio"
    return Candidate(Kind.USER, "user-network", f"QEMU's user network, {card.model}", card.xml())


def _pairs(
    facts: HostFacts, tried: dict[Kind, Attempt], found: list[Candidate]
) -> tuple[list[Candidate], list[Exclusion]]:
    """A VF together with a virtio card: what lets a VM with a VF migrate."""
    by_kind = {one.kind: one for one in found}
    teaming, on_vf = "VF and virtio standby, teamed", "macvtap in passthrough mode on a VF"
    vf = by_kind.get(Kind.VF)
    if vf is None:
        why = tried[Kind.VF]
        return [], [
            Exclusion(scheme, label, why.rule, why.message, why.todo)
            for scheme, label in (("vf-teaming", teaming), ("macvtap-on-vf", on_vf))
        ]
    pairs: list[Candidate] = []
    excluded: list[Exclusion] = []
    standby = _standby(tried)
    if isinstance(standby, Attempt):
        excluded.append(
            Exclusion("vf-teaming", teaming, standby.rule, standby.message, standby.todo)
        )
    else:
        xml = teaming_xml(standby, vf.interface_xml)
        pairs.append(Candidate(Kind.TEAMING, "vf-teaming", teaming, xml, vf.steps, vf.driver))
    lacking = _lacking(facts, vf.driver)
    if lacking:
        excluded.append(
            Exclusion(
                "macvtap-on-vf",
                on_vf,
                Rule.MODULE_MISSING,
                f"The host's kernel lacks {lacking}.",
                "Install the distribution's full kernel.",
            )
        )
    else:
        pairs.append(
            Candidate(
                Kind.MACVTAP_ON_VF,
                "macvtap-on-vf",
                on_vf,
                macvtap_on_vf_xml(facts),
                (*_making_vfs(tried[Kind.VF]), "Switch the host's interface of the VF on."),
                vf.driver,
            )
        )
    return pairs, excluded


def _making_vfs(vf: Attempt) -> tuple[str, ...]:
    """The steps of a VF's plan but one: here the host's own driver shall have it."""
    steps = [step for step in vf.plan.steps if isinstance(step, HostStep)] if vf.plan else []
    return tuple(step.what for step in steps if not step.setting.path.endswith("drivers_autoprobe"))


def _standby(tried: dict[Kind, Attempt]) -> str | Attempt:
    """The interface XML of a card that can stand by: a macvtap, which bears VFs on its port."""
    done = tried[Kind.MACVTAP]
    return done.plan.interface_xml if done.plan is not None else done


def _lacking(facts: HostFacts, pf_driver: str) -> str:
    """What a macvtap on a VF needs of the host's kernel and is not there."""
    needed = ("macvtap", "igbvf") if pf_driver == "igb" else ("macvtap",)
    missing = [name for name in needed if facts.modules.get(name) in (None, ModuleState.MISSING)]
    return ", ".join(missing)


def _whole_card(facts: HostFacts, need: Need) -> Candidate | Exclusion:
    """A card of the host that nothing uses, one for each VM; its IOMMU group goes with it."""
    known = {wire.port: wire for wire in facts.wires}
    tried = [
        (port, attempt(PciPassthrough(port=port.address, group="take"), facts, wire))
        for port in facts.ports
        if port.name and _is_free(facts, port)
        for wire in (known.get(port.name) or Wire(port.name, *_PLACEHOLDERS),)
    ]
    possible = [(port, done) for port, done in tried if done.plan is not None]
    if not possible:
        why = tried[0][1] if tried else None
        label = PciPassthrough().label
        if why is None:
            return Exclusion(
                "passthrough", label, Rule.PORT_MISSING, "No card of this host is free."
            )
        return Exclusion("passthrough", label, why.rule, why.message, why.todo)
    groups = {port.iommu_group for port, _ in possible}
    if len(groups) < need.density:
        return Exclusion(
            "passthrough",
            possible[0][1].scheme.label,
            "one-card-a-vm",
            f"{need.density} VMs would need as many cards, and {len(groups)} of this host can be "
            "handed over.",
        )
    # A card without VFs first: one that has SR-IOV can serve more than one VM.
    port, done = min(possible, key=lambda pair: (bool(pair[0].sriov_totalvfs), pair[0].address))
    assert done.plan is not None
    return Candidate(
        Kind.CARD,
        done.scheme.id,
        f"{done.scheme.label} ({port.name})",
        done.plan.interface_xml,
        tuple(step.what for step in done.plan.steps if isinstance(step, HostStep)),
        port.driver or "",
    )


def _is_free(facts: HostFacts, port: NetFunction) -> bool:
    """Of the host's own, and neither in a bridge nor carrying its connection."""
    link = facts.link(port.name) if port.name else None
    return (
        port.vf_of is None
        and port.netns is None
        and not port.sriov_numvfs
        and not (port.driver or "").startswith("virtio")
        and port.driver != "vfio-pci"
        and not set(port.names) & set(facts.carriers)
        and port.name not in facts.default_route_interfaces
        and (link is None or link.master is None)
    )
