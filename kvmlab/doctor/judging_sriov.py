"""Rules about PFs and their VFs."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.case import Case, Judge, listed, named
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, unknown, warning
from kvmlab.facts import Link, LinkState, NetFunction, Rule

_NO_MAC: Final = ("", "00:00:00:00:00:00")
#: What igb leaves to the card, and QEMU's igb does not do for VFs.
_OFFLOADS: Final = ("rx-checksumming", "tx-checksumming", "generic-segmentation-offload")


def sriov_missing(case: Case) -> Finding:
    """One PF is enough."""
    rule, read = Rule.SRIOV_MISSING, "sriov_totalvfs"
    if not case.pfs:
        return warning(rule, read, "No function of this host can have VFs.")
    told = [f"{named(port)} {port.sriov_totalvfs}" for port in case.pfs]
    tested = case.tested
    if tested is not None and not tested.sriov_totalvfs:
        return warning(
            rule,
            read,
            f"The port for the schemes, {named(tested)}, has no SR-IOV. Others have: "
            f"{listed(told)} VFs at most.",
            fix="Name one of those as the port, where SR-IOV is wanted.",
            subjects=[tested.address],
        )
    return ok(rule, read, f"VFs at most: {listed(told)}.", [port.address for port in case.pfs])


def numvfs_refused(case: Case) -> Finding:
    """What the next write to sriov_numvfs will meet."""
    rule, read = Rule.NUMVFS_REFUSED, "sriov_numvfs, sriov_totalvfs, kernel log"
    if not case.pfs:
        return not_applicable(rule, read, "There is no PF.")
    said = case.symptoms.says("not enough MMIO resources|bus .* out of range")
    if said:
        return problem(
            rule,
            read,
            f"The kernel refused VFs: {said.strip()}",
            fix="Switch SR-IOV and 64-bit MMIO (above 4G) on in the firmware, or boot with "
            "`pci=realloc,assign-busses`.",
        )
    told = [
        f"{named(port)} has {port.sriov_numvfs or 0} of {port.sriov_totalvfs}"
        + (": write 0 before another number (EBUSY)" if port.sriov_numvfs else "")
        for port in case.pfs
    ]
    return ok(rule, read, f"{'; '.join(told)}.", [port.address for port in case.pfs])


def bridge_on_port_with_vfs(case: Case) -> Finding:
    """The trap that makes VMs on a bridge lose their unicast."""
    rule, read = Rule.BRIDGE_ON_PORT_WITH_VFS, "sriov_numvfs, /sys/class/net/PORT/master"
    if not case.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    bridges = {link.name for link in case.facts.bridges}
    caught = [
        (port, link.master)
        for port in case.pfs_with_vfs
        for link in (_link(case, port),)
        if link is not None and link.master in bridges
    ]
    tested = case.tested
    if not caught and tested in case.pfs_with_vfs:
        return warning(
            rule,
            read,
            f"The port for the schemes, {named(tested)}, has VFs ({tested.sriov_numvfs}): those "
            "with a bridge refuse it meanwhile.",
            subjects=[tested.name or tested.address],
        )
    if not caught:
        return ok(rule, read, "No port with VFs is in a bridge.")
    told = [f"{port.name} has {port.sriov_numvfs} VFs and is in {name}" for port, name in caught]
    return problem(
        rule, read, f"{'; '.join(told)}.", subjects=[port.name or "" for port, _ in caught]
    )


def pf_down(case: Case) -> Finding:
    """A VF lives through its PF."""
    rule, read = Rule.PF_DOWN, "links of PFs with VFs, kernel log"
    if not case.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    down = [port for port in case.pfs_with_vfs if port.link is LinkState.DOWN]
    said = case.symptoms.says("PF still in reset state")
    if down:
        more = f" The kernel said: {said.strip()}" if said else ""
        return problem(
            rule,
            read,
            f"Down, with VFs: {listed([named(port) for port in down])}.{more}",
            fix=f"`ip link set {down[0].name} up`, then bind the VFs anew.",
            subjects=[port.address for port in down],
        )
    if said:
        return warning(
            rule,
            read,
            f"PFs with VFs are up now, but a VF met one that was not ready: {said.strip()}",
            fix="Bind that VF anew: `echo VF > /sys/bus/pci/devices/VF/driver/unbind`, then into "
            "/sys/bus/pci/drivers_probe.",
        )
    return ok(rule, read, "All are up.")


def vf_mac_unset(case: Case) -> Finding:
    """Zero means: the VF makes one up."""
    rule, read = Rule.VF_MAC_UNSET, "ip -d link: vf N MAC"
    if not case.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    unset = [
        f"{port.name} vf {settings.index}"
        for port in case.pfs_with_vfs
        for settings in port.vf_settings
        if settings.mac in _NO_MAC
    ]
    if unset:
        return warning(rule, read, f"No MAC: {listed(unset)}.", subjects=unset)
    if not any(port.vf_settings for port in case.pfs_with_vfs):
        return unknown(rule, read, "The PFs do not tell the settings of their VFs.")
    return ok(rule, read, "Every VF has one.")


def vf_trust(case: Case) -> Finding:
    """Both shown for every VF; neither is right for all."""
    rule, read = Rule.VF_TRUST, "ip -d link: vf N spoofchk, trust; kernel log"
    settings = [(port, vf) for port in case.pfs_with_vfs for vf in port.vf_settings]
    if not settings:
        return not_applicable(rule, read, "No VF is known by its PF.")
    told = "; ".join(
        f"{port.name} vf {vf.index} spoofchk {_switch(vf.spoof_check)} trust {_switch(vf.trusted)}"
        for port, vf in settings
    )
    said = case.symptoms.says("VF is not trusted|[Ss]poof")
    if said:
        return warning(rule, read, f"The kernel says: {said.strip()} ({told})")
    open_ones = [f"{port.name} vf {vf.index}" for port, vf in settings if vf.trusted or
                 vf.spoof_check is False]  # fmt: skip
    if open_ones:
        return warning(
            rule,
            read,
            f"May speak or listen for others: {listed(open_ones)} ({told}).",
            fix="Where the guest does not need it: `ip link set PORT vf N trust off spoofchk on`.",
            subjects=open_ones,
        )
    return ok(rule, read, f"{told}.")


def vf_registers_dead(case: Case) -> Finding:
    """A VF that is up behind a PF that is up has a carrier, unless nobody answers it."""
    rule, read = Rule.VF_REGISTERS_DEAD, "links of VFs here and in the VM, kernel log"
    vfs = [port for port in case.facts.ports if port.vf_of is not None and port.name]
    pf_of = {port.address: port for port in case.facts.ports}
    inside = [] if case.guest is None else [
        card for card in case.guest.interfaces if card.driver.endswith(("vf", "igbvf", "iavf"))
    ]  # fmt: skip
    if not case.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    dead = [
        port.address
        for port in vfs
        if port.link is LinkState.NO_CARRIER and pf_of[str(port.vf_of)].link is LinkState.UP
    ]
    dead += [f"{card.name} in the VM" for card in inside if card.carrier is False]
    said = case.symptoms.says("[Mm]ailbox.*(time|fail)|PF still in reset state")
    if dead:
        more = f" The kernel says: {said.strip()}" if said else ""
        return problem(
            rule,
            read,
            f"Up, behind a PF that is up, and without a link: {listed(dead)}.{more}",
            subjects=dead,
        )
    alive = [port.address for port in vfs if port.link is LinkState.UP]
    alive += [f"{card.name} in the VM" for card in inside if card.carrier]
    if alive:
        return ok(rule, read, f"{listed(alive)}: linked.", subjects=alive)
    return unknown(
        rule,
        read,
        "No VF is in use: none is up here or in the VM that was read.",
        fix="Bring one up (`ip link set VF up`) and look again.",
    )


def igb_checksums(case: Case) -> Finding:
    """Only QEMU's igb: a real 82576 computes them."""
    rule, read = Rule.IGB_CHECKSUMS, "ethtool -k of emulated PFs with VFs"
    emulated = [
        port
        for port in case.pfs_with_vfs
        if port.driver == "igb" and (case.facts.emulated or case.facts.cpu.is_guest)
    ]
    if not emulated:
        return not_applicable(rule, read, "No emulated igb has VFs.")
    seen = [port for port in emulated if port.name in case.symptoms.offloads]
    if not seen:
        why = case.symptoms.unread or "They are in another network namespace."
        return unknown(rule, read, why)
    on = {
        str(port.name): [f for f in _OFFLOADS if case.symptoms.offloads[str(port.name)].get(f)]
        for port in seen
    }
    told = [f"{name}: {listed(features)} on" for name, features in on.items() if features]
    if told:
        first = next(name for name, features in on.items() if features)
        return warning(
            rule,
            read,
            f"{'; '.join(told)}.",
            fix=f"`ethtool -K {first} rx off tx off gso off`.",
            subjects=[name for name, features in on.items() if features],
        )
    return ok(rule, read, "The PF computes its checksums itself.")


def _link(case: Case, port: NetFunction) -> Link | None:
    return case.facts.link(port.name, netns=port.netns) if port.name else None


def _switch(value: bool | None) -> str:
    return {None: "?", True: "on", False: "off"}[value]


JUDGES: Final[tuple[Judge, ...]] = (
    sriov_missing,
    numvfs_refused,
    bridge_on_port_with_vfs,
    pf_down,
    vf_mac_unset,
    vf_trust,
    vf_registers_dead,
    igb_checksums,
)
