"""The base of all faults: what is altered, and what is told about it before and after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, ClassVar, Final

from kvmlab.changes.guest_state import SetGuestState, read_guest_state
from kvmlab.changes.host_state import HostState
from kvmlab.changes.settings import read_settings
from kvmlab.course.bilingual import Bilingual
from kvmlab.errors import OutputError, StepFailed
from kvmlab.incidents.health import Effect
from kvmlab.schemes import Virtio
from kvmlab.stored_files import parse_json

if TYPE_CHECKING:
    from kvmlab.changes import HostStep, Plan, Step
    from kvmlab.course.site import CourseHost
    from kvmlab.facts import Rule
    from kvmlab.schemes import Scheme

#: Steps in the journal say no more than this: whoever looks at what is left behind stays blind.
BLIND: Final = "Put in by the incident."
_READ_SEC: Final = 60
_NEAR: Final = "kvmlab-near"


class Layer(StrEnum):
    """The part of the packet's path in which a fault lies."""

    GUEST = "guest"
    NIC = "nic"
    TAP = "tap"
    BRIDGE = "bridge"
    FIREWALL = "firewall"
    PORT = "port"
    VM = "vm"


@dataclass(frozen=True)
class GuestState:
    """A state inside the VM and its value: of the interface under test, or of the whole VM."""

    state: str
    name: str
    value: str
    of_interface: bool = True


Alteration = HostState | GuestState


