"""Each rule on recorded hosts, with what cannot be provoked put in by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from kvmlab.doctor import Finding, Verdict, judge
from kvmlab.doctor.findings_input import FindingsInput
from kvmlab.doctor.guest import Guest, GuestNic, QueueCounts, parse_guest
from kvmlab.doctor.local_environment import LocalEnvironment, read_local_environment
from kvmlab.doctor.running_vms import RunningVm, SerialController, VirtualNic, parse_vm
from kvmlab.doctor.symptoms import (
    Daemon,
    Symptoms,
    TuningSymptoms,
    parse_offloads,
    parse_symptoms,
)
from kvmlab.errors import OutputError, UsageError
from kvmlab.facts import HostFacts, Link, LinkState, ModuleState, Rule, VfSettings
from kvmlab.facts.sriov import error_name, explain_numvfs
from kvmlab.facts.types import VfioHolder
from kvmlab.hosts import parse_output
from kvmlab.schemes.feasibility import attempt
from kvmlab.schemes.registry import CATALOGUE
from tests.advice.builders import CABLE, embedded, in_bridge, recorded, with_vfs, without_iommu

ENVIRONMENT = LocalEnvironment(
    "/kernels/python3", "python", True, "/plotly.min.js", "8.1", "3.0", True
)
ROOMY = Daemon("libvirtd", 8 << 20, may_raise=True)
CALM = Symptoms(daemon=ROOMY, bridge_netfilter=False)
CARD = VirtualNic("bridge", "52:54:00:00:00:01", "virtio", "vhost", 1, "br0", None, False, None)
VM = RunningVm("vm1", 2, 512, False, False, (CARD,), ())


def readings(facts: HostFacts | None = None, **more: object) -> FindingsInput:
    """Return the embedded host at rest, but for what is given."""
    values: dict[str, object] = {"symptoms": CALM, "environment": ENVIRONMENT, **more}
    return FindingsInput(facts if facts is not None else embedded(), **values)  # type: ignore[arg-type]


def finding_of(rule: Rule, item: FindingsInput) -> Finding:
    return judge(item).finding(rule)


def port(facts: HostFacts, which: str, /, **values: object) -> HostFacts:
    return replace(
        facts,
        ports=tuple(
            replace(item, **values) if which in item.names else item  # type: ignore[arg-type]
            for item in facts.ports
        ),
    )


def vm(**values: object) -> RunningVm:
    return replace(VM, **values)  # type: ignore[arg-type]


def log(line: str) -> Symptoms:
    return replace(CALM, kernel_log=(line,))


def vfs(*settings: VfSettings) -> HostFacts:
    return port(with_vfs(embedded(), "p2p1", len(settings) or 1), "p2p1", vf_settings=settings)


def module(name: str, state: ModuleState) -> HostFacts:
    facts = embedded()
    return replace(facts, modules=MappingProxyType({**facts.modules, name: state}))


def above_an_address(facts: HostFacts) -> HostFacts:
    parents = {tap.parent for tap in facts.macvtaps}
    return replace(
        facts,
        links=tuple(
            replace(link, addresses=("198.51.100.1/24",)) if link.name in parents else link
            for link in facts.links
        ),
    )


def wireless(name: str) -> HostFacts:
    facts = embedded()
    return replace(
        facts,
        links=tuple(replace(x, wireless=True) if x.name == name else x for x in facts.links),
    )


def changed(name: str, **values: object) -> HostFacts:
    facts = recorded("embedded_busy")
    links = (
        replace(link, **values) if link.name == name else link  # type: ignore[arg-type]
        for link in facts.links
    )
    return replace(facts, links=tuple(links))


def with_mtu(name: str, mtu: int) -> HostFacts:
    return changed(name, mtu=mtu)


def learning_bridge(*, learns: bool) -> HostFacts:
    """Return a host whose bridge has a tap and one port, at which it learns."""
    facts = recorded("embedded_busy")
    tap = next(link for link in facts.links if link.kind == "tun" and link.master)
    uplink = next(link for link in facts.links if link.kind == "" and not link.loopback)
    others = tuple(replace(link, learns=False) for link in facts.links if link not in (tap, uplink))
    port_of_bridge = replace(uplink, master=tap.master, netns=None, learns=learns)
    return replace(facts, links=(*others, replace(tap, learns=True), port_of_bridge))


def with_macvtaps(mode: str) -> HostFacts:
    facts = recorded("embedded_busy")
    names = {tap.name for tap in facts.macvtaps}
    links = (replace(link, detail=mode) if link.name in names else link for link in facts.links)
    return replace(facts, links=tuple(links))


def ringed(size: int) -> Guest:
    nic = GuestNic("eth0", CARD.mac, "virtio_net", True)
    return Guest("vm1", interfaces=(nic,), receive_rings={"eth0": size})


def cutting(*, on: bool) -> Guest:
    """Return a guest whose card has TSO, or has not; its other offloads are on."""
    offloads = {"generic-receive-offload": True, "tx-tcp-segmentation": on}
    return replace(ringed(1024), offloads={"eth0": offloads})


def offloaded(*, gro: bool, vfs: int = 0) -> FindingsInput:
    """Return a host with a port in a bridge that merges what it receives, or does not."""
    facts = in_bridge(embedded(), "p2p1", "br0")
    if vfs:
        facts = with_vfs(facts, "p2p1", vfs)
    offloads = {"p2p1": {"generic-receive-offload": gro, "rx-gro-hw": False}}
    return readings(facts, symptoms=replace(CALM, offloads=offloads))


def tuning(**values: object) -> Symptoms:
    return replace(CALM, tuning=TuningSymptoms(**values))  # type: ignore[arg-type]


def tuned(**values: object) -> FindingsInput:
    return readings(symptoms=tuning(**values))


def down(name: str) -> HostFacts:
    facts = embedded()
    links = (replace(link, up=False) if link.name == name else link for link in facts.links)
    return replace(facts, links=tuple(links))


def cut_off() -> dict[str, object]:
    """Return a bridge that forgets at once, and its port that is not flooded."""
    facts = learning_bridge(learns=True)
    member = next(link for link in facts.links if link.kind == "" and link.master)
    return {"ageing": {str(member.master): 0.0}, "unflooded": (member.name,)}


def teamed() -> RunningVm:
    tap = next(x for x in recorded("embedded_busy").links if x.kind == "tun" and x.master)
    return vm(cards=(replace(CARD, teaming="persistent", source=tap.master, tap=tap.name),))


def bridged(name: str, **values: object) -> FindingsInput:
    """Return a VM on a bridge, one of whose links has other settings."""
    facts = learning_bridge(learns=True)
    assert facts.link(name) is not None
    links = (
        replace(link, **values) if link.name == name else link  # type: ignore[arg-type]
        for link in facts.links
    )
    return readings(replace(facts, links=tuple(links)), vms=(teamed(),))


def entered(port: str) -> FindingsInput:
    """Return a VM on a bridge that has a fixed entry for its MAC at ``port``."""
    symptoms = replace(CALM, fixed_entries=((CARD.mac, port),))
    return readings(learning_bridge(learns=True), vms=(teamed(),), symptoms=symptoms)


def two_nodes(node: int) -> HostFacts:
    facts = port(embedded(), "p2p1", numa_node=node)
    nodes = {0: frozenset(range(8)), 1: frozenset(range(8, 16))}
    return replace(facts, cpu=replace(facts.cpu, node_cpus=nodes))


def with_parameter(name: str, text: str) -> HostFacts:
    facts = embedded()
    parameters = {**facts.kvm.parameters, name: text}
    return replace(facts, kvm=replace(facts.kvm, parameters=parameters))


def polling(halt_poll_ns: str, *, emulated: str | None = None) -> FindingsInput:
    """Return a host, embedded or not, with that time of KVM's."""
    facts = with_parameter("kvm.halt_poll_ns", halt_poll_ns)
    return readings(replace(facts, emulated=emulated))


