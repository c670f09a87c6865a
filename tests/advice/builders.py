"""Hosts for the tests: recorded ones, and what can be changed of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from kvmlab.facts import HostFacts, IommuFacts, KvmProof, ModuleState, inspect
from kvmlab.hosts import Cable
from tests.facts.recorded_host import load

DATA = Path(__file__).resolve().parents[1] / "data"
CABLE = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", "peer", "p2p2")


@cache
def recorded(name: str) -> HostFacts:
    """Return a host recorded in tests/data/facts."""
    with load(DATA / "facts" / f"{name}.json") as host:
        return inspect(host)


def embedded() -> HostFacts:
    """Return the embedded host at rest, with its cable."""
    return replace(recorded("embedded"), cable=CABLE)


def without_module(facts: HostFacts, *names: str) -> HostFacts:
    """Return the same host without these modules."""
    modules = {**facts.modules, **dict.fromkeys(names, ModuleState.MISSING)}
    return replace(facts, modules=MappingProxyType(modules))


def without_iommu(facts: HostFacts) -> HostFacts:
    """Return the same host with its IOMMU off, as `inspect` would say it."""
    from kvmlab.facts import Handover, Rule

    off = Handover(False, "The IOMMU is off, so no device can be isolated.", Rule.IOMMU_OFF)
    ports = tuple(replace(port, iommu_group=None, handover=off) for port in facts.ports)
    return replace(facts, iommu=IommuFacts((), ()), ports=ports)


def without_kvm(facts: HostFacts) -> HostFacts:
    """Return the same host with a KVM that runs no guest."""
    kvm = replace(facts.kvm, usable=False, proof=KvmProof.NONE, reason="No guest boots.")
    return replace(facts, kvm=kvm)


def with_vfs(facts: HostFacts, name: str, count: int) -> HostFacts:
    """Return the same host with ``count`` VFs of a port (their own functions are left out)."""
    return replace(
        facts,
        ports=tuple(
            replace(port, sriov_numvfs=count) if name in port.names else port
            for port in facts.ports
        ),
    )


def in_bridge(facts: HostFacts, name: str, master: str) -> HostFacts:
    """Return the same host with a port in somebody's bridge."""
    return replace(
        facts,
        links=tuple(
            replace(link, master=master) if link.name == name and link.netns is None else link
            for link in facts.links
        ),
    )
