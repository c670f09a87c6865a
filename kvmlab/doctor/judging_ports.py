"""Rules about ports, and about devices on their way to a VM and back."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.case import Case, Judge, listed, named
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, warning
from kvmlab.facts import NetFunction, Rule
from kvmlab.schemes.catalogue import NO_PORT, NO_PORT_FIX, wire_for

_LAB_BRIDGE: Final = "kvmlab0"
_LAB_BRIDGE_MAC_PREFIX: Final = "02:6b:76"
_VFIO: Final = "vfio-pci"


def management(case: Case) -> Finding:
    """What is not known cannot be protected."""
    facts = case.facts
    read = f"ssh connection, default route: {facts.management or '–'}"
    if facts.management is None:
        return warning(
            Rule.MANAGEMENT,
            read,
            "No interface manages this host, as far as could be seen; none can be protected.",
            fix="On a machine at which you sit that is fine; elsewhere say which port to use.",
        )
    wire = facts.wire
    if wire is not None and wire.port in facts.carriers:
        return problem(
            Rule.MANAGEMENT,
            read,
            f"The port under test, {wire.port}, carries the connection to the host.",
            subjects=(wire.port,),
        )
    return ok(
        Rule.MANAGEMENT, read, f"Never touched: {listed(facts.carriers)}.", subjects=facts.carriers
    )


def port_missing(case: Case) -> Finding:
    """The cable under test begins at a port."""
    wire = case.facts.wire
    if wire is None and wire_for(case.facts) is None:
        return warning(Rule.PORT_MISSING, "no cable was named", NO_PORT, fix=NO_PORT_FIX)
    if wire is None:
        return not_applicable(Rule.PORT_MISSING, "no cable was named", "No port was named.")
    read = f"ip address: {wire.port}"
    if any(wire.port in port.names for port in case.facts.ports) or case.facts.link(wire.port):
        return ok(Rule.PORT_MISSING, read, f"{wire.port} is there.", subjects=(wire.port,))
    away = next((port for port in case.facts.ports if port.driver == _VFIO), None)
    more = f" {away.address} is with vfio-pci: is that it?" if away else ""
    return problem(
        Rule.PORT_MISSING, read, f"There is no {wire.port}.{more}", subjects=(wire.port,)
    )


def port_in_use(case: Case) -> Finding:
    """A master other than the lab's is somebody's."""
    wire = case.facts.wire
    link = case.facts.link(wire.port) if wire is not None else None
    if wire is None or link is None:
        return not_applicable(Rule.PORT_IN_USE, "–", "There is no port under test.")
    read = f"/sys/class/net/{wire.port}/master: {link.master or '–'}"
    if link.master not in (None, _LAB_BRIDGE):
        return problem(
            Rule.PORT_IN_USE, read, f"{wire.port} belongs to {link.master}.", subjects=(wire.port,)
        )
    if case.tested is not None and case.tested.sriov_numvfs:
        return warning(
            Rule.PORT_IN_USE,
            read,
            f"{wire.port} has VFs ({case.tested.sriov_numvfs}), which would go with it if it were "
            "handed over whole.",
            fix="Take the VFs away first, or hand over one of them.",
            subjects=(wire.port,),
        )
    return ok(Rule.PORT_IN_USE, read, "Nothing else uses it.", subjects=(wire.port,))


def bridge_name(case: Case) -> Finding:
    """The lab's bridge is known by its MAC."""
    link = case.facts.link(_LAB_BRIDGE)
    read = f"/sys/class/net/{_LAB_BRIDGE}/address: {link.mac if link else '–'}"
    if link is not None and not link.mac.startswith(_LAB_BRIDGE_MAC_PREFIX):
        return problem(
            Rule.BRIDGE_NAME_TAKEN, read, f"There is a {_LAB_BRIDGE}, and kvmlab did not make it."
        )
    return ok(Rule.BRIDGE_NAME_TAKEN, read, "It is free, or the lab's own.")