def started(words: str, **vulnerabilities: str) -> FindingsInput:
    """Return a host that is not embedded, whose kernel was started with these words."""
    facts = replace(embedded(), emulated=None)
    symptoms = replace(CALM, vulnerabilities=vulnerabilities)
    kernel = replace(facts.kernel, command_line=words)
    return readings(replace(facts, kernel=kernel), symptoms=symptoms)


def unmitigated(running: RunningVm) -> FindingsInput:
    """Return a VM with mitigations=off, on a host that is not embedded."""
    inside = Guest("vm1", command_line="mitigations=off", vulnerabilities={"mds": "Vulnerable"})
    return replace(started("ro"), vms=(running,), guest=inside)


def programmed(name: str, release: str = "6.12.0") -> FindingsInput:
    """Return a host with a program of XDP in generic mode at a port."""
    facts = embedded()
    links = tuple(
        replace(link, xdp=True, generic_xdp=True) if link.name == name else link
        for link in facts.links
    )
    kernel = replace(facts.kernel, release=release)
    return readings(replace(facts, links=links, kernel=kernel))


PINNED = replace(VM, vcpu_pins=("2", "3"))
MOUNTED = replace(CALM, mounts={"/": "ext4", "/srv/images": "nfs4", "/srv/images/scratch": "xfs"})
SAFE = VfSettings(0, "02:00:00:00:00:01", True, False, "auto")
NVIDIA = "vfio: Cannot reset device 0000:04:00.0, no available reset mechanism, not doing bus reset"

