"""Rules about running VMs: their cards in the XML, and what the guest makes of them."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.case import Case, Judge, listed
from kvmlab.doctor.domains import Card, RunningVm
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, unknown, warning
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


def vhost_not_used(case: Case) -> Finding:
    """Proven by the workers of the VM that was read; others are not looked into."""
    rule, guest = Rule.VHOST_NOT_USED, case.guest
    if guest is None or guest.unread:
        why = guest.unread if guest is not None else "No VM was read."
        return not_applicable(rule, "threads of the VM", why)
    read = f"threads of {guest.vm}: {len(guest.vhost_workers)} vhost workers"
    wanted = [
        card.mac
        for vm, card in case.cards()
        if vm.name == guest.vm and card.is_virtio and card.backend != "qemu" and card.kind != "user"
    ]
    if not wanted:
        return not_applicable(rule, read, f"{guest.vm} has no virtio card that vhost would serve.")
    if not guest.vhost_workers:
        return problem(
            rule, read, f"{listed(wanted)} of {guest.vm}: QEMU serves them.", subjects=wanted
        )
    return ok(rule, read, f"{listed(wanted)} of {guest.vm}: vhost serves them.", wanted)


def macvtap_isolation(case: Case) -> Finding:
    """It bites where the host has an address on the port below."""
    rule, read = Rule.MACVTAP_ISOLATION, "ip -d link: macvtap; addresses of the port below"
    taps = case.facts.macvtaps
    if not taps:
        return not_applicable(rule, read, "There is no macvtap.")
    bitten = [
        f"{tap.name} on {below.name} ({', '.join(below.addresses)})"
        for tap in taps
        if tap.parent is not None
        for below in (case.facts.link(tap.parent, netns=tap.netns),)
        if below is not None and below.addresses
    ]
    if bitten:
        return warning(
            rule,
            read,
            f"The host's own addresses cannot be reached through {listed(bitten)}.",
            subjects=[tap.name for tap in taps],
        )
    return ok(
        rule, read, "The host has no address on the ports below macvtaps.", [t.name for t in taps]
    )


def macvtap_vepa(case: Case) -> Finding:
    """What nobody wrote is vepa."""
    rule, read = Rule.MACVTAP_VEPA, "ip -d link: macvtap mode"
    taps = case.facts.macvtaps
    if not taps:
        return not_applicable(rule, read, "There is no macvtap.")
    vepa = [tap.name for tap in taps if tap.detail == "vepa"]
    if vepa:
        return warning(rule, read, f"In vepa mode: {listed(vepa)}.", subjects=vepa)
    return ok(rule, read, f"{listed([f'{tap.name} {tap.detail}' for tap in taps])}.")


def macvtap_rx_filters(case: Case) -> Finding:
    """Only virtio can tell its filters to the host."""
    rule, read = Rule.MACVTAP_RX_FILTERS, "live XML: <interface type='direct'>"
    cards = case.cards("direct")
    if not cards:
        return _no_such_cards(case, rule, read, "No running VM has a macvtap.")
    deaf = [(vm, card) for vm, card in cards if not card.trusts_filters]
    if deaf:
        told = [f"{vm.name} {card.mac}" for vm, card in deaf]
        return warning(
            rule,
            read,
            f"The guest's MAC and multicast filters are not followed: {listed(told)}.",
            subjects=told,
        )
    return ok(rule, read, "The guest's filters are followed.")


def queues_mismatch(case: Case) -> Finding:
    """Queues in the XML, vCPUs, and channels inside where the VM was read."""
    rule, read = Rule.QUEUES_MISMATCH, "live XML: queues, vcpu; in the VM: ethtool -l"
    cards = [(vm, card) for vm, card in case.cards() if card.is_virtio]
    if not cards:
        return _no_such_cards(case, rule, read, "No running VM has a virtio card.")
    told = [why for vm, card in cards if (why := _wasted(case, vm, card))]
    if told:
        return warning(rule, read, f"{'; '.join(told)}.")
    return ok(
        rule,
        read,
        "; ".join(f"{vm.name} {card.mac}: {card.queues} for {vm.vcpus} vCPUs" for vm, card in cards)
        + ".",
    )


def _wasted(case: Case, vm: RunningVm, card: Card) -> str:
    """Why some of a card's queues are not used; empty where all are."""
    where = f"{vm.name} {card.mac}"
    if card.queues > vm.vcpus:
        return f"{where} has {card.queues} queues and only {vm.vcpus} vCPUs"
    guest = case.guest
    if guest is None or guest.unread or guest.vm != vm.name:
        return ""
    inside = next((one for one in guest.interfaces if one.mac == card.mac), None)
    channels = guest.channels.get(inside.name) if inside is not None else None
    if inside is None or channels is None or channels.now >= card.queues:
        return ""
    return (
        f"{where} has {card.queues} queues, and {inside.name} in the VM uses {channels.now} "
        f"(`ethtool -L {inside.name} combined {card.queues}`)"
    )


