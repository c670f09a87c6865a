"""The kinds of NIC whose migration the embedded host can run, by their names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kvmlab.errors import UsageError
from kvmlab.migration.macvtap_vf import plan_macvtap_vf
from kvmlab.migration.team import plan_team
from kvmlab.schemes import SriovVf, Virtio

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable

KINDS: Final = ("virtio-vhost", "vf-teaming", "macvtap-on-vf")
#: A VF as it is: libvirt refuses to migrate it.
IMMOBILE: Final = "sriov-vf"


def needs_vfs(kind: str) -> bool:
    """Return whether host B needs a VF for it."""
    return kind != "virtio-vhost"


def plan_kind(kind: str, facts: HostFacts, vm: TestVM, *, cable: Cable, pf: str) -> Plan:
    """Return the plan of giving the VM a NIC of that kind on the segment of both hosts.

    ``kind`` is one of `KINDS`, or `IMMOBILE`.

    Raises:
        UsageError: there is no such kind.
        Unavailable: the host cannot do that.
    """
    if kind == "virtio-vhost":
        return Virtio(backend="vhost").plan(facts, cable=cable, vm=vm)
    if kind == "vf-teaming":
        return plan_team(facts, vm, cable=cable, pf=pf)
    if kind == IMMOBILE:
        return SriovVf(vfs=1).plan(facts, cable=replace(cable, port=pf), vm=vm)
    if kind == "macvtap-on-vf":
        return plan_macvtap_vf(facts, vm, cable=cable, pf=pf)
    raise UsageError(f"{kind!r} is no kind of NIC that migrates.", todo=f"Use one of {KINDS}.")