Made = Callable[[], FindingsInput]
PROBLEM, WARNING, OK = Verdict.PROBLEM, Verdict.WARNING, Verdict.OK
NONE, UNKNOWN = Verdict.NOT_APPLICABLE, Verdict.UNKNOWN
TABLE: list[tuple[Rule, Verdict, Made]] = [
    (Rule.LIBVIRT_PYTHON_MISSING, OK, readings),
    (Rule.LIBVIRT_PYTHON_MISSING, PROBLEM,
     lambda: readings(environment=replace(ENVIRONMENT, libvirt_binding=False))),
    (Rule.LIBVIRT_MISSING, PROBLEM,
     lambda: readings(replace(embedded(), libvirt=replace(embedded().libvirt, problem="No.")))),
    (Rule.KVM_NOT_USABLE, PROBLEM, lambda: readings(recorded("paravirtual"))),
    (Rule.MODULE_MISSING, PROBLEM, lambda: readings(module("macvtap", ModuleState.MISSING))),
    (Rule.MODULE_MISSING, OK, readings),
    (Rule.MODULE_MISSING, PROBLEM, lambda: readings(replace(embedded(), nodes={}))),
    (Rule.VHOST_NET_MISSING, OK, lambda: readings(module("vhost_net", ModuleState.AVAILABLE))),
    (Rule.VHOST_NET_MISSING, PROBLEM,
     lambda: readings(replace(module("vhost_net", ModuleState.AVAILABLE), nodes={}))),
    (Rule.VHOST_NET_MISSING, PROBLEM, lambda: readings(module("vhost_net", ModuleState.MISSING))),
    (Rule.VHOST_NET_MISSING, PROBLEM, lambda: readings(replace(embedded(), nodes={}))),
    (Rule.VHOST_NET_DENIED, OK, readings),
    (Rule.VHOST_NET_DENIED, NONE, lambda: readings(replace(embedded(), nodes={}))),
    (Rule.VHOST_NET_DENIED, OK,
     lambda: readings(replace(embedded(), nodes={"/dev/vhost-net": False}))),
    (Rule.VHOST_NET_DENIED, PROBLEM,
     lambda: readings(replace(embedded(), nodes={"/dev/vhost-net": False}, libvirt=replace(
         embedded().libvirt, uri="qemu:///session")))),
    (Rule.IOMMU_OFF, PROBLEM, lambda: readings(without_iommu(embedded()))),
    (Rule.IOMMU_OFF, PROBLEM, lambda: readings(recorded("paravirtual"))),
    (Rule.IOMMU_OFF, WARNING,
     lambda: readings(symptoms=log("vfio: No interrupt remapping support"))),
    (Rule.LOCKED_MEMORY, OK, readings),
    (Rule.LOCKED_MEMORY, PROBLEM,
     lambda: readings(symptoms=replace(CALM, daemon=Daemon("virtqemud", 64 << 10, False)))),
    (Rule.LOCKED_MEMORY, WARNING,
     lambda: readings(symptoms=replace(CALM, daemon=Daemon("virtqemud", 64 << 30, False)))),
    (Rule.LOCKED_MEMORY, WARNING,
     lambda: readings(symptoms=replace(
         CALM, qemu_log=("VFIO_MAP_DMA failed: Cannot allocate memory",)))),
    (Rule.LOCKED_MEMORY, UNKNOWN, lambda: readings(symptoms=Symptoms(unread="sudo said no"))),
    (Rule.BRIDGE_NETFILTER, WARNING,
     lambda: readings(symptoms=replace(CALM, bridge_netfilter=True))),
    (Rule.BRIDGE_NETFILTER, PROBLEM,
     lambda: readings(symptoms=replace(CALM, bridge_netfilter=True, forward_policy="DROP"))),
    (Rule.BRIDGE_NETFILTER, UNKNOWN, lambda: readings(symptoms=Symptoms(unread="no"))),
    (Rule.LEFTOVERS, PROBLEM, lambda: readings(leftovers=("Put p2p1 into the bridge.",))),
    (Rule.MANAGEMENT, OK, readings),
    (Rule.MANAGEMENT, WARNING, lambda: readings(replace(embedded(), management=None))),
    (Rule.MANAGEMENT, PROBLEM,
     lambda: readings(replace(embedded(), cable=replace(CABLE, port="mgmt0")))),
    (Rule.PORT_MISSING, PROBLEM,
     lambda: readings(replace(embedded(), cable=replace(CABLE, port="x")))),
    (Rule.PORT_MISSING, NONE, lambda: readings(replace(embedded(), cable=None))),
    (Rule.PORT_MISSING, WARNING, lambda: readings(recorded("paravirtual"))),
    (Rule.PORT_IN_USE, OK, readings),
    (Rule.PORT_IN_USE, PROBLEM, lambda: readings(in_bridge(embedded(), "p2p1", "br-mine"))),
    (Rule.PORT_IN_USE, WARNING, lambda: readings(vfs(SAFE))),
    (Rule.GROUP_NOT_VIABLE, WARNING, readings),
    (Rule.GROUP_NOT_VIABLE, NONE, lambda: readings(without_iommu(embedded()))),
    (Rule.NO_RESET, WARNING, lambda: readings(port(embedded(), "p1p1", reset_methods=()))),
    (Rule.BUS_RESET, WARNING, lambda: readings(port(embedded(), "p1p1", reset_methods=("bus",)))),
    (Rule.BUS_RESET, WARNING, lambda: readings(symptoms=log(NVIDIA))),
    (Rule.NOT_GIVEN_BACK, WARNING, lambda: readings(recorded("embedded_busy"))),
    (Rule.NOT_GIVEN_BACK, PROBLEM,
     lambda: readings(replace(recorded("embedded_busy"), vfio_holders=()))),
    (Rule.NOT_GIVEN_BACK, OK,
     lambda: readings(replace(recorded("embedded_busy"), vfio_holders=(
         VfioHolder("16", 4711, "ovs-vswitchd"),)))),
    (Rule.PORT_KIND, OK, readings),
    (Rule.PORT_KIND, PROBLEM, lambda: readings(wireless("p2p1"))),
    (Rule.PORT_KIND, WARNING, lambda: readings(
        replace(embedded(), cable=replace(CABLE, port="usb0"), links=(
            *embedded().links, Link("usb0", 99, "", True, True, 1500, "", bus="usb"))))),
    (Rule.NOT_GIVEN_BACK, OK,
     lambda: readings(recorded("embedded_busy"), vms=(vm(devices=("0000:04:00.1",)),))),
    (Rule.NOT_GIVEN_BACK, WARNING,
     lambda: readings(recorded("embedded_busy"), vms_unread="libvirt does not answer.")),
    (Rule.SRIOV_MISSING, OK, readings),
    (Rule.SRIOV_MISSING, WARNING, lambda: readings(recorded("paravirtual"))),
    (Rule.SRIOV_MISSING, WARNING,
     lambda: readings(replace(embedded(), cable=replace(CABLE, port="p1p1")))),
    (Rule.NUMVFS_REFUSED, OK, readings),
    (Rule.NUMVFS_REFUSED, NONE, lambda: readings(recorded("paravirtual"))),
    (Rule.NUMVFS_REFUSED, PROBLEM,
     lambda: readings(symptoms=log("igb: not enough MMIO resources for SR-IOV"))),
    (Rule.BRIDGE_ON_PORT_WITH_VFS, NONE, readings),
    (Rule.BRIDGE_ON_PORT_WITH_VFS, WARNING, lambda: readings(vfs(SAFE))),
    (Rule.BRIDGE_ON_PORT_WITH_VFS, OK,
     lambda: readings(replace(vfs(SAFE), cable=replace(CABLE, port="p1p1")))),
    (Rule.PF_DOWN, PROBLEM, lambda: readings(port(vfs(SAFE), "p2p1", link=LinkState.DOWN))),
    (Rule.PF_DOWN, WARNING,
     lambda: readings(vfs(SAFE), symptoms=log("igbvf: PF still in reset state. Is the PF up?"))),
    (Rule.VF_MAC_UNSET, OK, lambda: readings(vfs(SAFE))),
    (Rule.VF_MAC_UNSET, WARNING,
     lambda: readings(vfs(replace(SAFE, mac="00:00:00:00:00:00")))),
    (Rule.VF_MAC_UNSET, UNKNOWN, lambda: readings(vfs())),
    (Rule.VF_TRUST, OK, lambda: readings(vfs(SAFE))),
    (Rule.VF_TRUST, WARNING, lambda: readings(vfs(replace(SAFE, trusted=True)))),
    (Rule.VF_TRUST, WARNING, lambda: readings(vfs(replace(SAFE, spoof_check=False)))),
    (Rule.VF_TRUST, WARNING,
     lambda: readings(vfs(SAFE), symptoms=log("i40e: VF is not trusted, switch it on"))),
    (Rule.VF_REGISTERS_DEAD, UNKNOWN, lambda: readings(vfs(SAFE))),
    (Rule.VF_REGISTERS_DEAD, PROBLEM, lambda: readings(vfs(SAFE), guest=Guest(
        "vm1", interfaces=(GuestNic("eth0", SAFE.mac, "igbvf", False),)))),
    (Rule.VF_REGISTERS_DEAD, OK, lambda: readings(vfs(SAFE), guest=Guest(
        "vm1", interfaces=(GuestNic("eth0", SAFE.mac, "igbvf", True),)))),
    (Rule.IGB_CHECKSUMS, UNKNOWN, lambda: readings(vfs(SAFE))),
    (Rule.IGB_CHECKSUMS, WARNING, lambda: readings(
        vfs(SAFE), symptoms=replace(CALM, offloads={"p2p1": {"rx-checksumming": True}}))),
    (Rule.IGB_CHECKSUMS, NONE, lambda: readings(
        replace(vfs(SAFE), cpu=replace(embedded().cpu, is_guest=False)))),
    (Rule.VHOST_NOT_USED, PROBLEM, lambda: readings(vms=(VM,), guest=Guest("vm1"))),
    (Rule.VHOST_NOT_USED, OK,
     lambda: readings(vms=(VM,), guest=Guest("vm1", vhost_workers=(7,)))),
    (Rule.VHOST_NOT_USED, NONE,
     lambda: readings(vms=(vm(cards=(replace(CARD, backend="qemu"),)),), guest=Guest("vm1"))),
    (Rule.MACVTAP_ISOLATION, OK, lambda: readings(recorded("embedded_busy"))),
    (Rule.MACVTAP_ISOLATION, WARNING,
     lambda: readings(above_an_address(recorded("embedded_busy")))),
    (Rule.MACVTAP_VEPA, OK, lambda: readings(recorded("embedded_busy"))),
    (Rule.MACVTAP_VEPA, WARNING, lambda: readings(with_macvtaps("vepa"))),
    (Rule.MACVTAP_VEPA, WARNING, lambda: readings(with_macvtaps("private"))),
    (Rule.MACVTAP_RX_FILTERS, WARNING,
     lambda: readings(vms=(vm(cards=(replace(CARD, kind="direct"),)),))),
    (Rule.MACVTAP_RX_FILTERS, OK,
     lambda: readings(vms=(vm(cards=(replace(CARD, kind="direct", trusts_filters=True),)),))),
    (Rule.MACVTAP_RX_FILTERS, UNKNOWN, lambda: readings(vms_unread="libvirt does not answer.")),
    (Rule.QUEUES_MISMATCH, WARNING, lambda: readings(vms=(vm(cards=(replace(CARD, queues=4),)),))),
    (Rule.QUEUES_MISMATCH, OK, lambda: readings(vms=(vm(cards=(replace(CARD, queues=2),)),))),
    (Rule.QUEUES_MISMATCH, WARNING, lambda: readings(
        vms=(vm(cards=(replace(CARD, queues=2),)),),
        guest=Guest("vm1", channels={"eth0": QueueCounts(2, 1)},
                    interfaces=(GuestNic("eth0", CARD.mac, "virtio_net", True),)))),
    (Rule.MAIN_LOOP_DESCRIPTORS, NONE, lambda: readings(vms=(VM,))),
    (Rule.MAIN_LOOP_DESCRIPTORS, OK,
     lambda: readings(vms=(vm(serial=(SerialController(0, 2, 2),)),))),
    (Rule.MAIN_LOOP_DESCRIPTORS, OK,  # vhost serves the card
     lambda: readings(vms=(vm(serial=(SerialController(0, 31, 2),)),))),
    (Rule.MAIN_LOOP_DESCRIPTORS, WARNING,
     lambda: readings(vms=(vm(serial=(SerialController(0, 31, 2),),
                              cards=(replace(CARD, backend="qemu"),)),))),
    (Rule.MAIN_LOOP_DESCRIPTORS, WARNING,
     lambda: readings(vms=(vm(serial=(SerialController(0, 31, 2),),
                              cards=(replace(CARD, model="e1000", backend=None),)),))),
    (Rule.VIRTIO_SETTINGS, OK, lambda: readings(vms=(VM,))),
    (Rule.VIRTIO_SETTINGS, NONE, lambda: readings()),
    (Rule.VIRTIO_SETTINGS, WARNING,
     lambda: readings(vms=(vm(cards=(replace(CARD, settings=("host tso4=off",)),)),))),
    (Rule.VIRTIO_SETTINGS, WARNING,  # vhost ignores it
     lambda: readings(vms=(vm(cards=(replace(CARD, settings=("packed=on",)),)),))),
    (Rule.VIRTIO_SETTINGS, OK,
     lambda: readings(vms=(vm(cards=(replace(CARD, backend="qemu", settings=("packed=on",)),)),))),
    (Rule.VF_BLOCKS_MIGRATION, WARNING, lambda: readings(vms=(vm(devices=("0000:0b:10.0",)),))),
    (Rule.VF_BLOCKS_MIGRATION, OK, lambda: readings(vms=(vm(
        devices=("0000:0b:10.0",), teamed=1,
        cards=(replace(CARD, teaming="persistent"),
               replace(CARD, kind="hostdev", teaming="transient"))),))),
    (Rule.MIGRATION_BLOCKED, OK, lambda: readings(vms=(VM,))),
    (Rule.MIGRATION_BLOCKED, WARNING,
     lambda: readings(vms=(vm(anchors=("macvtap on eth1 by name",)),))),
    (Rule.MIGRATION_BLOCKED, UNKNOWN, lambda: readings(vms_unread="libvirt does not answer.")),
    (Rule.LOCAL_DISKS, NONE, lambda: readings(vms=(VM,))),
    (Rule.LOCAL_DISKS, UNKNOWN, lambda: readings(vms=(vm(disk_files=("/a.img",)),))),
    (Rule.LOCAL_DISKS, WARNING, lambda: readings(
        vms=(vm(disk_files=("/srv/images/a.img", "/srv/local/b.img")),), symptoms=MOUNTED)),
    (Rule.LOCAL_DISKS, WARNING, lambda: readings(
        vms=(vm(disk_files=("/srv/images/scratch/a.img",)),), symptoms=MOUNTED)),
    (Rule.LOCAL_DISKS, OK, lambda: readings(
        vms=(vm(disk_files=("/srv/images/a.img",)),), symptoms=MOUNTED)),
    (Rule.CPU_OF_THIS_HOST, WARNING, lambda: readings(vms=(vm(cpu_mode="host-passthrough"),))),
    (Rule.CPU_OF_THIS_HOST, WARNING, lambda: readings(vms=(vm(cpu_mode="host-model"),))),
    (Rule.CPU_OF_THIS_HOST, OK, lambda: readings(vms=(vm(cpu_mode="custom"),))),
    (Rule.CPU_OF_THIS_HOST, NONE,
     lambda: readings(vms=(vm(cpu_mode="host-passthrough", lab=True),))),
    (Rule.BRIDGE_DOES_NOT_LEARN, NONE, lambda: readings(vms=(VM,))),
    (Rule.BRIDGE_DOES_NOT_LEARN, OK, lambda: readings(
        learning_bridge(learns=True), vms=(teamed(),))),
    (Rule.BRIDGE_DOES_NOT_LEARN, WARNING, lambda: entered("mgmt0")),
    (Rule.BRIDGE_DOES_NOT_LEARN, OK, lambda: entered("rec-tap")),
    (Rule.BRIDGE_DOES_NOT_LEARN, OK, lambda: entered("a port of another bridge")),
    (Rule.BRIDGE_DOES_NOT_LEARN, WARNING, lambda: bridged("mgmt0", locked=True)),
    (Rule.BRIDGE_DOES_NOT_LEARN, OK, lambda: bridged("rec-tap", floods=False)),
    (Rule.BRIDGE_DOES_NOT_LEARN, WARNING, lambda: bridged(
        "rec-tap", floods=False, learns=False)),
    (Rule.TEAM_BEHIND_LEARNING_BRIDGE, NONE, lambda: readings(vms=(VM,))),
    (Rule.TEAM_BEHIND_LEARNING_BRIDGE, WARNING, lambda: readings(
        learning_bridge(learns=True), vms=(teamed(),))),
    (Rule.TEAM_BEHIND_LEARNING_BRIDGE, OK, lambda: readings(
        learning_bridge(learns=False), vms=(teamed(),))),
    (Rule.WINDOWS_NETKVM, WARNING, lambda: readings(vms=(vm(windows=True),))),
    (Rule.WINDOWS_NETKVM, NONE, lambda: readings(vms=(VM,))),
    (Rule.GUEST_DRIVER_MISSING, PROBLEM,
     lambda: readings(guest=Guest("vm1", drivers={"igbvf": "missing"}))),
    (Rule.GUEST_DRIVER_MISSING, UNKNOWN, lambda: readings(guest=Guest("vm1", unread="No agent."))),
    (Rule.VERSION_TOO_OLD, OK, readings),
    (Rule.VERSION_TOO_OLD, WARNING, lambda: readings(
        replace(embedded(), kernel=replace(embedded().kernel, release="3.10.0-1160.el7")))),
    (Rule.VERSION_TOO_OLD, WARNING, lambda: readings(
        replace(embedded(), iproute2="iproute2-4.15.0"))),
    (Rule.VHOST_IOMMU, OK, lambda: readings(vms=(VM,))),
    (Rule.VHOST_IOMMU, WARNING,
     lambda: readings(vms=(vm(cards=(replace(CARD, behind_iommu=True),)),))),
    (Rule.VHOST_IOMMU, UNKNOWN, lambda: readings(vms_unread="libvirt does not answer.")),
    (Rule.BRIDGE_NETFILTER_COST, WARNING, lambda: readings(
        recorded("embedded_busy"), symptoms=replace(CALM, bridge_netfilter=True))),
    (Rule.BRIDGE_NETFILTER_COST, OK, lambda: readings(recorded("embedded_busy"))),
    (Rule.BRIDGE_NETFILTER_COST, NONE, readings),
    (Rule.RING_DROPS, OK, readings),
    (Rule.RING_DROPS, WARNING, lambda: readings(symptoms=replace(CALM, tuning=TuningSymptoms(
        drops={"p2p1": 5000}, rings={"p2p1": (256, 4096)})))),
    (Rule.RING_DROPS, WARNING, lambda: readings(recorded("embedded_busy"), symptoms=replace(
        CALM, tuning=TuningSymptoms(drops={"rec-tap": 5000})))),
    (Rule.RING_DROPS, OK, lambda: readings(symptoms=replace(
        CALM, tuning=TuningSymptoms(drops={"p2p1": 5})))),
    (Rule.MTU_MISMATCH, OK, readings),
    (Rule.MTU_MISMATCH, WARNING, lambda: readings(with_mtu("rec-tap", 9000))),
    (Rule.MTU_MISMATCH, WARNING, lambda: readings(with_mtu("rec-vlan", 9000))),
    (Rule.BRIDGE_PORT_BLOCKED, OK, readings),
    (Rule.BRIDGE_PORT_BLOCKED, PROBLEM, lambda: tuned(blocked={"p2p1": "blocking"})),
    (Rule.BRIDGE_PORT_BLOCKED, OK,  # down, which is another rule's
     lambda: readings(down("p2p1"), symptoms=tuning(blocked={"p2p1": "disabled"}))),
    (Rule.BRIDGE_FORGETS, OK, lambda: tuned(ageing={"kvmlab0": 300.0})),
    (Rule.BRIDGE_FORGETS, WARNING, lambda: tuned(ageing={"kvmlab0": 0.0})),
    (Rule.BRIDGE_FORGETS, PROBLEM, lambda: readings(
        learning_bridge(learns=True), symptoms=tuning(**cut_off()))),
    (Rule.INTERRUPT_THROTTLING, NONE, readings),
    (Rule.INTERRUPT_THROTTLING, OK, lambda: tuned(throttled={"p2p1": 3})),
    (Rule.INTERRUPT_THROTTLING, WARNING, lambda: tuned(throttled={"p2p1": 5000})),
    (Rule.VHOST_PRIORITY, NONE, readings),
    (Rule.VHOST_PRIORITY, OK, lambda: tuned(nice={"812": 0, "813": -5})),
    (Rule.VHOST_PRIORITY, WARNING, lambda: tuned(nice={"812": 0, "813": 19})),
    (Rule.SHORT_RING, NONE, readings),
    (Rule.SHORT_RING, OK, lambda: readings(guest=ringed(1024))),
    (Rule.SHORT_RING, WARNING, lambda: readings(guest=ringed(16))),
    (Rule.RECEIVE_OFFLOAD, OK, lambda: readings(recorded("embedded_busy"))),
    (Rule.RECEIVE_OFFLOAD, NONE, readings),
    (Rule.RECEIVE_OFFLOAD, WARNING, lambda: readings(recorded("embedded_busy"), symptoms=replace(
        CALM, offloads={"p1p1": {"large-receive-offload": True}}))),
    (Rule.PORT_OFFLOADS, NONE, readings),
    (Rule.PORT_OFFLOADS, OK, lambda: offloaded(gro=True)),
    (Rule.PORT_OFFLOADS, WARNING, lambda: offloaded(gro=False)),
    (Rule.PORT_OFFLOADS, NONE, lambda: offloaded(gro=False, vfs=2)),  # see igb-checksums
    (Rule.PORT_OFFLOADS, UNKNOWN, lambda: readings(symptoms=Symptoms(unread="No root."))),
    (Rule.GUEST_OFFLOADS, NONE, readings),
    (Rule.GUEST_OFFLOADS, NONE, lambda: readings(guest=ringed(1024))),
    (Rule.GUEST_OFFLOADS, OK, lambda: readings(guest=cutting(on=True))),
    (Rule.GUEST_OFFLOADS, WARNING, lambda: readings(guest=cutting(on=False))),
    (Rule.PACKET_CAPTURE, OK, readings),
    (Rule.PACKET_CAPTURE, WARNING, lambda: tuned(captures=("tcpdump 812 at vnet0",))),
    (Rule.MACVTAP_ON_BOND, OK, lambda: readings(recorded("embedded_busy"))),
    (Rule.MACVTAP_ON_BOND, NONE, readings),
    (Rule.MACVTAP_ON_BOND, WARNING, lambda: readings(changed("rec-bond", detail="balance-alb"))),
    (Rule.MACVTAP_ON_BOND, WARNING, lambda: readings(changed("rec-bond", master="ovs-system"))),
    (Rule.IRQBALANCE, NONE, lambda: readings(vms=(VM,))),
    (Rule.IRQBALANCE, OK, lambda: readings(vms=(PINNED,))),
    (Rule.IRQBALANCE, WARNING, lambda: readings(
        vms=(PINNED,), symptoms=replace(CALM, tuning=TuningSymptoms(irqbalance=True)))),
    (Rule.IRQBALANCE, OK, lambda: readings(vms=(PINNED,), symptoms=replace(
        CALM, tuning=TuningSymptoms(irqbalance=True, irqbalance_banned="2-5")))),
    (Rule.NUMA_REMOTE, NONE, lambda: readings(vms=(PINNED,))),
    (Rule.NUMA_REMOTE, OK, lambda: readings(
        two_nodes(0), vms=(replace(PINNED, devices=("0000:0b:00.0",)),))),
    (Rule.NUMA_REMOTE, WARNING, lambda: readings(
        two_nodes(1), vms=(replace(PINNED, devices=("0000:0b:00.0",)),))),
    (Rule.NUMA_REMOTE, WARNING, lambda: readings(two_nodes(1), vms=(replace(
        PINNED, cards=(replace(CARD, kind="direct", source="p2p1"),)),))),
    (Rule.VHOST_AFFINITY, WARNING, lambda: readings(vms=(PINNED,))),
    (Rule.VHOST_AFFINITY, WARNING, lambda: readings(vms=(replace(PINNED, emulator_pin="3-4"),))),
    (Rule.VHOST_AFFINITY, OK, lambda: readings(vms=(replace(PINNED, emulator_pin="0-1"),))),
    (Rule.VHOST_AFFINITY, OK, lambda: readings(replace(embedded(), kernel=replace(
        embedded().kernel, release="6.1.0")), vms=(PINNED,))),
    (Rule.BOUNCE_BUFFERS, OK, readings),
    (Rule.BOUNCE_BUFFERS, WARNING, lambda: started("ro swiotlb=force")),
    (Rule.BOUNCE_BUFFERS, WARNING, lambda: started("swiotlb=65536,force")),
    (Rule.BOUNCE_BUFFERS, OK, lambda: started("swiotlb=force swiotlb=noforce")),
    (Rule.BOUNCE_BUFFERS, WARNING,
     lambda: readings(guest=Guest("vm1", command_line="ro swiotlb=force"))),
    (Rule.HALT_POLLING, OK, lambda: polling("0", emulated="Embedded host.")),
    (Rule.HALT_POLLING, WARNING, lambda: polling("0")),
    (Rule.HALT_POLLING, OK, lambda: polling("200000")),
    (Rule.HALT_POLLING, WARNING, lambda: polling("1000000")),
    (Rule.HALT_POLLING, NONE, lambda: polling("")),
    (Rule.GENERIC_XDP, OK, readings),
    (Rule.GENERIC_XDP, WARNING, lambda: programmed("p2p1")),
    (Rule.GENERIC_XDP, OK, lambda: programmed("p1p1")),  # e1000e has no other mode
    (Rule.GENERIC_XDP, OK, lambda: programmed("p2p1", release="5.4.0")),  # nor had igb then
    (Rule.VHOST_ZEROCOPY, NONE, readings),
    (Rule.VHOST_ZEROCOPY, OK, lambda: tuned(zerocopy=False)),
    (Rule.VHOST_ZEROCOPY, WARNING, lambda: tuned(zerocopy=True)),
    (Rule.VHOST_ZEROCOPY, UNKNOWN, lambda: readings(symptoms=Symptoms(unread="No root."))),
    (Rule.MITIGATIONS_OFF, NONE, lambda: readings(replace(
        started("mitigations=off").facts, emulated="Embedded host."))),
    (Rule.MITIGATIONS_OFF, OK, lambda: started("ro")),
    (Rule.MITIGATIONS_OFF, WARNING, lambda: started("ro mitigations=off")),
    (Rule.MITIGATIONS_OFF, OK, lambda: started("mitigations=off mitigations=auto,nosmt")),
    (Rule.MITIGATIONS_OFF, WARNING,
     lambda: started("mitigations=off", mds="Vulnerable; SMT vulnerable")),
    (Rule.MITIGATIONS_OFF, OK, lambda: started("mitigations=off", mds="Not affected")),
    (Rule.MITIGATIONS_OFF, WARNING, lambda: unmitigated(VM)),
    (Rule.MITIGATIONS_OFF, OK, lambda: unmitigated(vm(lab=True))),
    (Rule.X2APIC_MISSING, NONE, readings),
    (Rule.X2APIC_MISSING, OK, lambda: readings(vms=(VM,), guest=Guest("vm1", x2apic=True))),
    (Rule.X2APIC_MISSING, WARNING, lambda: readings(vms=(VM,), guest=Guest("vm1", x2apic=False))),
    (Rule.X2APIC_MISSING, WARNING, lambda: readings(vms=(vm(without=("x2apic",)),))),
    (Rule.X2APIC_MISSING, OK,
     lambda: readings(with_parameter("kvm_intel.enable_apicv", "Y"),
                      vms=(vm(without=("x2apic",)),))),
    (Rule.X2APIC_MISSING, UNKNOWN, lambda: readings(vms_unread="libvirt does not answer.")),
    (Rule.KERNELSPEC_MISSING, OK, readings),
    (Rule.KERNELSPEC_MISSING, PROBLEM,
     lambda: readings(environment=replace(ENVIRONMENT, kernelspec=None))),
    (Rule.KERNELSPEC_MISSING, PROBLEM,
     lambda: readings(environment=replace(ENVIRONMENT, kernel_runs=False))),
    (Rule.PLOTLY_NOT_OFFLINE, PROBLEM,
     lambda: readings(environment=replace(ENVIRONMENT, plotly_script=None))),
    (Rule.WIDGETS_MISSING, WARNING,
     lambda: readings(environment=replace(ENVIRONMENT, ipywidgets=None))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "verdict", "make"), TABLE, ids=[f"{row[0]}-{row[1]}" for row in TABLE]
)
def test_rule(rule: Rule, verdict: Verdict, make: Made) -> None:
    item = finding_of(rule, make())
    assert item.verdict is verdict, item
    assert item.read
    assert item.observed
    assert bool(item.fix) == (verdict in (PROBLEM, WARNING)) or verdict is UNKNOWN