@dataclass(frozen=True)
class FaultSite:
    """The path from the VM to its peer: names and addresses that faults need."""

    lab: CourseHost
    mac: str
    tap: str
    port: str
    bridge: str
    vm_address: str
    prefix_length: str
    peer_address: str
    peer_netns: str
    peer_port: str
    peer_mac: str

    @classmethod
    def of(cls, lab: CourseHost, plan: Plan) -> FaultSite:
        """Return the site of a plan that is applied.

        Raises:
            StepFailed: its cable does not end in a namespace of the host.
        """
        cables = [c for c in lab.host.cables if c.peer_address == plan.peer_address]
        if not cables or not cables[0].peer_netns or not cables[0].peer_port:
            raise StepFailed(
                "Incidents need a peer in a namespace of the host, and the cable has none there.",
                todo="Start it on an embedded host with its own cable.",
            )
        cable = cables[0]
        assert cable.peer_netns is not None
        interface = lab.vm.interface(plan.mac)
        link = lab.host.run(
            ("ip", "-n", cable.peer_netns, "-j", "link", "show", "dev", cable.peer_port or ""),
            timeout_sec=_READ_SEC,
            root=True,
        )
        return cls(
            lab=lab,
            mac=plan.mac,
            tap=(interface.target_dev or "") if interface is not None else "",
            port=cable.port,
            bridge=(interface.source_bridge or "") if interface is not None else "",
            vm_address=plan.vm_address.partition("/")[0],
            prefix_length=plan.vm_address.partition("/")[2],
            peer_address=plan.peer_address.partition("/")[0],
            peer_netns=cable.peer_netns,
            peer_port=cable.peer_port or "",
            peer_mac=_address(link.stdout),
        )

    def with_near_peer(self) -> tuple[FaultSite, HostStep]:
        """Return the site with a peer on the VM's own port, and the step that makes that peer.

        It is to the VM what another VM on the same port is: a macvlan, in a namespace of its own.
        """
        network = ip_network(f"{self.vm_address}/{self.prefix_length}", strict=False)
        taken = {ip_address(self.vm_address), ip_address(self.peer_address)}
        address = next(one for one in reversed(list(network.hosts())) if one not in taken)
        state = HostState("near", self.port, _NEAR, f"{address}/{self.prefix_length}")
        site = replace(
            self,
            peer_address=str(address),
            peer_netns=_NEAR,
            peer_port="near0",
            peer_mac="",
        )
        return site, state.step("Put a neighbour of the VM on its port.", "none")

    @property
    def domain(self) -> str:
        """The VM's name in libvirt."""
        return self.lab.vm.name

    @property
    def names(self) -> dict[str, str]:
        """Its fields but the lab, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)[1:]}


class Fault(ABC):
    """One fault. A subclass gives texts and alterations, and stands in the registry.

    ``symptom`` is the report of a user, who knows nothing of the cause. ``evidence`` are commands
    on the host (or ``in the VM: …``) whose output shows the cause; the last hint names the first.
    ``rule`` is the doctor's, where it has one that reads this. ``effects`` are all that a
    measurement shows, at least one.
    """

    name: ClassVar[str]
    level: ClassVar[int]
    layer: ClassVar[Layer]
    effects: ClassVar[tuple[Effect, ...]]
    symptom: ClassVar[Bilingual]
    cause: ClassVar[Bilingual]
    evidence: ClassVar[tuple[str, ...]]
    rule: ClassVar[Rule | None] = None
    #: The scheme under which a healthy VM is measured.
    scheme: ClassVar[Scheme] = Virtio("vhost")
    #: The peer is a neighbour on the VM's own port, not the machine at the cable's other end.
    near_peer: ClassVar[bool] = False
    #: The scheme that the VM gets in its place, where the interface itself is the fault.
    faulty_scheme: ClassVar[Scheme | None] = None

    @abstractmethod
    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Return the states that the fault alters, in order."""

    def steps(self, site: FaultSite) -> tuple[Step, ...]:
        """Return the steps that put the fault in, with the values that they will go back to.

        Raises:
            StepFailed: the host has no such state.
        """
        alterations = self.alterations(site)
        on_host = [state for state in alterations if isinstance(state, HostState)]
        values = read_settings(site.lab.host.runner, [state.path for state in on_host])
        steps: list[Step] = []
        for state in alterations:
            if isinstance(state, HostState):
                before = values[state.path]
                if before is None or before == state.value:
                    raise StepFailed(
                        f"{state.path} reads {before or 'nothing'}: the fault {self.name} cannot "
                        "be put in.",
                        todo="Take another one, or a new host.",
                    )
                steps.append(state.step(BLIND, before))
            else:
                mac = site.mac if state.of_interface else "-"
                steps.append(
                    SetGuestState(
                        what=BLIND,
                        domain=site.domain,
                        state=state.state,
                        mac=mac,
                        name=state.name,
                        value=state.value,
                        value_before=read_guest_state(site.lab.vm, state.state, mac, state.name),
                    )
                )
        return tuple(steps)

    def is_in(self, site: FaultSite) -> bool:
        """Return whether something is still as the fault made it."""
        if self.faulty_scheme is not None and not site.lab.vm.threads().vhost:
            return True
        alterations = self.alterations(site)
        paths = [f"{s.path}={s.value}" for s in alterations if isinstance(s, HostState)]
        if any(read_settings(site.lab.host.runner, paths).values()):
            return True
        return any(
            read_guest_state(site.lab.vm, s.state, site.mac if s.of_interface else "-", s.name)
            == s.value
            for s in alterations
            if isinstance(s, GuestState)
        )

    def evidence_in(self, site: FaultSite) -> tuple[str, ...]:
        """Return the commands that show the cause, with the site's names."""
        return tuple(
            line.format(
                tap=site.tap or "TAP",
                port=site.port,
                bridge=site.bridge or "BRIDGE",
                domain=site.domain,
                peer=site.peer_address,
                mac=site.mac,
            )
            for line in self.evidence
        )


def _address(text: str) -> str:
    """Return the MAC of the only link that ``ip -j link`` shows.

    Raises:
        OutputError: it shows none.
    """
    try:
        return str(parse_json(text)[0]["address"])
    except (ValueError, LookupError, TypeError) as error:
        raise OutputError(
            "The peer's port cannot be read.",
            todo="Take a new host: shut the kernel down, or `kvmlab host down`.",
            evidence=text[:400],
        ) from error
