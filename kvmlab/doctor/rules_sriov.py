"""Rules about PFs and their VFs."""

from __future__ import annotations

import re
from typing import Final

from kvmlab.doctor.findings_input import FindingsInput, Judge, listed, named
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, unknown, warning
from kvmlab.facts import Link, LinkState, NetFunction, Rule

_NO_MAC: Final = ("", "00:00:00:00:00:00")
#: What igb leaves to the card, and QEMU's igb does not do for VFs.
_OFFLOADS: Final = ("rx-checksumming", "tx-checksumming", "generic-segmentation-offload")


#: Refusals for want of address space or bus numbers, and all refusals.
_NO_ROOM: Final = r"not enough MMIO resources|bus .*out of range|BAR \d+: no space"
_REFUSED: Final = (
    f"{_NO_ROOM}|MSI-X interrupts available for SR-IOV|support SRIOV configuration"
    "|Reject SRIOV config"
)
_REFUSED_FIX: Final = (
    "Interrupts: ask for fewer VFs, or give the port more vectors (`devlink resource`). Port down: "
    "switch it on first. No configuration by sysfs: use the driver's module option, or a newer one."
)


def sriov_missing(readings: FindingsInput) -> Finding:
    """Expect at least one PF."""
    rule, read = Rule.SRIOV_MISSING, "sriov_totalvfs"
    if not readings.pfs:
        return warning(rule, read, "No function of this host can have VFs.")
    totals = [f"{named(port)} {port.sriov_totalvfs}" for port in readings.pfs]
    tested = readings.tested
    if tested is not None and not tested.sriov_totalvfs:
        return warning(
            rule,
            read,
            f"The port for the schemes, {named(tested)}, has no SR-IOV. Others have: "
            f"{listed(totals)} VFs at most.",
            fix="Name one of those as the port, where SR-IOV is wanted.",
            subjects=[tested.address],
        )
    return ok(
        rule, read, f"VFs at most: {listed(totals)}.", [port.address for port in readings.pfs]
    )


def numvfs_refused(readings: FindingsInput) -> Finding:
    """Say what the next write to sriov_numvfs will meet."""
    rule, read = Rule.NUMVFS_REFUSED, "sriov_numvfs, sriov_totalvfs, kernel log"
    if not readings.pfs:
        return not_applicable(rule, read, "There is no PF.")
    log_line = readings.says(_REFUSED, unless=lambda line: _has_vfs(readings, line))
    if log_line and not re.search(_NO_ROOM, log_line):
        return problem(
            rule,
            read,
            f"The kernel refused VFs: {log_line.strip()}",
            fix=_REFUSED_FIX,
        )
    if log_line:
        return problem(
            rule,
            read,
            f"The kernel refused VFs: {log_line.strip()}",
            fix="Switch SR-IOV and 64-bit MMIO (above 4G) on in the firmware, or boot with "
            "`pci=realloc,assign-busses`.",
        )
    counts = [
        f"{named(port)} has {port.sriov_numvfs or 0} of {port.sriov_totalvfs}"
        + (": write 0 before another number (EBUSY)" if port.sriov_numvfs else "")
        for port in readings.pfs
    ]
    return ok(rule, read, f"{'; '.join(counts)}.", [port.address for port in readings.pfs])


def bridge_on_port_with_vfs(readings: FindingsInput) -> Finding:
    """Report ports with VFs in a bridge, whose VMs lose their unicast."""
    rule, read = Rule.BRIDGE_ON_PORT_WITH_VFS, "sriov_numvfs, /sys/class/net/PORT/master"
    if not readings.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    bridges = {link.name for link in readings.facts.bridges}
    trapped = [
        (port, link.master)
        for port in readings.pfs_with_vfs
        for link in (_link(readings, port),)
        if link is not None and link.master in bridges
    ]
    tested = readings.tested
    if not trapped and tested in readings.pfs_with_vfs:
        return warning(
            rule,
            read,
            f"The port for the schemes, {named(tested)}, has VFs ({tested.sriov_numvfs}): those "
            "with a bridge refuse it meanwhile.",
            subjects=[tested.name or tested.address],
        )
    if not trapped:
        return ok(rule, read, "No port with VFs is in a bridge.")
    trapped_text = [
        f"{port.name} has {port.sriov_numvfs} VFs and is in {name}" for port, name in trapped
    ]
    return problem(
        rule, read, f"{'; '.join(trapped_text)}.", subjects=[port.name or "" for port, _ in trapped]
    )