def test_every_rule_of_the_doctor_is_in_the_table_or_provoked() -> None:
    provoked_only = {Rule.IPROUTE_MISSING, Rule.BRIDGE_NAME_TAKEN}
    judged_rules = {item.rule for item in judge(readings()).findings}
    assert judged_rules - {row[0] for row in TABLE} == provoked_only


def test_findings_come_in_the_order_of_the_rules() -> None:
    order = list(Rule)
    places = [order.index(item.rule) for item in judge(readings()).findings]
    assert places == sorted(places)


@pytest.mark.parametrize("make", [row[2] for row in TABLE], ids=[str(row[0]) for row in TABLE])
def test_what_keeps_a_scheme_from_a_host_the_doctor_names_by_the_same_id(make: Made) -> None:
    item = make()
    diagnosis = judge(item)
    for scheme, finding_of in zip(CATALOGUE, diagnosis.schemes, strict=True):
        attempted = attempt(scheme, item.facts)
        assert (finding_of.rule, finding_of.observed, finding_of.fix) == (
            attempted.rule,
            attempted.message,
            attempted.todo,
        )
        if not finding_of.possible:
            same = diagnosis.finding(finding_of.rule)
            assert same.verdict in (PROBLEM, WARNING), f"{finding_of} but {same}"


def test_schemes_say_why_they_cannot() -> None:
    diagnosis = judge(readings(without_iommu(embedded())))
    vf = next(item for item in diagnosis.schemes if item.scheme == "sriov-vf")
    assert (vf.possible, vf.rule) == (False, Rule.IOMMU_OFF)
    assert diagnosis.finding(Rule.IOMMU_OFF).verdict is PROBLEM
    assert all(item.possible for item in judge(readings()).schemes)


