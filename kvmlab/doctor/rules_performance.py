"""Rules about throughput and latency: what works, and costs more than it needs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kvmlab.doctor.findings_input import FindingsInput, Judge, listed
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, unknown, warning
from kvmlab.doctor.running_vms import RunningVm, VirtualNic
from kvmlab.doctor.symptoms import SWITCHED
from kvmlab.facts import HostFacts, Link, Rule
from kvmlab.facts.interface_stack import OVS_DATAPATH
from kvmlab.facts.interface_users import stack_of
from kvmlab.facts.machine import parse_cpu_list
from kvmlab.facts.versions import version_tuple

#: Attributes of a virtio card that are on by default for a reason.
_COSTLY: Final = frozenset(
    (
        "event_idx=off",
        "host csum=off",
        "host gso=off",
        "host tso4=off",
        "host mrg_rxbuf=off",
        "guest csum=off",
        "guest tso4=off",
    )
)
#: Fewer lost packets since boot than these say nothing.
_FEW_DROPS: Final = 100
#: Bytes that VXLAN and Geneve put around a packet.
_TUNNEL_BYTES: Final = 50
#: vhost workers are threads of QEMU since this kernel; before they were kernel threads.
_WORKERS_ARE_THREADS: Final = (6, 4)
#: Microseconds; igb's own choice for latency is at most 50.
_LONG_WAIT_USECS: Final = 250
#: Buffers of 1,500 bytes for 64 KiB, as the next power of two, which a ring's size is.
_LEAST_RING: Final = 64
_NONE_BELOW: Final = "No port is below a bridge or a macvtap."
#: Bonds that rewrite the MACs of what passes, or spread one MAC over ports.
_REWRITING_MODES: Final = ("balance-alb", "balance-tlb", "5", "6")


def vhost_behind_iommu(readings: FindingsInput) -> Finding:
    """List vhost cards with ``<driver iommu='on'>`` in VMs that have an IOMMU."""
    rule, read = Rule.VHOST_IOMMU, "live XML: <iommu>, <driver iommu='on'/>"
    cards = [(vm, card) for vm, card in readings.cards() if card.can_have_vhost]
    if not cards:
        return _no_such_cards(readings, rule, read, "No running VM has a card that vhost serves.")
    slow = [f"{vm.name} {card.mac}" for vm, card in cards if card.behind_iommu]
    if slow:
        return warning(rule, read, f"vhost asks a virtual IOMMU: {listed(slow)}.", subjects=slow)
    return ok(rule, read, "No vhost card is behind a virtual IOMMU.")


def virtio_settings(readings: FindingsInput) -> Finding:
    """List virtio cards with offloads off, or with settings that their back end ignores."""
    rule, read = Rule.VIRTIO_SETTINGS, "live XML: attributes of <driver>, <host> and <guest>"
    cards = [(vm, card) for vm, card in readings.cards() if card.is_virtio]
    if not cards:
        return _no_such_cards(readings, rule, read, "No running VM has a virtio card.")
    wrong = []
    for vm, card in cards:
        words = [f"{word} costs CPU time" for word in card.settings if word in _COSTLY]
        if "packed=on" in card.settings and card.can_have_vhost:
            words.append("packed=on is ignored by vhost")
        if words:
            wrong.append(f"{vm.name} {card.mac}: {', '.join(words)}")
    if wrong:
        return warning(rule, read, f"{'; '.join(wrong)}.", subjects=wrong)
    return ok(rule, read, "Offloads are on, and nothing is ignored.")


def bridge_netfilter_cost(readings: FindingsInput) -> Finding:
    """Report bridges with VMs whose packets pass iptables."""
    rule, read = Rule.BRIDGE_NETFILTER_COST, "bridge-nf-call-iptables, taps in bridges"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    bridges = {tap.master for tap in readings.facts.taps if tap.master}
    bridges &= {bridge.name for bridge in readings.facts.bridges}
    if not bridges:
        return not_applicable(rule, read, "No bridge has a VM.")
    if readings.symptoms.bridge_netfilter:
        names = sorted(str(name) for name in bridges)
        return warning(
            rule,
            read,
            f"Every packet through {listed(names)} passes the hooks of iptables.",
            subjects=names,
        )
    return ok(rule, read, "Bridged packets do not meet iptables.")


def ring_drops(readings: FindingsInput) -> Finding:
    """List ports and taps that lost packets because a ring was full."""
    rule, read = Rule.RING_DROPS, "/sys/class/net/*/statistics, ethtool -g"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    tuning, facts = readings.symptoms.tuning, readings.facts
    lost, fixes = [], []
    for name, count in tuning.drops.items():
        link = facts.link(name)
        if link is None or count < _FEW_DROPS:
            continue
        if link in facts.taps or link in facts.macvtaps:
            lost.append(f"{name} {count} towards its VM")
            fixes.append("a longer ring of the VM's card: <driver rx_queue_size='1024'/>")
        elif not link.kind:
            now, most = tuning.rings.get(name, (0, 0))
            ring = f" with {now} of {most} entries" if now else ""
            lost.append(f"{name} {count}{ring}")
            fixes.append(f"`ethtool -G {name} rx {most}`" if now < most else "fewer bursts")
    if lost:
        return warning(
            rule,
            read,
            f"Packets lost since boot: {'; '.join(lost)}.",
            fix=f"Try {'; '.join(dict.fromkeys(fixes))}; then see whether the count still grows.",
            subjects=[text.partition(" ")[0] for text in lost],
        )
    return ok(rule, read, "No port and no tap lost packets worth naming.")


def mtu_mismatch(readings: FindingsInput) -> Finding:
    """List bridges whose ports have several MTUs, and tunnels too big for what carries them."""
    rule, read = Rule.MTU_MISMATCH, "ip link: mtu"
    facts = readings.facts
    own = [link for link in facts.links if link.netns is None]
    stack = stack_of(facts)
    sentences = []
    for master in own:
        members = facts.members(master.name) if master.kind in ("bridge", "openvswitch") else ()
        sizes = sorted({member.mtu for member in members})
        if len(sizes) > 1:
            by_size = [
                f"{size} ({listed([m.name for m in members if m.mtu == size])})" for size in sizes
            ]
            sentences.append(f"{master.name} joins ports of MTU {' and '.join(by_size)}")
    for link in own:
        below = facts.link(link.parent) if link.parent and link.kind != "veth" else None
        if link.kind in ("vxlan", "geneve"):
            carriers = [below] if below else [facts.link(name) for name in stack.underlay(link)]
            least = min((carrier.mtu for carrier in carriers if carrier), default=0)
            if least and link.mtu + _TUNNEL_BYTES > least:
                sentences.append(
                    f"{link.name} has {link.mtu}, and what carries it {least}: {_TUNNEL_BYTES} "
                    "bytes of its own do not fit"
                )
        elif below is not None and link.mtu > below.mtu:
            sentences.append(f"{link.name} has {link.mtu}, and {below.name} below it {below.mtu}")
    if sentences:
        return warning(rule, read, f"{'; '.join(sentences)}.")
    return ok(rule, read, "MTUs agree along every path.")


def bridge_port_blocked(readings: FindingsInput) -> Finding:
    """List ports of bridges that pass nothing on, although they are up."""
    rule, read = Rule.BRIDGE_PORT_BLOCKED, "/sys/class/net/*/brport/state"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    # One that is down is disabled, and that is not the bridge's doing.
    blocked = {
        name: state
        for name, state in readings.symptoms.tuning.blocked.items()
        if (link := readings.facts.link(name)) is not None and link.up
    }
    if blocked:
        text = listed([f"{name} {state}" for name, state in blocked.items()])
        return problem(rule, read, f"Ports that do not forward: {text}.", subjects=list(blocked))
    return ok(rule, read, "Every port that is up forwards.")


def bridge_forgets(readings: FindingsInput) -> Finding:
    """List bridges that forget at once, and the ports that this leaves without packets."""
    rule, read = Rule.BRIDGE_FORGETS, "bridge/ageing_time, brport/unicast_flood"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    tuning, facts = readings.symptoms.tuning, readings.facts
    forgetful = [name for name, seconds in tuning.ageing.items() if seconds == 0]
    if not forgetful:
        return ok(rule, read, "No bridge has an ageing time of 0.")
    cut_off = [
        member.name
        for name in forgetful
        for member in facts.members(name)
        if member.name in tuning.unflooded
    ]
    if cut_off:
        return problem(
            rule,
            read,
            f"{listed(forgetful)} forgets at once, and does not flood {listed(cut_off)} either: "
            "nothing reaches who is there.",
            subjects=[*forgetful, *cut_off],
        )
    return warning(
        rule,
        read,
        f"With an ageing time of 0, so that every packet is flooded: {listed(forgetful)}.",
        subjects=forgetful,
    )


def interrupt_throttling(readings: FindingsInput) -> Finding:
    """List ports of bridges that wait long before they raise an interrupt."""
    rule, read = Rule.INTERRUPT_THROTTLING, "ethtool -c: rx-usecs"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    throttled = readings.symptoms.tuning.throttled
    slow = {name: usecs for name, usecs in throttled.items() if usecs >= _LONG_WAIT_USECS}
    if slow:
        text = listed([f"{name} {usecs} µs" for name, usecs in slow.items()])
        sentence = f"Ports that wait before an interrupt: {text}."
        return warning(rule, read, sentence, subjects=list(slow))
    if not throttled:
        return not_applicable(rule, read, "No port below a bridge says how long it waits.")
    return ok(rule, read, f"{listed(list(throttled))}: no long wait.")


def vhost_priority(readings: FindingsInput) -> Finding:
    """List vhost workers that run only when nobody else wants to."""
    rule, read = Rule.VHOST_PRIORITY, "ps -eT: nice values of vhost-…"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    nice = readings.symptoms.tuning.nice
    if not nice:
        return not_applicable(rule, read, "No vhost worker runs.")
    behind = [f"{thread} ({value})" for thread, value in nice.items() if value > 0]
    if behind:
        return warning(rule, read, f"Threads with a nice value above 0: {listed(behind)}.")
    return ok(rule, read, "No vhost worker has a nice value above 0.")


def short_ring(readings: FindingsInput) -> Finding:
    """List virtio NICs of the VM that was read whose receiving ring holds no merged packet."""
    rule, guest = Rule.SHORT_RING, readings.guest
    if guest is None or guest.unread:
        why = guest.unread if guest is not None else "No VM was read."
        return not_applicable(rule, "in the VM: ethtool -g", why)
    read = f"ethtool -g in {guest.vm}"
    rings = {
        nic.name: guest.receive_rings[nic.name]
        for nic in guest.interfaces
        if nic.driver == "virtio_net" and nic.name in guest.receive_rings
    }
    if not rings:
        return not_applicable(rule, read, "No virtio card of the VM lists its rings.")
    short = {name: size for name, size in rings.items() if size < _LEAST_RING}
    if short:
        text = listed([f"{name} {size}" for name, size in short.items()])
        sentence = f"Perhaps too short for a packet of 64 KiB: {text}."
        return warning(rule, read, sentence, subjects=list(short))
    return ok(rule, read, f"{listed([f'{name} {size}' for name, size in rings.items()])} buffers.")


def receive_offload(readings: FindingsInput) -> Finding:
    """List ports below a bridge or macvtap that merge received packets for good."""
    rule, read = Rule.RECEIVE_OFFLOAD, "ethtool -k: large-receive-offload, rx-gro-hw"
    facts, offloads = readings.facts, readings.symptoms.offloads
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    below = _ports_below(facts)
    if not below:
        return not_applicable(rule, read, _NONE_BELOW)
    merging = {
        link.name: [
            feature
            for feature in ("large-receive-offload", "rx-gro-hw")
            if offloads.get(link.name, {}).get(feature)
        ]
        for link in below
    }
    bad = {name: features for name, features in merging.items() if features}
    if bad:
        first, features = next(iter(bad.items()))
        words = " ".join(
            f"{'lro' if feature.startswith('large') else feature} off" for feature in features
        )
        text = "; ".join(f"{name}: {listed(features)}" for name, features in bad.items())
        return warning(
            rule, read, f"{text}.", fix=f"`ethtool -K {first} {words}`.", subjects=list(bad)
        )
    return ok(rule, read, f"{listed([link.name for link in below])}: neither is on.")


def port_offloads(readings: FindingsInput) -> Finding:
    """List ports below a bridge or macvtap whose offloads somebody has switched off."""
    rule, read = Rule.PORT_OFFLOADS, "ethtool -k of ports below bridges and macvtaps"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    # Where an emulated PF has VFs they have to be off (`igb-checksums`).
    with_vfs = {name for port in readings.pfs_with_vfs for name in port.names}
    below = [link.name for link in _ports_below(readings.facts) if link.name not in with_vfs]
    if not below:
        return not_applicable(rule, read, _NONE_BELOW)
    known = {
        # A port may merge by itself, or leave that to the kernel.
        name: {f: on for f, on in offloads.items() if f != "rx-gro-hw"}
        for name in below
        if (offloads := readings.symptoms.offloads.get(name))
    }
    return _switched_off(rule, read, known)


def guest_offloads(readings: FindingsInput) -> Finding:
    """List virtio NICs of the VM that was read whose offloads are off inside it."""
    rule, guest = Rule.GUEST_OFFLOADS, readings.guest
    if guest is None or guest.unread:
        why = guest.unread if guest is not None else "No VM was read."
        return not_applicable(rule, "in the VM: ethtool -k", why)
    known = {
        nic.name: guest.offloads[nic.name]
        for nic in guest.interfaces
        if nic.driver == "virtio_net" and nic.name in guest.offloads
    }
    return _switched_off(rule, f"ethtool -k in {guest.vm}", known, in_vm=True)


def _switched_off(
    rule: Rule, read: str, known: Mapping[str, Mapping[str, bool]], *, in_vm: bool = False
) -> Finding:
    """Judge offloads by interface; ``in_vm`` says where the fix belongs."""
    switchable = {
        name: {feature: on for feature, on in offloads.items() if feature in SWITCHED}
        for name, offloads in known.items()
    }
    if not any(switchable.values()):
        return not_applicable(rule, read, "Nothing lists offloads that could be switched.")
    off = {
        name: [feature for feature, on in offloads.items() if not on]
        for name, offloads in switchable.items()
    }
    off = {name: features for name, features in off.items() if features}
    if not off:
        return ok(rule, read, f"{listed(list(switchable))}: offloads are on.")
    first, features = next(iter(off.items()))
    words = " ".join(f"{word} on" for word in dict.fromkeys(SWITCHED[f] for f in features))
    text = "; ".join(f"{listed(of)} at {name}" for name, of in off.items())
    command = f"`ethtool -K {first} {words}`"
    return warning(
        rule,
        read,
        f"Somebody switched off {text}.",
        fix=f"Run {command} inside the VM." if in_vm else f"Run {command} on the host.",
        subjects=list(off),
    )


def packet_capture(readings: FindingsInput) -> Finding:
    """List programs that capture packets on the host."""
    rule, read = Rule.PACKET_CAPTURE, "processes: tcpdump, dumpcap"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    captures = readings.symptoms.tuning.captures
    if captures:
        return warning(
            rule,
            read,
            f"These programs capture packets: {listed(captures)}.",
            subjects=list(captures),
        )
    return ok(rule, read, "No program captures packets.")


def macvtap_on_bond(readings: FindingsInput) -> Finding:
    """List macvtaps over a bond that rewrites MACs, or over a port of Open vSwitch."""
    rule, read = Rule.MACVTAP_ON_BOND, "ip -d link: macvtap, bond mode, master"
    taps = [tap for tap in readings.facts.macvtaps if tap.parent is not None]
    if not taps:
        return not_applicable(rule, read, "There is no macvtap.")
    bad = []
    for tap in taps:
        below = readings.facts.link(str(tap.parent), netns=tap.netns)
        if below is None:
            continue
        if below.kind == "bond" and below.detail in _REWRITING_MODES:
            bad.append(f"{tap.name} over the bond {below.name} in mode {below.detail}")
        elif below.master == OVS_DATAPATH or below.kind == "openvswitch":
            bad.append(f"{tap.name} over {below.name}, which Open vSwitch has")
    if bad:
        return warning(rule, read, f"{'; '.join(bad)}.", subjects=[x.split()[0] for x in bad])
    return ok(rule, read, f"{listed([tap.name for tap in taps])}: over ports that bear them.")


def irqbalance(readings: FindingsInput) -> Finding:
    """Expect irqbalance to leave the CPUs of pinned vCPUs alone."""
    rule, read = Rule.IRQBALANCE, "processes, IRQBALANCE_BANNED_CPULIST, live XML: <vcpupin>"
    pinned = _pinned(readings)
    if not pinned:
        return _no_such_cards(readings, rule, read, "No running VM has pinned vCPUs.")
    tuning = readings.symptoms.tuning
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    if not tuning.irqbalance:
        return ok(rule, read, "irqbalance does not run.")
    banned = parse_cpu_list(tuning.irqbalance_banned)
    open_to_it = [vm.name for vm in pinned if not _cpus(vm.vcpu_pins) <= banned]
    if open_to_it:
        return warning(
            rule,
            read,
            f"irqbalance may move interrupts onto the vCPUs' CPUs of {listed(open_to_it)}.",
            subjects=open_to_it,
        )
    return ok(rule, read, "irqbalance leaves the CPUs of pinned vCPUs alone.")


def numa_remote(readings: FindingsInput) -> Finding:
    """List VMs whose vCPUs are all on another NUMA node than their port."""
    rule, read = Rule.NUMA_REMOTE, "numa_node of functions, node*/cpulist, live XML: <vcpupin>"
    nodes = readings.facts.cpu.node_cpus
    pinned = _pinned(readings)
    if len(nodes) < 2 or not pinned:
        return not_applicable(rule, read, "One NUMA node, or no running VM has pinned vCPUs.")
    remote = []
    for vm in pinned:
        at = {node for node, cpus in nodes.items() if cpus & _cpus(vm.vcpu_pins)}
        for name, node in _ports_of(readings, vm):
            if node is not None and node in nodes and at and node not in at:
                where = listed([str(number) for number in sorted(at)])
                remote.append(f"{vm.name} on node {where}, {name} on node {node}")
    if remote:
        return warning(rule, read, f"{'; '.join(remote)}.")
    return ok(rule, read, "Pinned vCPUs are on the node of their port, as far as it is known.")


def vhost_affinity(readings: FindingsInput) -> Finding:
    """List VMs whose vhost workers may run on the CPUs of their pinned vCPUs."""
    rule, read = Rule.VHOST_AFFINITY, "uname -r, live XML: <vcpupin>, <emulatorpin>"
    served = {vm.name for vm, card in readings.cards() if card.can_have_vhost}
    pinned = [vm for vm in _pinned(readings) if vm.name in served]
    if not pinned:
        return _no_such_cards(readings, rule, read, "No VM with vhost has pinned vCPUs.")
    if version_tuple(readings.facts.kernel.release) < _WORKERS_ARE_THREADS:
        return ok(
            rule,
            read,
            "vhost workers are kernel threads here (before Linux 6.4): <emulatorpin> does not "
            "place them, `taskset -p` does.",
        )
    shared = [
        vm.name
        for vm in pinned
        if not vm.emulator_pin or _cpus((vm.emulator_pin,)) & _cpus(vm.vcpu_pins)
    ]
    if shared:
        return warning(
            rule,
            read,
            f"vhost workers are threads of QEMU (Linux 6.4), and may run on the CPUs of the vCPUs "
            f"of {listed(shared)}.",
            subjects=shared,
        )
    return ok(rule, read, "<emulatorpin> keeps vhost workers off the vCPUs' CPUs.")


def _ports_below(facts: HostFacts) -> list[Link]:
    """Return the ports of the host below a bridge, bond or macvtap."""
    above_macvtap = {tap.parent for tap in facts.macvtaps}
    return [
        link
        for link in facts.links
        if link.netns is None and not link.kind and (link.master or link.name in above_macvtap)
    ]


def _pinned(readings: FindingsInput) -> list[RunningVm]:
    return [vm for vm in readings.vms if vm.vcpu_pins]


def _cpus(lists: Iterable[str]) -> frozenset[int]:
    return frozenset().union(*(parse_cpu_list(text) for text in lists))


def _ports_of(readings: FindingsInput, vm: RunningVm) -> Iterable[tuple[str, int | None]]:
    """Yield the functions that a VM holds or that its cards end at, with their NUMA nodes."""
    facts = readings.facts
    names = {name for card in vm.cards for name in _below(readings, card)}
    for port in facts.ports:
        if port.address in vm.devices or (port.netns is None and names & {*port.names}):
            yield port.name or port.address, port.numa_node


def _below(readings: FindingsInput, card: VirtualNic) -> tuple[str, ...]:
    link: Link | None = readings.facts.link(card.source) if card.source else None
    if link is None:
        return ()
    return stack_of(readings.facts).carriers(link.name)


def _no_such_cards(readings: FindingsInput, rule: Rule, read: str, message: str) -> Finding:
    if readings.vms_unread:
        return unknown(rule, read, readings.vms_unread)
    return not_applicable(rule, read, message)


JUDGES: Final[tuple[Judge, ...]] = (
    vhost_behind_iommu,
    bridge_netfilter_cost,
    ring_drops,
    mtu_mismatch,
    bridge_port_blocked,
    bridge_forgets,
    interrupt_throttling,
    vhost_priority,
    short_ring,
    receive_offload,
    port_offloads,
    guest_offloads,
    packet_capture,
    macvtap_on_bond,
    irqbalance,
    numa_remote,
    vhost_affinity,
    virtio_settings,
)
