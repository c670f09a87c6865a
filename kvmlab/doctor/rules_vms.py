"""Rules about running VMs: their cards in the XML, and what the guest makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from kvmlab.doctor.findings_input import FindingsInput, Judge, listed
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, unknown, warning
from kvmlab.doctor.running_vms import RunningVm, VirtualNic
from kvmlab.facts import Rule

_ALL_DRIVERS: Final = {
    "virtio_net": "virtio",
    "e1000": "e1000",
    "e1000e": "e1000e and the passed-through card",
    "igbvf": "VFs of an 82576",
}
_FOUR_ANSWERS: Final = (
    "(a) a teaming pair: a virtio standby beside the VF; (b) macvtap in passthrough mode on the "
    "VF; (c) VFIO migration, with a vendor's driver; (d) vDPA. "
    "`kvmlab.advise(facts, migration=True)` writes the XML of the first two."
)


#: <cpu mode> of VMs that see the host's CPU, whatever it has.
_CPU_AS_IT_IS: Final = ("host-passthrough", "maximum")
#: <cpu mode> of VMs that see the model and the features of the CPU that they were started on.
_CPU_LIKE_IT: Final = "host-model"
#: File systems that several hosts mount, by their names in /proc/mounts; NFS has several.
_SHARED_FILE_SYSTEMS: Final = frozenset(
    {"ceph", "fuse.ceph", "cifs", "smb3", "gfs2", "ocfs2", "fuse.glusterfs", "lustre", "gpfs",
     "beegfs", "afs", "9p", "virtiofs", "fuse.sshfs", "fuse.mfs", "vxfs", "quobyte"}
)  # fmt: skip
#: Who moves the packets of cards without a tap.
_SERVED_BY: Final = {
    "vhostuser": "a userspace switch",
    "vdpa": "the card of the host",
    "hostdev": "the card of the host",
    "user": "QEMU's user network",
}


def vhost_not_used(readings: FindingsInput) -> Finding:
    """Expect vhost workers of the VM that was read; others are not looked into."""
    rule, guest = Rule.VHOST_NOT_USED, readings.guest
    if guest is None or guest.unread:
        why = guest.unread if guest is not None else "No VM was read."
        return not_applicable(rule, "threads of the VM", why)
    read = f"threads of {guest.vm}: {len(guest.vhost_workers)} vhost workers"
    candidates = [
        card.mac for vm, card in readings.cards() if vm.name == guest.vm and card.can_have_vhost
    ]
    if not candidates:
        served = [
            f"{card.mac} ({_SERVED_BY[card.kind]})"
            for vm, card in readings.cards()
            if vm.name == guest.vm and card.kind in _SERVED_BY
        ]
        text = f" Served otherwise: {listed(served)}." if served else ""
        return not_applicable(
            rule, read, f"{guest.vm} has no virtio card that vhost would serve.{text}"
        )
    if not guest.vhost_workers:
        return problem(
            rule,
            read,
            f"{listed(candidates)} of {guest.vm}: QEMU serves them.",
            subjects=candidates,
        )
    return ok(rule, read, f"{listed(candidates)} of {guest.vm}: vhost serves them.", candidates)


def macvtap_isolation(readings: FindingsInput) -> Finding:
    """List macvtaps above a port on which the host has addresses."""
    rule, read = Rule.MACVTAP_ISOLATION, "ip -d link: macvtap; addresses of the port below"
    taps = readings.facts.macvtaps
    if not taps:
        return not_applicable(rule, read, "There is no macvtap.")
    isolated = [
        f"{tap.name} on {below.name} ({', '.join(below.addresses)})"
        for tap in taps
        if tap.parent is not None
        for below in (readings.facts.link(tap.parent, netns=tap.netns),)
        if below is not None and below.addresses
    ]
    if isolated:
        return warning(
            rule,
            read,
            f"The host's own addresses cannot be reached through {listed(isolated)}.",
            subjects=[tap.name for tap in taps],
        )
    return ok(
        rule, read, "The host has no address on the ports below macvtaps.", [t.name for t in taps]
    )


def macvtap_vepa(readings: FindingsInput) -> Finding:
    """List macvtaps in vepa mode, libvirt's default, and in private mode."""
    rule, read = Rule.MACVTAP_VEPA, "ip -d link: macvtap mode"
    taps = readings.facts.macvtaps
    if not taps:
        return not_applicable(rule, read, "There is no macvtap.")
    private = [tap.name for tap in taps if tap.detail == "private"]
    if private:
        text = (
            f"In private mode, in which VMs of one port never reach each other: {listed(private)}."
        )
        return warning(rule, read, text, subjects=private)
    vepa = [tap.name for tap in taps if tap.detail == "vepa"]
    if vepa:
        return warning(rule, read, f"In vepa mode: {listed(vepa)}.", subjects=vepa)
    return ok(rule, read, f"{listed([f'{tap.name} {tap.detail}' for tap in taps])}.")