def test_exit_code_and_json_and_display() -> None:
    well, ill = judge(readings()), judge(readings(recorded("paravirtual")))
    assert (well.exit_code, ill.exit_code) == (0, 3)
    plain = json.loads(json.dumps(ill.to_dict()))
    assert plain["exit_code"] == 3
    assert plain["counts"]["problem"] == len(ill.problems)
    assert {item["rule"] for item in plain["findings"]} == {str(item.rule) for item in ill.findings}
    text = str(ill)
    assert text.index("✗  kvm-not-usable") < text.index("✓  iproute2-missing")
    assert "fix: " in text
    html = ill._repr_html_()
    assert 'class="problem"' in html
    assert "<script" not in html
    with pytest.raises(UsageError, match="no rule 'nonsense'"):
        ill.finding("nonsense")


def test_recorded_symptoms(data: Path) -> None:
    text = (data / "doctor" / "symptoms-pf-down.txt").read_text()
    symptoms = parse_symptoms(parse_output(text))
    assert symptoms.daemon == Daemon("libvirtd", 8388608, may_raise=True)
    assert (symptoms.bridge_netfilter, symptoms.forward_policy) == (True, "ACCEPT")
    assert symptoms.offloads["p2p1"] == dict.fromkeys(
        ("rx-checksumming", "tx-checksumming", "generic-segmentation-offload"), True
    )
    assert "PF still in reset state" in str(symptoms.says("reset state"))
    down = port(vfs(SAFE), "p2p1", link=LinkState.DOWN)
    assert (
        "Is the PF interface up?"
        in finding_of(Rule.PF_DOWN, readings(down, symptoms=symptoms)).observed
    )


