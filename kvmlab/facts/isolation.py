"""Isolation of VFs that are yet to be made: whether each will have an IOMMU group of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kvmlab.facts.host_facts import HostFacts
    from kvmlab.facts.types import NetFunction

_BRIDGE_CLASS: Final = "0x0604"


def vf_isolation_problem(facts: HostFacts, pf: NetFunction) -> str:
    """Return why VFs of ``pf`` would not be isolated from it; empty where they would.

    They share the PF's IOMMU group where the bridge above is in that group: then it does not
    isolate what is below it (no ACS).
    """
    group = next((one for one in facts.iommu.groups if pf.address in one.members), None)
    name = pf.name or pf.address
    if group is None:
        return f"{name} is in no IOMMU group, so that its VFs would be in none either."
    bridges = [
        member
        for member in group.members
        if facts.other_functions.get(member, "").startswith(_BRIDGE_CLASS)
    ]
    if not bridges:
        return ""
    return (
        f"VFs of {name} would share IOMMU group {group.number} with it: the bridge above, "
        f"{bridges[0]}, is in that group, so that nothing isolates them (no ACS)."
    )