def group_not_viable(case: Case) -> Finding:
    """Every function that is not free to go because of its neighbours."""
    rule, facts = Rule.GROUP_NOT_VIABLE, case.facts
    read = f"/sys/kernel/iommu_groups: {len(facts.iommu.groups)} groups"
    if not facts.iommu.on:
        return not_applicable(rule, read, "The IOMMU is off: there are no groups.")
    shared = [port for port in facts.ports if port.handover.rule is rule]
    if not shared:
        return ok(rule, read, "Every function can go alone, or with what vfio has already.")
    told = " ".join(f"{named(port)}: {port.handover.reason}" for port in shared)
    others = sorted({address for port in shared for address in port.handover.in_the_way})
    return warning(
        rule,
        read,
        told,
        fix=f"Bind {listed(others)} to vfio-pci as well and hand all over, use another slot, or "
        "hand over a VF.",
        subjects=[port.address for port in shared],
    )


def no_reset(case: Case) -> Finding:
    """An empty list is the kernel's no."""
    read = f"reset_method of {len(case.facts.ports)} functions"
    # What carries the management connection never goes to a VM, and virtio cards are for guests.
    without = [
        port
        for port in case.facts.ports
        if port.reset_methods == ()
        and not set(port.names) & set(case.facts.carriers)
        and not (port.driver or "").startswith("virtio")
    ]
    if without:
        return warning(
            Rule.NO_RESET,
            read,
            f"No way to reset {listed([named(port) for port in without])}.",
            subjects=[port.address for port in without],
        )
    return ok(Rule.NO_RESET, read, _methods(case.facts.ports))


def bus_reset(case: Case) -> Finding:
    """`bus` alone resets the neighbours too."""
    read = "reset_method, kernel log"
    only = [port for port in case.facts.ports if port.reset_methods == ("bus",)]
    said = case.symptoms.says("not doing bus reset")
    if said:
        return warning(Rule.BUS_RESET, read, f"The kernel says: {said.strip()}")
    if only:
        return warning(
            Rule.BUS_RESET,
            read,
            f"Only with their bus: {listed([named(port) for port in only])}.",
            subjects=[port.address for port in only],
        )
    return ok(Rule.BUS_RESET, read, "No function has to be reset with its bus.")


def not_given_back(case: Case) -> Finding:
    """With vfio-pci, marked for it, or without a driver, and no VM that runs holds it."""
    rule, read = Rule.NOT_GIVEN_BACK, "driver, driver_override, the running VMs' devices"
    away = [port for port in case.facts.ports if _is_away(port)]
    if not away:
        return ok(rule, read, "Every function is with its own driver.")
    stray = [port for port in away if not case.holders(port.address)]
    if not stray:
        told = "; ".join(f"{port.address}: {listed(case.holders(port.address))}" for port in away)
        return ok(rule, read, f"Only with VMs that run: {told}.")
    if case.vms_unread:
        return warning(
            rule,
            read,
            f"Away from their drivers: {_why(stray)}. Whether a VM holds them is not known: "
            f"{case.vms_unread}",
            subjects=[port.address for port in stray],
        )
    first = stray[0].address
    return problem(
        rule,
        read,
        f"No running VM holds them, and yet: {_why(stray)}.",
        fix=f"`echo > /sys/bus/pci/devices/{first}/driver_override`, then `echo {first} > "
        f"/sys/bus/pci/devices/{first}/driver/unbind` where a driver holds it, and `echo {first} "
        "> /sys/bus/pci/drivers_probe`; from now on managed='yes'.",
        subjects=[port.address for port in stray],
    )


def _is_away(port: NetFunction) -> bool:
    # A VF without a driver is how SR-IOV is used with sriov_drivers_autoprobe=0.
    unbound = port.driver is None and port.vf_of is None
    return unbound or port.driver == _VFIO or port.driver_override is not None


def _why(ports: list[NetFunction]) -> str:
    return "; ".join(
        f"{port.address} has the driver {port.driver or 'none'}"
        + (f" and driver_override {port.driver_override}" if port.driver_override else "")
        for port in ports
    )


def _methods(ports: tuple[NetFunction, ...]) -> str:
    found = [
        f"{port.address} {'+'.join(port.reset_methods)}" for port in ports if port.reset_methods
    ]
    return f"{listed(found)}." if found else "This kernel is too old to list the ways."


JUDGES: Final[tuple[Judge, ...]] = (
    management,
    port_missing,
    port_in_use,
    bridge_name,
    group_not_viable,
    no_reset,
    bus_reset,
    not_given_back,
)