def test_offloads_that_are_off_are_read_and_switched_on_again() -> None:
    text = """interface eth0
\ttx-checksum-ip-generic: off
\ttx-tcp-segmentation: off [requested on]
generic-receive-offload: on
rx-gro-hw: off [fixed]
interface eth1
generic-receive-offload: on
"""
    read = parse_offloads(text)
    assert read["eth0"] == {
        "tx-checksum-ip-generic": False,
        "tx-tcp-segmentation": False,
        "generic-receive-offload": True,
    }
    nics = [GuestNic(name, CARD.mac, "virtio_net", True) for name in read]
    finding = finding_of(
        Rule.GUEST_OFFLOADS, readings(guest=Guest("vm1", interfaces=tuple(nics), offloads=read))
    )
    assert finding.verdict is WARNING
    assert finding.fix == "Run `ethtool -K eth0 tx on tso on` inside the VM."
    assert finding.subjects == ("eth0",)


def test_recorded_guest_and_domain(data: Path) -> None:
    guest = parse_guest("kvmlab-vm", (data / "doctor" / "guest-virtio.txt").read_text())
    assert set(guest.drivers.values()) == {"registered"}
    assert guest.channels == {"eth0": QueueCounts(2, 1)}
    (inside,) = guest.interfaces
    assert (inside.driver, inside.carrier) == ("virtio_net", True)
    running = parse_vm((data / "doctor" / "domain-virtio.xml").read_text())
    assert (running.name, running.lab, running.memory_mib) == ("kvmlab-vm", True, 512)
    (card,) = running.cards
    assert (card.kind, card.model, card.backend, card.queues) == ("bridge", "virtio", "vhost", 2)
    assert card.mac == inside.mac
    # libvirt's own number of ports, for the agent's one channel.
    (serial,) = running.serial
    assert (serial.index, serial.ports, serial.needed, serial.queues) == (0, 31, 2, 64)