def vf_blocks_migration(case: Case) -> Finding:
    """A VM with a device stays; a teaming pair lets it go."""
    rule, read = Rule.VF_BLOCKS_MIGRATION, "live XML: <hostdev>, <interface type='hostdev'>"
    tied = [vm for vm in case.vms if vm.devices]
    if not tied:
        return _no_such_cards(case, rule, read, "No running VM holds a device of the host.")
    stuck = [
        f"{vm.name} ({listed(vm.devices)})"
        for vm in tied
        if sum(card.teaming == "transient" for card in vm.cards) < len(vm.devices)
    ]
    if stuck:
        return warning(
            rule,
            read,
            f"These cannot migrate: {listed(stuck)}.",
            fix=_FOUR_ANSWERS,
            subjects=stuck,
        )
    return ok(rule, read, f"All are teamed with a card that can migrate: {_names(tied)}.")


def windows_netkvm(case: Case) -> Finding:
    """The mark of libosinfo tells Windows; its driver's version cannot be seen from here."""
    rule, read = Rule.WINDOWS_NETKVM, "live XML: libosinfo, card models"
    windows = [vm for vm in case.vms if vm.windows and any(card.is_virtio for card in vm.cards)]
    if not windows:
        return _no_such_cards(case, rule, read, "No running VM is a Windows with a virtio card.")
    return warning(
        rule,
        read,
        f"Windows with virtio: {_names(windows)}; look whether its NetKVM is current.",
        subjects=[vm.name for vm in windows],
    )


def guest_driver_missing(case: Case) -> Finding:
    """Read in the VM itself."""
    rule, guest = Rule.GUEST_DRIVER_MISSING, case.guest
    if guest is None:
        return not_applicable(rule, "drivers in the VM", "No VM was read.")
    if guest.unread:
        return unknown(rule, f"drivers in {guest.vm}", guest.unread)
    read = f"drivers in {guest.vm}: " + listed([f"{d} {s}" for d, s in guest.drivers.items()])
    missing = [driver for driver, state in guest.drivers.items() if state == "missing"]
    if missing:
        told = listed([f"{driver} ({_ALL_DRIVERS.get(driver, driver)})" for driver in missing])
        return problem(rule, read, f"{guest.vm} lacks {told}.", subjects=missing)
    return ok(rule, read, "It has all of them.")


def _no_such_cards(case: Case, rule: Rule, read: str, found: str) -> Finding:
    if case.vms_unread:
        return unknown(rule, read, case.vms_unread)
    return not_applicable(rule, read, found)


def _names(vms: list[RunningVm]) -> str:
    return listed([vm.name for vm in vms])


JUDGES: Final[tuple[Judge, ...]] = (
    vhost_not_used,
    macvtap_isolation,
    macvtap_vepa,
    macvtap_rx_filters,
    queues_mismatch,
    vf_blocks_migration,
    windows_netkvm,
    guest_driver_missing,
)
