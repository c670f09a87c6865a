"""Candidates on a host: schemes whose own plans work, and pairs made of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from kvmlab.advice.model import Exclusion
from kvmlab.advice.needs import Need
from kvmlab.advice.teaming_xml import macvtap_on_vf_xml, placeholder, teaming_xml
from kvmlab.changes import HostStep
from kvmlab.domain import Interface
from kvmlab.errors import Unavailable
from kvmlab.facts import ModuleState, Rule
from kvmlab.facts.interface_users import function_users
from kvmlab.facts.vf_names import vf_name
from kvmlab.facts.vfio import is_userspace_driver
from kvmlab.hosts import Cable
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.schemes.base import mac_for
from kvmlab.schemes.feasibility import Attempt, attempt, cables_for
from kvmlab.schemes.vfs import vf_address

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts, NetFunction

#: More queue pairs than these gain little, and each costs interrupts and memory.
MOST_QUEUES: Final = 4
#: Addresses for a plan that is only looked at.
_PLACEHOLDERS: Final = ("192.0.2.10/24", "192.0.2.1/24")


class Kind(Enum):
    """Kinds of candidate; simple ones first, since order breaks ties."""

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
    facts: HostFacts, need: Need, cable: Cable | None
) -> tuple[tuple[Candidate, ...], tuple[Exclusion, ...]]:
    """Return all that ``facts`` allow, and the rest with the reason; asks the host nothing."""
    offered: list[Candidate] = [_user_network(need)]
    excluded: list[Exclusion] = []
    cables = (cable,) if cable is not None else cables_for(facts)
    attempts = {
        kind: _first(scheme, facts, cables) for kind, scheme in _schemes(facts, need).items()
    }
    for kind, attempted in attempts.items():
        scheme = attempted.scheme
        if attempted.plan is None:
            excluded.append(
                Exclusion(
                    scheme.id, scheme.label, attempted.rule, attempted.message, attempted.todo
                )
            )
            continue
        steps = tuple(step.what for step in attempted.plan.steps if isinstance(step, HostStep))
        driver = ""
        if kind is Kind.VF:
            driver = _pf_driver(facts, attempted)
        offered.append(
            Candidate(kind, scheme.id, scheme.label, attempted.plan.interface_xml, steps, driver)
        )
    pairs, without = _pairs(facts, attempts, offered)
    card = _whole_card(facts, need)
    offered += pairs
    excluded += without
    if isinstance(card, Candidate):
        offered.append(card)
    else:
        excluded.append(card)
    return tuple(sorted(offered, key=lambda candidate: candidate.kind.value)), tuple(excluded)


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
    """Return as many VFs as VMs, and no fewer than there are: their number cannot be raised."""
    present = [port.sriov_numvfs or 0 for port in facts.ports]
    return max(need.density, *present, 1) if present else need.density


def _first(scheme: Scheme, facts: HostFacts, cables: tuple[Cable, ...]) -> Attempt:
    """Attempt ``scheme`` on each port; return the first success, else the first failure."""
    attempts = [attempt(scheme, facts, cable) for cable in cables] or [attempt(scheme, facts)]
    return next((attempted for attempted in attempts if attempted.possible), attempts[0])


def _vf_of_plan(facts: HostFacts, attempted: Attempt) -> tuple[NetFunction, int] | None:
    """Return the PF and the number of the VF that a plan hands over; None where it names none."""
    source = Interface.parse(attempted.plan.interface_xml).source_pci if attempted.plan else None
    for port in facts.ports if source is not None else ():
        for index in range(port.sriov_totalvfs or 0):
            try:
                address = vf_address(port, index)
            except Unavailable:
                break  # neither made nor foretold by the kernel
            if address == source:
                return port, index
    return None


def _pf_driver(facts: HostFacts, attempted: Attempt) -> str:
    """Return the driver of the PF whose VF a plan hands over; empty where it names no VF."""
    vf = _vf_of_plan(facts, attempted)
    return (vf[0].driver or "") if vf is not None else ""


def _user_network(need: Need) -> Candidate:
    """Return QEMU's own network, which needs no port, no bridge and no rights."""
    card = Interface()
    card.type = "user"
    card.mac = mac_for("user-network")
    card.model = "e1000e" if need.guest_os == "legacy" else "virtio"
    return Candidate(Kind.USER, "user-network", f"QEMU's user network, {card.model}", card.xml())