@pytest.mark.parametrize(("iommu", "verdict"), [("", OK), ("<iommu model='intel'/>", WARNING)])
def test_vhost_asks_for_translations_where_the_vm_has_an_iommu(
    iommu: str, verdict: Verdict
) -> None:
    running = parse_vm(
        f"""
        <domain type='kvm'><name>vm1</name>
          <devices>{iommu}
            <interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/>
              <model type='virtio'/><driver name='vhost' iommu='on'/></interface>
          </devices>
        </domain>
        """
    )
    assert finding_of(Rule.VHOST_IOMMU, readings(vms=(running,))).verdict is verdict


def test_a_windows_domain_with_a_vf_and_a_standby() -> None:
    running = parse_vm(
        """
        <domain type='kvm' xmlns:x='http://libosinfo.org/xmlns/libvirt/domain/1.0'>
          <name>win</name><memory unit='GiB'>4</memory><vcpu current='2'>8</vcpu>
          <metadata><x:libosinfo><x:os id='http://microsoft.com/win/11'/></x:libosinfo></metadata>
          <devices>
            <interface type='hostdev'><mac address='52:54:00:00:00:02'/>
              <source><address type='pci' domain='0x0000' bus='0x0b' slot='0x10' function='0x0'/>
              </source><teaming type='transient' persistent='ua-x'/></interface>
            <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source>
            </hostdev>
          </devices>
        </domain>"""
    )
    assert (running.windows, running.memory_mib, running.vcpus) == (True, 4096, 2)
    assert running.devices == ("0000:0b:10.0",)
    assert running.cards[0].teaming == "transient"