def pf_down(readings: FindingsInput) -> Finding:
    """Expect every PF with VFs to be up."""
    rule, read = Rule.PF_DOWN, "links of PFs with VFs, kernel log"
    if not readings.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    down = [port for port in readings.pfs_with_vfs if port.link is LinkState.DOWN]
    log_line = readings.says("PF still in reset state", unless=lambda x: _is_linked(readings, x))
    if down:
        more = f" The kernel said: {log_line.strip()}" if log_line else ""
        return problem(
            rule,
            read,
            f"Down, with VFs: {listed([named(port) for port in down])}.{more}",
            fix=f"`ip link set {down[0].name} up`, then bind the VFs anew.",
            subjects=[port.address for port in down],
        )
    if log_line:
        return warning(
            rule,
            read,
            f"PFs with VFs are up now, but a VF met one that was not ready: {log_line.strip()}",
            fix="Bind that VF anew: `echo VF > /sys/bus/pci/devices/VF/driver/unbind`, then into "
            "/sys/bus/pci/drivers_probe.",
        )
    return ok(rule, read, "All are up.")


def vf_mac_unset(readings: FindingsInput) -> Finding:
    """List VFs whose administrative MAC is zero."""
    rule, read = Rule.VF_MAC_UNSET, "ip -d link: vf N MAC"
    if not readings.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    without_mac = [
        f"{port.name} vf {settings.index}"
        for port in readings.pfs_with_vfs
        for settings in port.vf_settings
        if settings.mac in _NO_MAC
    ]
    if without_mac:
        return warning(rule, read, f"No MAC: {listed(without_mac)}.", subjects=without_mac)
    log_line = readings.says(
        "random MAC|using random|not assigned by administrator",
        unless=lambda line: _has_own_mac(readings, line),
    )
    if log_line:
        return warning(rule, read, f"A VF took a random MAC before it had one: {log_line.strip()}")
    if not any(port.vf_settings for port in readings.pfs_with_vfs):
        return unknown(rule, read, "The PFs do not tell the settings of their VFs.")
    return ok(rule, read, "Every VF has one.")


def vf_trust(readings: FindingsInput) -> Finding:
    """Report trust and spoof check of every VF; neither is right for all."""
    rule, read = Rule.VF_TRUST, "ip -d link: vf N spoofchk, trust; kernel log"
    settings = [(port, vf) for port in readings.pfs_with_vfs for vf in port.vf_settings]
    if not settings:
        return not_applicable(rule, read, "No VF is known by its PF.")
    settings_text = "; ".join(
        f"{port.name} vf {vf.index} spoofchk {_on_or_off(vf.spoof_check)} "
        f"trust {_on_or_off(vf.trusted)}"
        for port, vf in settings
    )
    log_line = readings.says(
        "VF.* is not trusted|[Ss]poof|override administratively set|Unprivileged VF",
        unless=lambda line: _is_allowed(readings, line),
    )
    if log_line:
        return warning(rule, read, f"The kernel says: {log_line.strip()} ({settings_text})")
    open_ones = [f"{port.name} vf {vf.index}" for port, vf in settings if vf.trusted or
                 vf.spoof_check is False]  # fmt: skip
    if open_ones:
        return warning(
            rule,
            read,
            f"May speak or listen for others: {listed(open_ones)} ({settings_text}).",
            fix="Where the guest does not need it: `ip link set PORT vf N trust off spoofchk on`.",
            subjects=open_ones,
        )
    return ok(rule, read, f"{settings_text}.")