def _pairs(
    facts: HostFacts, attempts: dict[Kind, Attempt], offered: list[Candidate]
) -> tuple[list[Candidate], list[Exclusion]]:
    """Pair a VF with a virtio card, so that a VM that has it can migrate."""
    by_kind = {candidate.kind: candidate for candidate in offered}
    teaming, on_vf = "VF and virtio standby, teamed", "macvtap in passthrough mode on a VF"
    vf = by_kind.get(Kind.VF)
    if vf is None:
        why = attempts[Kind.VF]
        return [], [
            Exclusion(scheme, label, why.rule, why.message, why.todo)
            for scheme, label in (("vf-teaming", teaming), ("macvtap-on-vf", on_vf))
        ]
    pairs: list[Candidate] = []
    excluded: list[Exclusion] = []
    standby = _standby(attempts)
    if isinstance(standby, Attempt):
        excluded.append(
            Exclusion("vf-teaming", teaming, standby.rule, standby.message, standby.todo)
        )
    else:
        xml = teaming_xml(standby, vf.interface_xml)
        pairs.append(Candidate(Kind.TEAMING, "vf-teaming", teaming, xml, vf.steps, vf.driver))
    name, naming = _vf_interface(facts, attempts[Kind.VF])
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
                macvtap_on_vf_xml(name),
                (*_making_vfs(attempts[Kind.VF]), *naming, f"Switch {name} on."),
                vf.driver,
            )
        )
    return pairs, excluded


def _vf_interface(facts: HostFacts, attempted: Attempt) -> tuple[str, tuple[str, ...]]:
    """Return the name of the VF's interface on the host, and the steps that make it certain."""
    vf = _vf_of_plan(facts, attempted)
    if vf is None:
        return placeholder(0), (f"Write the VF's interface for {placeholder(0)}: `ip link`.",)
    pf, index = vf
    name = vf_name(facts, pf, index)
    if name is not None and index < len(pf.vfs):
        return name, ()
    folder = f"/sys/bus/pci/devices/{vf_address(pf, index)}/net"
    if name is None:
        return placeholder(index), (
            f"Write the name of VF {index} of {pf.name}, which is known once it is there, for "
            f"{placeholder(index)}: `ls {folder}`.",
        )
    return name, (
        f"See that VF {index} of {pf.name} is called {name}, as systemd names it: `ls {folder}`.",
    )


def _making_vfs(vf: Attempt) -> tuple[str, ...]:
    """Return the steps of a VF's plan but one: here the host's own driver shall have it."""
    steps = [step for step in vf.plan.steps if isinstance(step, HostStep)] if vf.plan else []
    return tuple(step.what for step in steps if not step.setting.path.endswith("drivers_autoprobe"))


def _standby(attempts: dict[Kind, Attempt]) -> str | Attempt:
    """Return the XML of a card that can stand by: a macvtap, which bears VFs on its port."""
    attempted = attempts[Kind.MACVTAP]
    return attempted.plan.interface_xml if attempted.plan is not None else attempted


def _lacking(facts: HostFacts, pf_driver: str) -> str:
    """Return the modules that a macvtap on a VF needs and the kernel lacks."""
    required = ("macvtap", "igbvf") if pf_driver == "igb" else ("macvtap",)
    missing = [name for name in required if facts.modules.get(name) in (None, ModuleState.MISSING)]
    return ", ".join(missing)


def _whole_card(facts: HostFacts, need: Need) -> Candidate | Exclusion:
    """Return a card of the host that nothing uses; its IOMMU group goes with it."""
    known = {cable.port: cable for cable in facts.cables}
    attempts = [
        (port, attempt(PciPassthrough(port=port.address, group="take"), facts, cable))
        for port in facts.ports
        if port.name and _is_free(facts, port)
        for cable in (known.get(port.name) or Cable(port.name, *_PLACEHOLDERS),)
    ]
    possible = [(port, attempted) for port, attempted in attempts if attempted.plan is not None]
    if not possible:
        why = attempts[0][1] if attempts else None
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
    port, attempted = min(
        possible, key=lambda pair: (bool(pair[0].sriov_totalvfs), pair[0].address)
    )
    assert attempted.plan is not None
    return Candidate(
        Kind.CARD,
        attempted.scheme.id,
        f"{attempted.scheme.label} ({port.name})",
        attempted.plan.interface_xml,
        tuple(step.what for step in attempted.plan.steps if isinstance(step, HostStep)),
        port.driver or "",
    )


def _is_free(facts: HostFacts, port: NetFunction) -> bool:
    """Return whether ``port`` is a card of the host that nobody uses."""
    return (
        port.vf_of is None
        and port.netns is None
        and not port.sriov_numvfs
        and not (port.driver or "").startswith("virtio")
        and not is_userspace_driver(port.driver)
        and not set(port.names) & {*facts.carriers, *facts.default_route_interfaces}
        and not function_users(facts, port.address).in_use
    )