def macvtap_rx_filters(readings: FindingsInput) -> Finding:
    """List macvtap cards whose filters the host does not follow."""
    rule, read = Rule.MACVTAP_RX_FILTERS, "live XML: <interface type='direct'>"
    cards = readings.cards("direct")
    if not cards:
        return _no_such_cards(readings, rule, read, "No running VM has a macvtap.")
    unfiltered = [(vm, card) for vm, card in cards if not card.trusts_filters]
    emulated = [f"{vm.name} {card.mac}" for vm, card in unfiltered if not card.is_virtio]
    unfiltered = [(vm, card) for vm, card in unfiltered if card.is_virtio]
    if emulated and not unfiltered:
        return warning(
            rule,
            read,
            f"Emulated cards cannot tell their filters to the host: {listed(emulated)}.",
            fix="It needs a virtio card: <model type='virtio'/>, then trustGuestRxFilters='yes'.",
            subjects=emulated,
        )
    if unfiltered:
        names = [f"{vm.name} {card.mac}" for vm, card in unfiltered]
        return warning(
            rule,
            read,
            f"The guest's MAC and multicast filters are not followed: {listed(names)}."
            + (
                f" Emulated cards, which cannot have them followed: {listed(emulated)}."
                if emulated
                else ""
            ),
            subjects=names,
        )
    return ok(rule, read, "The guest's filters are followed.")


def queues_mismatch(readings: FindingsInput) -> Finding:
    """Compare queues in the XML with vCPUs, and with the channels of the VM that was read."""
    rule, read = Rule.QUEUES_MISMATCH, "live XML: queues, vcpu; in the VM: ethtool -l"
    cards = [(vm, card) for vm, card in readings.cards() if card.is_virtio]
    if not cards:
        return _no_such_cards(readings, rule, read, "No running VM has a virtio card.")
    mismatches = [why for vm, card in cards if (why := _unused_queues(readings, vm, card))]
    if mismatches:
        return warning(rule, read, f"{'; '.join(mismatches)}.")
    return ok(
        rule,
        read,
        "; ".join(f"{vm.name} {card.mac}: {card.queues} for {vm.vcpus} vCPUs" for vm, card in cards)
        + ".",
    )


def _unused_queues(readings: FindingsInput, vm: RunningVm, card: VirtualNic) -> str:
    """Return why some of a card's queues are not used; empty where all are."""
    where = f"{vm.name} {card.mac}"
    if card.queues > vm.vcpus:
        return f"{where} has {card.queues} queues and only {vm.vcpus} vCPUs"
    guest = readings.guest
    if guest is None or guest.unread or guest.vm != vm.name:
        return ""
    inside = next((nic for nic in guest.interfaces if nic.mac == card.mac), None)
    channels = guest.channels.get(inside.name) if inside is not None else None
    if inside is None or channels is None or channels.now >= card.queues:
        return ""
    return (
        f"{where} has {card.queues} queues, and {inside.name} in the VM uses {channels.now} "
        f"(`ethtool -L {inside.name} combined {card.queues}`)"
    )


def main_loop_descriptors(readings: FindingsInput) -> Finding:
    """Count the queues of virtio-serial that the main loop of each VM polls."""
    rule, read = Rule.MAIN_LOOP_DESCRIPTORS, "live XML: virtio-serial controllers, channels"
    controllers = [(vm, serial) for vm in readings.vms for serial in vm.serial]
    if not controllers:
        return _no_such_cards(readings, rule, read, "No running VM has a virtio-serial controller.")
    polled = {
        vm.name: f"{vm.name} polls {serial.queues} queues of virtio-serial controller "
        f"{serial.index} ({serial.ports} ports, {serial.needed} needed)"
        for vm, serial in controllers
        if serial.ports > max(serial.needed, 2)
    }
    slowed = [vm for vm in readings.vms if any(card.is_served_by_qemu for card in vm.cards)]
    served = [vm.name for vm in slowed if vm.name in polled]
    if served:
        return warning(
            rule,
            read,
            f"{'; '.join(polled[name] for name in served)}, in the loop that serves its cards.",
            subjects=served,
        )
    if polled:
        listing = "; ".join(polled.values())
        return ok(rule, read, f"{listing}; QEMU serves none of its cards.")
    names = listed([vm.name for vm, _ in controllers])
    return ok(rule, read, f"As many ports as needed: {names}.")