def vf_registers_dead(readings: FindingsInput) -> Finding:
    """Expect a carrier on every VF that is up behind a PF that is up."""
    rule, read = Rule.VF_REGISTERS_DEAD, "links of VFs here and in the VM, kernel log"
    vfs = [port for port in readings.facts.ports if port.vf_of is not None and port.name]
    inside = [] if readings.guest is None else [
        card for card in readings.guest.interfaces if card.driver.endswith(("vf", "igbvf", "iavf"))
    ]  # fmt: skip
    if not readings.pfs_with_vfs:
        return not_applicable(rule, read, "No port has VFs.")
    dead = [
        port.address
        for port in vfs
        if port.link is LinkState.NO_CARRIER and _pf_is_up(readings, port)
    ]
    dead += [f"{card.name} in the VM" for card in inside if card.carrier is False]
    log_line = readings.says(
        "[Mm]ailbox.*(time|fail)|PF still in reset state|PF is not responding"
        "|Failed to communicate with PF|cmd_exec: timeout",
        unless=lambda line: _is_linked(readings, line),
    )
    if dead:
        more = f" The kernel says: {log_line.strip()}" if log_line else ""
        return problem(
            rule,
            read,
            f"Up, behind a PF that is up, and without a link: {listed(dead)}.{more}",
            subjects=dead,
        )
    if log_line and "reset state" not in log_line:
        return warning(rule, read, f"A VF or its card did not answer: {log_line.strip()}")
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


def igb_checksums(readings: FindingsInput) -> Finding:
    """Check the offloads of QEMU's igb; a real 82576 computes checksums itself."""
    rule, read = Rule.IGB_CHECKSUMS, "ethtool -k of emulated PFs with VFs"
    emulated = [
        port
        for port in readings.pfs_with_vfs
        if port.driver == "igb" and (readings.facts.emulated or readings.facts.cpu.is_guest)
    ]
    if not emulated:
        return not_applicable(rule, read, "No emulated igb has VFs.")
    readable = [port for port in emulated if port.name in readings.symptoms.offloads]
    if not readable:
        why = readings.symptoms.unread or "They are in another network namespace."
        return unknown(rule, read, why)
    enabled = {
        str(port.name): [f for f in _OFFLOADS if readings.symptoms.offloads[str(port.name)].get(f)]
        for port in readable
    }
    enabled_text = [
        f"{name}: {listed(features)} on" for name, features in enabled.items() if features
    ]
    if enabled_text:
        first = next(name for name, features in enabled.items() if features)
        return warning(
            rule,
            read,
            f"{'; '.join(enabled_text)}.",
            fix=f"`ethtool -K {first} rx off tx off gso off`.",
            subjects=[name for name, features in enabled.items() if features],
        )
    return ok(rule, read, "The PF computes its checksums itself.")


def _link(readings: FindingsInput, port: NetFunction) -> Link | None:
    return readings.facts.link(port.name, netns=port.netns) if port.name else None


def _has_vfs(readings: FindingsInput, line: str) -> bool:
    """Return whether the port that ``line`` names has VFs now: the refusal is over."""
    return any(port.sriov_numvfs for port in readings.named_in(line))


def _is_linked(readings: FindingsInput, line: str) -> bool:
    """Return whether the VF that ``line`` names has its link now."""
    vfs = [port for port in readings.named_in(line) if port.vf_of is not None]
    return bool(vfs) and all(port.link is LinkState.UP for port in vfs)


def _has_own_mac(readings: FindingsInput, line: str) -> bool:
    """Return whether the VF that ``line`` names has the MAC now that its PF gave it."""
    known = []
    for vf in readings.named_in(line):
        pf = next((port for port in readings.facts.ports if vf.address in port.vfs), None)
        settings = {one.index: one.mac for one in pf.vf_settings} if pf is not None else {}
        mac = settings.get(pf.vfs.index(vf.address)) if pf is not None else None
        known.append(mac is not None and mac == vf.mac)
    return bool(known) and all(known)


def _is_allowed(readings: FindingsInput, line: str) -> bool:
    """Return whether what ``line`` complains of is allowed now: trust on, or spoof check off."""
    number = re.search(r"\bVF[ -](\d+)\b", line)
    settings = [
        vf
        for port in readings.named_in(line)
        for vf in port.vf_settings
        if number is None or vf.index == int(number[1])
    ]
    spoofed = re.search("[Ss]poof", line) is not None
    allowed = [vf.spoof_check is False if spoofed else bool(vf.trusted) for vf in settings]
    return bool(allowed) and all(allowed)


def _pf_is_up(readings: FindingsInput, vf: NetFunction) -> bool:
    """Return whether the PF has its link; False where the PF is no network function."""
    pf = next((port for port in readings.facts.ports if port.address == vf.vf_of), None)
    return pf is not None and pf.link is LinkState.UP


def _on_or_off(value: bool | None) -> str:
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
