"""Rules about ports, and about devices on their way to a VM and back."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.findings_input import FindingsInput, Judge, listed, named
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, warning
from kvmlab.facts import NetFunction, Rule
from kvmlab.facts.interface_users import (
    LAB_BRIDGE,
    LAB_BRIDGE_MAC_PREFIX,
    function_users,
    interface_users,
)
from kvmlab.facts.isolation import vf_isolation_problem
from kvmlab.facts.port_kind import switchdev_ports, unfit_reason
from kvmlab.facts.vfio import is_userspace_driver, is_vfio_driver
from kvmlab.schemes.feasibility import NO_PORT_FIX, cable_for, no_port

_NO_ACS_FIX: Final = "Use a slot whose bridge isolates (ACS), or switch ACS on in the firmware."


def management(readings: FindingsInput) -> Finding:
    """Expect a known management interface: an unknown one cannot be protected."""
    facts = readings.facts
    read = f"ssh connection, default route: {facts.management or '–'}"
    if facts.management is None:
        return warning(
            Rule.MANAGEMENT,
            read,
            "No interface manages this host, as far as could be seen; none can be protected.",
            fix="On a machine at which you sit that is fine; elsewhere say which port to use.",
        )
    cable = facts.cable
    if cable is not None and cable.port in facts.carriers:
        return problem(
            Rule.MANAGEMENT,
            read,
            f"The port under test, {cable.port}, carries the connection to the host.",
            subjects=(cable.port,),
        )
    return ok(
        Rule.MANAGEMENT, read, f"Never touched: {listed(facts.carriers)}.", subjects=facts.carriers
    )


def port_missing(readings: FindingsInput) -> Finding:
    """Expect the port at which the cable under test begins."""
    cable = readings.facts.cable
    if cable is None and cable_for(readings.facts) is None:
        return warning(
            Rule.PORT_MISSING, "no cable was named", no_port(readings.facts), fix=NO_PORT_FIX
        )
    if cable is None:
        return not_applicable(Rule.PORT_MISSING, "no cable was named", "No port was named.")
    read = f"ip address: {cable.port}"
    if any(cable.port in port.names for port in readings.facts.ports) or readings.facts.link(
        cable.port
    ):
        return ok(Rule.PORT_MISSING, read, f"{cable.port} is there.", subjects=(cable.port,))
    away = next((port for port in readings.facts.ports if is_vfio_driver(port.driver)), None)
    more = f" {away.address} is with {away.driver}: is that it?" if away else ""
    return problem(
        Rule.PORT_MISSING, read, f"There is no {cable.port}.{more}", subjects=(cable.port,)
    )


def port_in_use(readings: FindingsInput) -> Finding:
    """Report every user of the port under test but the lab."""
    facts, cable = readings.facts, cable_for(readings.facts)
    link = facts.link(cable.port) if cable is not None else None
    if link is None:
        return not_applicable(Rule.PORT_IN_USE, "–", "There is no port under test.")
    read = f"interfaces stacked on {link.name}, master, addresses, routes, VFs, VMs, programs"
    users = interface_users(facts, link.name)
    if users.in_use and link.name not in facts.carriers:
        return problem(Rule.PORT_IN_USE, read, users.reason, subjects=(link.name,))
    if readings.tested is not None and readings.tested.sriov_numvfs:
        return warning(
            Rule.PORT_IN_USE,
            read,
            f"{link.name} has VFs ({readings.tested.sriov_numvfs}), which would go with it if it "
            "were handed over whole.",
            fix="Take the VFs away first, or hand over one of them.",
            subjects=(link.name,),
        )
    if readings.tested is not None:
        users = function_users(facts, readings.tested.address)
        if users.in_use and link.name not in facts.carriers:
            return warning(Rule.PORT_IN_USE, read, users.reason, subjects=(link.name,))
    return ok(Rule.PORT_IN_USE, read, "Nothing else uses it.", subjects=(link.name,))


def port_fits(readings: FindingsInput) -> Finding:
    """Expect a wired Ethernet port under test; without one, name those that are none."""
    rule, facts = Rule.PORT_KIND, readings.facts
    read = "link types, PCI classes and buses, /sys/class/net/*/wireless"
    hardware = [
        link for link in facts.links if link.netns is None and not link.kind and not link.loopback
    ]
    cable = cable_for(facts)
    tested = facts.link(cable.port) if cable is not None else None
    if tested is not None:
        reason = unfit_reason(facts, tested)
        if reason:
            return problem(rule, read, reason, subjects=(tested.name,))
        if readings.tested is None:
            return warning(
                rule,
                read,
                f"{tested.name} is no PCI function: it serves bridges and macvtap, and cannot be "
                "handed over.",
                subjects=(tested.name,),
            )
        representors = switchdev_ports(facts, tested)
        if representors:
            return warning(
                rule,
                read,
                f"The switch inside {tested.name} is in switchdev mode: packets of a VF come out "
                f"at its representor ({listed([link.name for link in representors])}).",
                subjects=(tested.name,),
            )
    unfit = [reason for link in hardware if (reason := unfit_reason(facts, link))]
    if tested is None and unfit:
        return warning(rule, read, " ".join(unfit))
    if tested is None:
        return not_applicable(rule, read, "There is no port under test.")
    return ok(rule, read, f"{tested.name} is one.", subjects=(tested.name,))


def bridge_name(readings: FindingsInput) -> Finding:
    """Expect the lab's MAC on a bridge of the lab's name."""
    link = readings.facts.link(LAB_BRIDGE)
    read = f"/sys/class/net/{LAB_BRIDGE}/address: {link.mac if link else '–'}"
    if link is not None and not link.mac.startswith(LAB_BRIDGE_MAC_PREFIX):
        return problem(
            Rule.BRIDGE_NAME_TAKEN, read, f"There is a {LAB_BRIDGE}, and kvmlab did not make it."
        )
    return ok(Rule.BRIDGE_NAME_TAKEN, read, "It is free, or the lab's own.")


def group_not_viable(readings: FindingsInput) -> Finding:
    """List the functions that cannot go alone because of their IOMMU group."""
    rule, facts = Rule.GROUP_NOT_VIABLE, readings.facts
    read = f"/sys/kernel/iommu_groups: {len(facts.iommu.groups)} groups"
    if not facts.iommu.on:
        return not_applicable(rule, read, "The IOMMU is off: there are no groups.")
    shared = [port for port in facts.ports if port.handover.rule is rule]
    log_line = readings.says(
        "group \\d+ is not viable", unless=lambda line: _is_viable(readings, line)
    )
    if log_line and not shared:
        return warning(rule, read, f"QEMU says: {log_line.strip()}")
    exposed = [
        problem
        for port in readings.pfs
        if not port.sriov_numvfs and (problem := vf_isolation_problem(facts, port))
    ]
    if exposed and not shared:
        return warning(rule, read, " ".join(exposed), fix=_NO_ACS_FIX)
    if not shared:
        return ok(rule, read, "Every function can go alone, or with what vfio has already.")
    reasons = " ".join(f"{named(port)}: {port.handover.reason}" for port in shared)
    others = sorted({address for port in shared for address in port.handover.in_the_way})
    known = {port.address: port for port in facts.ports}
    # A VF that shares its group with its own PF can never go: the PF stays with the host.
    no_isolation = any(
        port.vf_of in port.handover.in_the_way or not port.handover.in_the_way for port in shared
    )
    fix = _NO_ACS_FIX
    if not no_isolation:
        vf = ", or hand over a VF" if any(known[p.address].sriov_totalvfs for p in shared) else ""
        fix = f"Bind {listed(others)} to vfio-pci as well and hand all over, use another slot{vf}."
    return warning(rule, read, reasons, fix=fix, subjects=[port.address for port in shared])


def _is_viable(readings: FindingsInput, line: str) -> bool:
    """Return whether the functions that ``line`` names can all go now."""
    ports = [port for port in readings.named_in(line) if port.vf_of is None]
    return bool(ports) and all(is_userspace_driver(port.driver) for port in ports)


def no_reset(readings: FindingsInput) -> Finding:
    """List the functions whose list of reset methods is empty."""
    read = f"reset_method of {len(readings.facts.ports)} functions"
    # What carries the management connection never goes to a VM, and virtio cards are for guests.
    without = [
        port
        for port in readings.facts.ports
        if port.reset_methods == ()
        and not set(port.names) & set(readings.facts.carriers)
        and not (port.driver or "").startswith("virtio")
    ]
    log_line = readings.says("no available reset mechanism")
    if log_line and not without:
        return warning(Rule.NO_RESET, read, f"A log says: {log_line.strip()}")
    if without:
        return warning(
            Rule.NO_RESET,
            read,
            f"No way to reset {listed([named(port) for port in without])}.",
            subjects=[port.address for port in without],
        )
    return ok(Rule.NO_RESET, read, _methods(readings.facts.ports))


def bus_reset(readings: FindingsInput) -> Finding:
    """List functions that can only be reset with their whole bus."""
    read = "reset_method, kernel log"
    only = [port for port in readings.facts.ports if port.reset_methods == ("bus",)]
    log_line = readings.says("not doing bus reset|depends on group \\d+ which is not owned")
    if log_line:
        return warning(Rule.BUS_RESET, read, f"The kernel says: {log_line.strip()}")
    if only:
        return warning(
            Rule.BUS_RESET,
            read,
            f"Only with their bus: {listed([named(port) for port in only])}.",
            subjects=[port.address for port in only],
        )
    return ok(Rule.BUS_RESET, read, "No function has to be reset with its bus.")


def not_given_back(readings: FindingsInput) -> Finding:
    """List functions that are away from their driver although nobody holds them."""
    rule, read = Rule.NOT_GIVEN_BACK, "driver, driver_override, VMs' devices, /dev/vfio/N"
    away = [port for port in readings.facts.ports if _is_away(port)]
    if not away:
        return ok(rule, read, "Every function is with its own driver.")
    holders = {port.address: _holders(readings, port) for port in away}
    stray = [port for port in away if not holders[port.address]]
    if not stray:
        text = "; ".join(f"{address}: {listed(names)}" for address, names in holders.items())
        return ok(rule, read, f"Only with VMs and programs that run: {text}.")
    subjects = [port.address for port in stray]
    if readings.vms_unread:
        return warning(
            rule,
            read,
            f"Away from their drivers: {_why(stray)}. Whether a VM holds them is not known: "
            f"{readings.vms_unread}",
            subjects=subjects,
        )
    held_unseen = [port for port in stray if is_userspace_driver(port.driver)]
    unseen = readings.facts.vfio_holders is None or any(
        not is_vfio_driver(port.driver) for port in held_unseen
    )
    if held_unseen and unseen:
        return warning(
            rule,
            read,
            f"No VM of libvirt holds them, and another program may (DPDK, a userspace switch): "
            f"{_why(stray)}.",
            fix="Look who has the group open, as root: `fuser -v /dev/vfio/*`. Only where nobody "
            f"has: {_give_back(stray[0])}",
            subjects=subjects,
        )
    return problem(
        rule,
        read,
        f"No running VM and no program holds them, and yet: {_why(stray)}.",
        fix=f"{_give_back(stray[0])} From now on managed='yes'.",
        subjects=subjects,
    )


def _holders(readings: FindingsInput, port: NetFunction) -> tuple[str, ...]:
    """Return the VMs and programs that hold a function."""
    group = str(port.iommu_group)
    programs = tuple(
        f"{holder.program} (process {holder.pid})"
        for holder in readings.facts.vfio_holders or ()
        if is_userspace_driver(port.driver)
        and group in (holder.group, holder.group.removeprefix("noiommu-"))
    )
    return readings.holders(port.address) or programs


def _give_back(port: NetFunction) -> str:
    folder = f"/sys/bus/pci/devices/{port.address}"
    return (
        f"`echo > {folder}/driver_override`, then `echo {port.address} > {folder}/driver/unbind` "
        f"where a driver holds it, and `echo {port.address} > /sys/bus/pci/drivers_probe`."
    )


def _is_away(port: NetFunction) -> bool:
    # A VF without a driver is how SR-IOV is used with sriov_drivers_autoprobe=0.
    unbound = port.driver is None and port.vf_of is None
    return unbound or is_userspace_driver(port.driver) or port.driver_override is not None


def _why(ports: list[NetFunction]) -> str:
    return "; ".join(
        f"{port.address} has the driver {port.driver or 'none'}"
        + (f" and driver_override {port.driver_override}" if port.driver_override else "")
        for port in ports
    )


def _methods(ports: tuple[NetFunction, ...]) -> str:
    methods = [
        f"{port.address} {'+'.join(port.reset_methods)}" for port in ports if port.reset_methods
    ]
    return f"{listed(methods)}." if methods else "This kernel is too old to list the ways."


JUDGES: Final[tuple[Judge, ...]] = (
    management,
    port_missing,
    port_in_use,
    port_fits,
    bridge_name,
    group_not_viable,
    no_reset,
    bus_reset,
    not_given_back,
)