def vf_blocks_migration(readings: FindingsInput) -> Finding:
    """List VMs that cannot migrate because they hold a device."""
    rule, read = Rule.VF_BLOCKS_MIGRATION, "live XML: <hostdev>, <interface type='hostdev'>"
    holders = [vm for vm in readings.vms if vm.devices]
    if not holders:
        return _no_such_cards(readings, rule, read, "No running VM holds a device of the host.")
    immobile = [
        f"{vm.name} ({listed(vm.devices)})" for vm in holders if vm.teamed < len(vm.devices)
    ]
    if immobile:
        return warning(
            rule,
            read,
            f"These cannot migrate: {listed(immobile)}.",
            fix=_FOUR_ANSWERS,
            subjects=immobile,
        )
    return ok(rule, read, f"All are teamed with a card that can migrate: {_names(holders)}.")


def migration_blocked(readings: FindingsInput) -> Finding:
    """List VMs that something other than a function of the host keeps here."""
    rule, read = Rule.MIGRATION_BLOCKED, "live XML: hostdev, filesystem, shmem, cpu, direct"
    if not readings.vms:
        return _no_such_cards(readings, rule, read, "No VM runs.")
    kept = [f"{vm.name} ({listed(vm.anchors)})" for vm in readings.vms if vm.anchors]
    if kept:
        return warning(rule, read, f"These stay on this host: {listed(kept)}.", subjects=kept)
    return ok(rule, read, f"Nothing of this kind in {_names(list(readings.vms))}.")


def local_disks(readings: FindingsInput) -> Finding:
    """List VMs whose disks are files of a file system that no other host has."""
    rule, read = Rule.LOCAL_DISKS, "live XML: <disk>; /proc/mounts"
    holders = [vm for vm in readings.vms if vm.disk_files]
    if not holders:
        return _no_such_cards(readings, rule, read, "No running VM has a file as its disk.")
    mounts = readings.symptoms.mounts
    if not mounts:
        return unknown(rule, read, "The host's file systems were not read.")
    local = [
        f"{vm.name} ({listed(files)})"
        for vm in holders
        if (files := [path for path in vm.disk_files if not _is_shared(path, mounts)])
    ]
    if local:
        return warning(
            rule, read, f"Disks on this host's own storage: {listed(local)}.", subjects=local
        )
    return ok(rule, read, f"The disks of {_names(holders)} are on shared file systems.")


def _is_shared(path: str, mounts: Mapping[str, str]) -> bool:
    """Return whether the file lies on a file system that other hosts can mount as well."""
    place = next(
        (str(folder) for folder in PurePosixPath(path).parents if str(folder) in mounts), "/"
    )
    kind = mounts.get(place, "")
    return kind in _SHARED_FILE_SYSTEMS or kind.startswith("nfs")


def cpu_of_this_host(readings: FindingsInput) -> Finding:
    """List VMs whose CPU is this host's; the lab's own, which live here only, are left out."""
    rule, read = Rule.CPU_OF_THIS_HOST, "live XML, XML for a migration: <cpu mode>"
    others = [vm for vm in readings.vms if not vm.lab]
    if not others:
        return _no_such_cards(readings, rule, read, "No VM runs but the lab's.")
    bound = [f"{vm.name} ({vm.cpu_mode})" for vm in others if vm.cpu_mode in _CPU_AS_IT_IS]
    model = readings.facts.cpu.model
    if bound:
        return warning(
            rule, read, f"These see this host's CPU, {model}: {listed(bound)}.", subjects=bound
        )
    like = [vm for vm in others if vm.cpu_mode == _CPU_LIKE_IT]
    if like:
        subjects = [vm.name for vm in like]
        return warning(
            rule,
            read,
            f"These see every feature of this host's CPU, {model}, and a host that lacks one "
            f"refuses them: {_names(like)} (host-model).",
            subjects=subjects,
        )
    return ok(rule, read, f"The CPU of {_names(others)} is a named one.")