@pytest.mark.parametrize("text", ["eth0 52:54:00:00:00:01\n", "a b c d e\n"])
def test_a_guest_that_says_something_else(text: str) -> None:
    frame = "=== {0}\n{1}\n=== exit 0\n"
    whole = "".join(
        frame.format(name, body)
        for name, body in (("drivers", ""), ("interfaces", text), ("channels", ""))
    )
    with pytest.raises(OutputError, match="card of the guest"):
        parse_guest("vm1", f"{whole}=== end\n")


def test_this_machine_is_read() -> None:
    environment = read_local_environment()
    assert environment.plotly_script is not None
    assert environment.ipywidgets is not None


@pytest.mark.parametrize(
    ("wording", "name", "word"),
    [
        ("tee: sriov_numvfs: Device or resource busy", "EBUSY", "busy all the same"),
        ("write error: Numerical result out of range", "ERANGE", "sriov_totalvfs is 7"),
        ("tee: x: Cannot allocate memory", "ENOMEM", "MMIO"),
        ("tee: x: No space left on device", "ENOSPC", "interrupt"),
        ("tee: x: Permission denied", "EACCES", "root"),
        ("tee: x: Operation not permitted", "EPERM", "in use"),
        ("sh: 1: echo: echo: I/O error", "EIO", "did not answer"),
        ("tee: x: Function not implemented", "ENOSYS", "module option"),
        ("tee: x: Operation not supported", "EOPNOTSUPP", "firmware"),
        ("tee: x: No such device", "ENODEV", "hangs"),
        ("tee: x: Connection timed out", "ETIMEDOUT", "firmware"),
        ("tee: x: Resource temporarily unavailable", "EAGAIN", "not ready"),
        ("tee: x: Protocol error", None, "refused 9 VFs of p2p1: Protocol error"),
    ],
)
def test_numvfs_errors_are_explained(wording: str, name: str | None, word: str) -> None:
    assert error_name(wording) == name
    assert word in explain_numvfs(wording, count=9, port=embedded().port("p2p1"))


def test_what_ties_a_vm_to_its_host() -> None:
    devices = (
        "<hostdev type='usb'/><filesystem><target dir='share'/></filesystem><shmem name='s'/>"
        "<interface type='direct'><source dev='eth1' mode='bridge'/></interface>"
        "<interface type='direct'><source network='taps' dev='eth1'/></interface>"
    )
    text = (
        "<domain type='kvm'><name>v</name><cpu migratable='off'/>"
        f"<devices>{devices}</devices></domain>"
    )
    assert parse_vm(text).anchors == (
        "USB device of the host",
        "folder of the host (share)",
        "shared memory (s)",
        "CPU declared migratable='off'",
        "macvtap on eth1 by name",
    )