def bridge_does_not_learn(readings: FindingsInput) -> Finding:
    """List VMs that their bridge would not find at a new port, and the setting that prevents it."""
    rule, read = Rule.BRIDGE_DOES_NOT_LEARN, "live XML; ip -d link: bridge_slave; bridge fdb show"
    facts = readings.facts
    lost, bridged = [], []
    for vm, card in readings.cards():
        tap = facts.link(card.tap)
        if tap is None or not tap.master:
            continue
        bridged.append(vm.name)
        entered = [port for mac, port in readings.symptoms.fixed_entries if mac == card.mac]
        reasons = [
            f"{card.mac} is entered at {port}"
            for port in entered
            if port != tap.name and (link := facts.link(port)) and link.master == tap.master
        ]
        ports = [x for x in facts.links if x.netns is None and x.master == tap.master]
        reasons += [f"{port.name} is locked" for port in ports if port.locked]
        if not (tap.learns or tap.floods or tap.name in entered):
            reasons.append(f"{tap.name} neither learns nor floods")
        if reasons:
            lost.append(f"{vm.name} (bridge {tap.master}: {listed(reasons)})")
    if lost:
        return warning(rule, read, f"Not found at a new port: {listed(lost)}.", subjects=lost)
    if not bridged:
        return _no_such_cards(readings, rule, read, "No running VM is on a bridge of the kernel's.")
    return ok(rule, read, f"The bridges of {listed(list(dict.fromkeys(bridged)))} learn.")


def team_behind_learning_bridge(readings: FindingsInput) -> Finding:
    """List teamed VMs whose bridge would not find them when their VF leaves."""
    rule, read = Rule.TEAM_BEHIND_LEARNING_BRIDGE, "live XML: <teaming>; ip -d link: learning"
    teams = [(vm, card) for vm, card in readings.cards() if card.teaming == "persistent"]
    if not teams:
        return _no_such_cards(readings, rule, read, "No running VM has a team.")
    lost, ports = [], []
    for vm, card in teams:
        tap = readings.facts.link(card.tap)
        bridge = tap.master if tap is not None and tap.master else card.source
        uplinks = [
            link.name
            for link in readings.facts.links
            if link.netns is None and link.master == bridge and link.learns and link.kind != "tun"
        ]
        if uplinks:
            lost.append(f"{vm.name} (bridge {bridge}, which learns at {listed(uplinks)})")
            ports += uplinks
    if lost:
        commands = [f"`bridge link set dev {port} learning off`" for port in dict.fromkeys(ports)]
        return warning(
            rule,
            read,
            f"When the VF leaves, these hear nothing until they send: {listed(lost)}.",
            fix=f"Switch learning off: {listed(commands)}.",
            subjects=lost,
        )
    return ok(rule, read, f"The bridges of {_names([vm for vm, _ in teams])} find them.")


def windows_netkvm(readings: FindingsInput) -> Finding:
    """List Windows guests with virtio; the version of their driver cannot be read from here."""
    rule, read = Rule.WINDOWS_NETKVM, "live XML: libosinfo, card models"
    windows = [vm for vm in readings.vms if vm.windows and any(card.is_virtio for card in vm.cards)]
    if not windows:
        return _no_such_cards(
            readings,
            rule,
            read,
            "No running VM with a virtio card is marked as Windows (libosinfo, hypervclock).",
        )
    return warning(
        rule,
        read,
        f"Windows with virtio: {_names(windows)}; look whether its NetKVM is current.",
        subjects=[vm.name for vm in windows],
    )


def guest_driver_missing(readings: FindingsInput) -> Finding:
    """Expect the drivers of all schemes inside the VM that was read."""
    rule, guest = Rule.GUEST_DRIVER_MISSING, readings.guest
    if guest is None:
        return not_applicable(rule, "drivers in the VM", "No VM was read.")
    if guest.unread:
        return unknown(rule, f"drivers in {guest.vm}", guest.unread)
    read = f"drivers in {guest.vm}: " + listed([f"{d} {s}" for d, s in guest.drivers.items()])
    missing = [driver for driver, state in guest.drivers.items() if state == "missing"]
    if missing:
        missing_text = listed(
            [f"{driver} ({_ALL_DRIVERS.get(driver, driver)})" for driver in missing]
        )
        return problem(rule, read, f"{guest.vm} lacks {missing_text}.", subjects=missing)
    return ok(rule, read, "It has all of them.")


def _no_such_cards(readings: FindingsInput, rule: Rule, read: str, message: str) -> Finding:
    if readings.vms_unread:
        return unknown(rule, read, readings.vms_unread)
    return not_applicable(rule, read, message)


def _names(vms: list[RunningVm]) -> str:
    return listed([vm.name for vm in vms])


JUDGES: Final[tuple[Judge, ...]] = (
    vhost_not_used,
    macvtap_isolation,
    macvtap_vepa,
    macvtap_rx_filters,
    queues_mismatch,
    main_loop_descriptors,
    vf_blocks_migration,
    migration_blocked,
    local_disks,
    cpu_of_this_host,
    team_behind_learning_bridge,
    bridge_does_not_learn,
    windows_netkvm,
    guest_driver_missing,
)
