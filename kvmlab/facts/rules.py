"""Rules: reasons why a host cannot do something, or does it badly, and what each means.

The ids go into ``Unavailable.rule`` and ``Refused.rule``, into the doctor's report and into JSON,
so they are never renamed. `BOOK` holds the text of each, for doctor, refused plans and errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kvmlab.errors import Unavailable


class Rule(StrEnum):
    """The reasons known so far, in the order in which the doctor looks at them."""

    # The machine, its kernel and libvirt.
    LIBVIRT_PYTHON_MISSING = "libvirt-python-missing"
    LIBVIRT_MISSING = "libvirt-missing"
    IPROUTE_MISSING = "iproute2-missing"
    VERSION_TOO_OLD = "version-too-old"
    KVM_NOT_USABLE = "kvm-not-usable"
    EMBEDDED_KVM = "embedded-kvm"
    EMBEDDED_ARCHITECTURE = "embedded-architecture"
    MODULE_MISSING = "module-missing"
    VHOST_NET_MISSING = "vhost-net-missing"
    VHOST_NET_DENIED = "vhost-net-denied"
    IOMMU_OFF = "iommu-off"
    LOCKED_MEMORY = "locked-memory"
    BRIDGE_NETFILTER = "bridge-netfilter"
    LEFTOVERS = "leftovers"
    NO_CONSENT = "no-consent"
    # Ports and functions.
    MANAGEMENT = "management-interface"
    CONNECTIONS = "port-carries-connections"
    PORT_MISSING = "port-missing"
    PORT_IN_USE = "port-in-use"
    PORT_KIND = "port-kind"
    BRIDGE_NAME_TAKEN = "bridge-name-taken"
    GROUP_NOT_VIABLE = "group-not-viable"
    NO_RESET = "no-reset"
    BUS_RESET = "bus-reset"
    NOT_GIVEN_BACK = "not-given-back"
    # SR-IOV.
    SRIOV_MISSING = "sriov-missing"
    NUMVFS_REFUSED = "numvfs-refused"
    BRIDGE_ON_PORT_WITH_VFS = "bridge-on-port-with-vfs"
    PF_DOWN = "pf-down"
    VF_MAC_UNSET = "vf-mac-unset"
    VF_TRUST = "vf-trust"
    VF_OPTION_UNSUPPORTED = "vf-option-unsupported"
    VF_REGISTERS_DEAD = "vf-registers-dead"
    IGB_CHECKSUMS = "igb-checksums"
    # VMs.
    LAB_VM_IMAGE = "lab-vm-image"
    NOT_THE_LABS_DOMAIN = "not-the-labs-domain"
    NOT_THE_NAMED_DOMAIN = "not-the-named-domain"
    VHOST_NOT_USED = "vhost-not-used"
    MACVTAP_ISOLATION = "macvtap-isolation"
    MACVTAP_VEPA = "macvtap-vepa"
    MACVTAP_RX_FILTERS = "macvtap-rx-filters"
    QUEUES_MISMATCH = "queues-mismatch"
    MAIN_LOOP_DESCRIPTORS = "main-loop-descriptors"
    VF_BLOCKS_MIGRATION = "vf-blocks-migration"
    MIGRATION_BLOCKED = "migration-blocked"
    LOCAL_DISKS = "local-disks"
    CPU_OF_THIS_HOST = "cpu-of-this-host"
    TEAM_BEHIND_LEARNING_BRIDGE = "team-behind-learning-bridge"
    BRIDGE_DOES_NOT_LEARN = "bridge-does-not-learn"
    WINDOWS_NETKVM = "windows-netkvm"
    GUEST_DRIVER_MISSING = "guest-driver-missing"
    # Throughput and latency.
    VHOST_IOMMU = "vhost-behind-iommu"
    BRIDGE_NETFILTER_COST = "bridge-netfilter-cost"
    RING_DROPS = "ring-drops"
    MTU_MISMATCH = "mtu-mismatch"
    BRIDGE_PORT_BLOCKED = "bridge-port-blocked"
    BRIDGE_FORGETS = "bridge-forgets"
    INTERRUPT_THROTTLING = "interrupt-throttling"
    VHOST_PRIORITY = "vhost-priority"
    SHORT_RING = "short-ring"
    RECEIVE_OFFLOAD = "receive-offload"
    PORT_OFFLOADS = "port-offloads"
    GUEST_OFFLOADS = "guest-offloads"
    PACKET_CAPTURE = "packet-capture"
    MACVTAP_ON_BOND = "macvtap-on-bond"
    IRQBALANCE = "irqbalance"
    NUMA_REMOTE = "numa-remote"
    VHOST_AFFINITY = "vhost-affinity"
    VIRTIO_SETTINGS = "virtio-settings"
    # Words and parameters of kernels.
    BOUNCE_BUFFERS = "bounce-buffers"
    HALT_POLLING = "halt-polling"
    GENERIC_XDP = "generic-xdp"
    VHOST_ZEROCOPY = "vhost-zerocopy"
    MITIGATIONS_OFF = "mitigations-off"
    X2APIC_MISSING = "x2apic-missing"
    TUNING_UNAVAILABLE = "tuning-unavailable"
    # The machine at which kvmlab runs.
    KERNELSPEC_MISSING = "kernelspec-missing"
    PLOTLY_NOT_OFFLINE = "plotly-not-offline"
    WIDGETS_MISSING = "widgets-missing"


@dataclass(frozen=True)
class RuleText:
    """One rule. ``fix`` is what to do in general; a finding may know better."""

    title: str
    cause: str
    fix: str


def unavailable(rule: Rule, message: str, *, todo: str = "", evidence: str = "") -> Unavailable:
    """Return the error of a host that cannot do something; its fix is the rule's own by default."""
    return Unavailable(message, rule=rule, todo=todo or BOOK[rule].fix, evidence=evidence)


_MACHINE: Final = {
    Rule.LIBVIRT_PYTHON_MISSING: RuleText(
        "libvirt's Python binding is installed",
        "kvmlab talks to libvirt through its Python binding, which is built against libvirt.",
        "Install libvirt-dev and pkg-config, then `pip install libvirt-python`.",
    ),
    Rule.LIBVIRT_MISSING: RuleText(
        "libvirt answers",
        "Every scheme is written as libvirt XML and plugged in by libvirt.",
        "Install libvirt-daemon-system and QEMU, start libvirtd (or virtqemud), and join the "
        "group libvirt.",
    ),
    Rule.IPROUTE_MISSING: RuleText(
        "iproute2 is installed",
        "Interfaces are read by `ip -j`.",
        "Install iproute2 on the host.",
    ),
    Rule.VERSION_TOO_OLD: RuleText(
        "kernel, libvirt, QEMU and iproute2 are new enough",
        "Older tools print other forms, and lack options that the schemes use; what can be read is "
        "read, and the rest is not claimed.",
        "Upgrade the distribution, or install the tool that is named from its backports.",
    ),
    Rule.KVM_NOT_USABLE: RuleText(
        "KVM runs guests",
        "/dev/kvm may exist and still run no guest: a paravirtual or broken nested KVM, or "
        "virtualisation switched off in the firmware.",
        "Switch VT-x or AMD-V on in the firmware (in a VM: nested virtualisation in the "
        "hypervisor below), load kvm_intel or kvm_amd; until then use the embedded host.",
    ),
    Rule.EMBEDDED_KVM: RuleText(
        "KVM speeds up the embedded host",
        "The embedded host was asked to use KVM, and KVM does not run it here.",
        "Leave the accelerator to kvmlab: emulation works everywhere.",
    ),
    Rule.EMBEDDED_ARCHITECTURE: RuleText(
        "the embedded host runs on this machine's architecture",
        "Its image, its QEMU and the figures that go with it are made for x86-64.",
        "Run kvmlab on an x86-64 machine; hosts of another architecture are reached as "
        "qemu+ssh://USER@HOST/system.",
    ),
    Rule.NO_CONSENT: RuleText(
        "somebody said yes to changes",
        "On a host that is not the embedded one kvmlab changes nothing before somebody has seen "
        "the plan and said yes.",
        "Say yes: APPLY = True in a notebook, `--yes` on the command line.",
    ),
    Rule.MODULE_MISSING: RuleText(
        "the kernel has the modules of all schemes",
        "tun, bridge, macvtap and vfio-pci are each needed by a scheme; small cloud kernels "
        "leave some out.",
        "Install the distribution's full kernel (Debian linux-image-amd64, Ubuntu "
        "linux-modules-extra-$(uname -r)).",
    ),
    Rule.VHOST_NET_MISSING: RuleText(
        "vhost_net is loaded, or loads when it is needed",
        "Where libvirt cannot open /dev/vhost-net it uses QEMU's own back end and says nothing.",
        "`modprobe vhost_net`, and one line `vhost_net` in /etc/modules-load.d/vhost.conf so "
        "that it is loaded at boot; where the module does not exist, install a kernel that has it.",
    ),
    Rule.VHOST_NET_DENIED: RuleText(
        "/dev/vhost-net may be opened",
        "libvirt opens /dev/vhost-net as root; a QEMU started by a user, or in a container, "
        "needs the node and the permission itself.",
        "Give the user the group of /dev/vhost-net (udev: GROUP=kvm, MODE=0660), pass the node "
        "into the container, or use qemu:///system.",
    ),
    Rule.IOMMU_OFF: RuleText(
        "the IOMMU is on",
        "Without an IOMMU a device could write anywhere in the host's memory, so none is handed "
        "over (`host doesn't support passthrough of host PCI devices`).",
        "Switch VT-d or AMD-Vi on in the firmware and, for Intel, boot with `intel_iommu=on "
        "iommu=pt`.",
    ),
    Rule.LOCKED_MEMORY: RuleText(
        "QEMU may lock the memory of its VMs",
        "VFIO pins all memory of a VM, once for each device behind an IOMMU of its own: "
        "`VFIO_MAP_DMA failed: Cannot allocate memory`.",
        "Use qemu:///system, which raises the limit itself; else raise memlock (limits.conf, "
        "LimitMEMLOCK=infinity, the container's ulimit) above the VM's memory times its devices "
        "and 1 GiB; declare a guest's own <iommu> natively, not through qemu:commandline.",
    ),
    Rule.BRIDGE_NETFILTER: RuleText(
        "a firewall does not sit in the bridge",
        "br_netfilter sends bridged packets through iptables, where Docker's FORWARD policy "
        "drops those of VMs.",
        "`sysctl net.bridge.bridge-nf-call-iptables=0`, or a rule that accepts bridged packets "
        "(`iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT`).",
    ),
    Rule.LEFTOVERS: RuleText(
        "no run left anything behind",
        "A run that was killed leaves its changes and a journal.",
        "`kvmlab restore` puts everything back.",
    ),
}
_PORTS: Final = {
    Rule.MANAGEMENT: RuleText(
        "the management connection is known",
        "kvmlab never touches what carries the connection to the host, so it has to know it.",
        "Give the lab another port than that of the management connection.",
    ),
    Rule.CONNECTIONS: RuleText(
        "no program of the host talks through the port",
        "A port that goes to a bridge, to a VM or to another driver cuts the connections that end "
        "at its addresses: storage, migration, monitoring, other people's logins.",
        "Give the lab a port through which the host itself talks to nobody.",
    ),
    Rule.PORT_MISSING: RuleText(
        "the port under test is there",
        "Every scheme ends at one physical port.",
        "`kvmlab inspect` lists the ports there are; give one of them.",
    ),
    Rule.PORT_IN_USE: RuleText(
        "the port under test is free",
        "A port below a VLAN, macvtap, tunnel, bond or bridge, with an address or a route, or held "
        "by a VM or a program, carries somebody's traffic.",
        "Choose a port that nothing else uses; `kvmlab inspect` shows who uses each.",
    ),
    Rule.PORT_KIND: RuleText(
        "the port is a wired Ethernet port",
        "Wi-Fi clients, InfiniBand, mobile modems and representors carry no frames of other MACs, "
        "so no VM can be bridged or macvtapped to them; a device that is not on the PCI bus cannot "
        "be handed over.",
        "Give the lab a wired Ethernet port.",
    ),
    Rule.BRIDGE_NAME_TAKEN: RuleText(
        "the name of the lab's bridge is free",
        "A bridge kvmlab0 that kvmlab did not make is left alone.",
        "Rename it or remove it: `ip link delete kvmlab0`.",
    ),
    Rule.GROUP_NOT_VIABLE: RuleText(
        "network functions have IOMMU groups of their own",
        "Members of one group can reach each other past the IOMMU (no ACS on the way), so "
        "vfio hands them over together or not at all: `group N is not viable`.",
        "Bind every member of the group to vfio-pci and hand all of them over, use another slot, "
        "or hand over a VF.",
    ),
    Rule.NO_RESET: RuleText(
        "functions can be reset",
        "A device that cannot be reset keeps its state between two users, and is refused.",
        "Read /sys/bus/pci/devices/ADDRESS/reset_method; write `default` into it where it was "
        "emptied; otherwise use a device with function level reset (flr).",
    ),
    Rule.BUS_RESET: RuleText(
        "functions are reset alone",
        "A function that can only be reset with its whole bus needs the others on that bus to be "
        "unused: `not doing bus reset`.",
        "Hand over all functions of the slot together, or use a device with flr.",
    ),
    Rule.NOT_GIVEN_BACK: RuleText(
        "every device was given back",
        "A device with managed='no', or a run that was killed, stays with vfio-pci or without a "
        "driver after its VM has stopped.",
        "Use managed='yes'; now: `echo > /sys/bus/pci/devices/ADDRESS/driver_override`, unbind "
        "it, and write the address into /sys/bus/pci/drivers_probe.",
    ),
}
_SRIOV: Final = {
    Rule.SRIOV_MISSING: RuleText(
        "a port offers VFs",
        "SR-IOV needs a card with that capability, and firmware that leaves room for its VFs.",
        "Read /sys/class/net/PORT/device/sriov_totalvfs; switch SR-IOV on in the firmware of "
        "machine and card.",
    ),
    Rule.NUMVFS_REFUSED: RuleText(
        "the kernel grants VFs",
        "A write to sriov_numvfs is refused with an error number: EBUSY, ERANGE, ENOMEM, ENOSPC "
        "or EACCES.",
        "EBUSY: write 0 first. ERANGE: more than sriov_totalvfs. ENOMEM: firmware or bridge "
        "leave no MMIO space or bus numbers (`pci=realloc,assign-busses`). ENOSPC: no interrupts "
        "left. EACCES: root is needed.",
    ),
    Rule.BRIDGE_ON_PORT_WITH_VFS: RuleText(
        "no port with VFs is in a bridge",
        "The switch in the NIC forwards by the MACs of the PF and its VFs. It does not know a VM "
        "behind the bridge: frames from a VF to that VM are lost. Where it returns the VM's "
        "broadcasts to the port, the bridge drops what comes in for the VM.",
        "Take the VFs away (`echo 0 > /sys/class/net/PORT/device/sriov_numvfs`); or enter the VM's "
        "MAC into the NIC (`bridge fdb add MAC dev PORT self`) and stop the bridge from learning "
        "at the port (`bridge link set dev PORT learning off`).",
    ),
    Rule.PF_DOWN: RuleText(
        "PFs with VFs are up",
        "A VF resets and gets its link through its PF: with the PF down the driver says `PF "
        "still in reset state`, takes a random MAC and has no carrier.",
        "`ip link set PORT up`, then bind the VF anew.",
    ),
    Rule.VF_MAC_UNSET: RuleText(
        "VFs have administrative MACs",
        "A VF without one gets a random MAC at every boot, and a new interface name with it.",
        "`ip link set PORT vf N mac …`, or <interface type='hostdev'> with a <mac>, which does "
        "that.",
    ),
    Rule.VF_TRUST: RuleText(
        "trust and spoof check are as wanted",
        "Bonds, bridges and VRRP inside a guest send from more MACs than one: spoof check drops "
        "them, and without trust the guest may not change its filters (`VF is not trusted`).",
        "Only for a guest that needs it: `ip link set PORT vf N trust on spoofchk off`. It can "
        "then listen to and speak for others on the port.",
    ),
    Rule.VF_OPTION_UNSUPPORTED: RuleText(
        "the PF's driver supports the option",
        "What a PF sets for its VFs, and how VFs are created, depends on the driver: igb has no "
        "link state of a VF, and few drivers still take max_vfs.",
        "Leave the option out, or use a port whose driver has it.",
    ),
    Rule.VF_REGISTERS_DEAD: RuleText(
        "VFs answer",
        "The VF's mailbox or registers do not answer, so its driver binds and the link never "
        "comes. QEMU 10.0.0 to 10.0.2 (at least) break an emulated igb in that way.",
        "Run the host under a QEMU whose igb works (10.0.13 does); on hardware look for firmware "
        "of the card.",
    ),
    Rule.IGB_CHECKSUMS: RuleText(
        "an emulated PF with VFs sends good checksums",
        "QEMU's igb passes packets between PF and VFs without the checksums that the driver left "
        "to it.",
        "`ethtool -K PORT rx off tx off gso off` on the PF.",
    ),
}
_VMS: Final = {
    Rule.LAB_VM_IMAGE: RuleText(
        "there is an image for the lab's VM",
        "The lab's own VM boots from an image that only the embedded host has.",
        "Give the name of a VM of your own on that host.",
    ),
    Rule.NOT_THE_LABS_DOMAIN: RuleText(
        "the lab's VM is the lab's",
        "A domain of the lab's name that kvmlab did not make is left alone.",
        "Rename it, or name it as the VM to use.",
    ),
    Rule.NOT_THE_NAMED_DOMAIN: RuleText(
        "the plan is for the VM that was named",
        "A plan is applied only to the domain it was made for.",
        "Make the plan with that VM.",
    ),
    Rule.VHOST_NOT_USED: RuleText(
        "virtio interfaces are served by vhost",
        "libvirt silently uses QEMU's back end where it cannot open /dev/vhost-net when the VM "
        "starts; only the worker thread proves vhost.",
        "Load vhost_net, then detach and attach the interface, or restart the VM.",
    ),
    Rule.MACVTAP_ISOLATION: RuleText(
        "host and VM need not talk through a macvtap",
        "A macvtap hands packets to the port below, never back up to the host: by design host "
        "and VM cannot reach each other through it.",
        "Give the VM a second interface on a bridge or a libvirt network, or the host a macvlan "
        "of its own on that port.",
    ),
    Rule.MACVTAP_VEPA: RuleText(
        "macvtaps are in bridge mode",
        "libvirt's default mode is vepa, in which VMs of one port reach each other only through "
        "a switch that sends packets back (hairpin).",
        "Write `mode='bridge'` into <source>.",
    ),
    Rule.MACVTAP_RX_FILTERS: RuleText(
        "macvtaps follow the guest's filters",
        "A macvtap passes only the MAC in the XML and the multicast it was told of: IPv6 or a "
        "changed MAC inside the guest fail.",
        "`trustGuestRxFilters='yes'` on <interface type='direct'>.",
    ),
    Rule.QUEUES_MISMATCH: RuleText(
        "queues, channels and vCPUs agree",
        "Queue pairs beyond the guest's vCPUs or its enabled channels are never used, and cost "
        "memory and interrupts.",
        "As many queues in the XML as vCPUs at most, and `ethtool -L IFACE combined N` in the "
        "guest.",
    ),
    Rule.MAIN_LOOP_DESCRIPTORS: RuleText(
        "QEMU's main loop polls few descriptors",
        "The main loop polls two queues for each port of a virtio-serial controller, and libvirt "
        "makes 31 ports where the XML names no number: 64 descriptors for the one channel of a "
        "guest agent. Every packet that QEMU itself serves waits for each pass over them.",
        "Give the controller as many ports as channels need: `<controller type='virtio-serial' "
        "index='0' ports='2'/>` for the guest agent's channel, then shut the VM down and start it.",
    ),
    Rule.VF_BLOCKS_MIGRATION: RuleText(
        "VMs can migrate",
        "A VM that holds a device of its host cannot move to another.",
        "(a) <teaming>: a virtio standby beside the VF; (b) macvtap in passthrough mode on the "
        "VF; (c) VFIO migration, with a vendor's driver; (d) vDPA. `kvmlab.advise(…, "
        "migration=True)` writes the XML.",
    ),
    Rule.MIGRATION_BLOCKED: RuleText(
        "nothing but a card stops a migration",
        "libvirt or QEMU refuses to migrate a VM that shares memory or a folder with this host, "
        "has its USB or mediated devices, sees a CPU that was declared not migratable, or has a "
        "macvtap on a port by name, which another host need not have.",
        "Take the device out before a migration, or use a libvirt network of one name on both "
        "hosts in place of a port's name. `kvmlab migrate --dry-run --to HOST` checks the rest.",
    ),
    Rule.LOCAL_DISKS: RuleText(
        "disks of VMs lie where another host can read them",
        "A migration moves memory, not disks: a VM whose disk is a file on this host's own file "
        "system does not start on another.",
        "Move the file to a file system that all hosts mount at the same place (NFS, CephFS, "
        "GFS2, …), while the VM runs: `virsh blockcopy VM DISK FILE --pivot`; or copy it "
        "with the VM: `virsh migrate --copy-storage-all`.",
    ),
    Rule.CPU_OF_THIS_HOST: RuleText(
        "VMs see a CPU that other hosts have",
        "With <cpu mode='host-passthrough'> or 'maximum' a VM sees this host's CPU as it is. It "
        "migrates to hosts of the same CPU and microcode only, and QEMU cannot tell the "
        "difference: a guest may fail on an instruction that is missing there. With 'host-model' "
        "it sees the model and all features of the CPU that it was started on: libvirt compares "
        "them, and refuses to migrate it to a host that lacks one, to an older one for example.",
        "Give the VM a CPU that all hosts have: `virsh cpu-baseline` of their capabilities names "
        "it. `kvmlab migrate --dry-run --to HOST` compares two hosts.",
    ),
    Rule.TEAM_BEHIND_LEARNING_BRIDGE: RuleText(
        "bridges find a teamed VM when its VF leaves",
        "While the VF works, the bridge of the virtio card sees the VM's packets come in at its "
        "own port, and learns the VM's MAC there. When the VF is unplugged it drops what comes "
        "for the VM, until the VM sends something.",
        "Switch learning off at the bridge's port: `bridge link set dev PORT learning off`.",
    ),
    Rule.BRIDGE_DOES_NOT_LEARN: RuleText(
        "bridges learn where a VM is that has moved",
        "After a migration the VM announces itself, and bridges learn its new port from that. One "
        "with an entry for its MAC at another port, a port that is locked, or a port of the VM "
        "that neither learns nor gets what is for unknown MACs, does not: the VM hears nothing.",
        "Remove the entry (`bridge fdb del MAC dev PORT master`), unlock the port (`bridge link "
        "set dev PORT locked off`), or let it flood (`bridge link set dev PORT flood on`). At a "
        "switch: port security and static MACs of its ports.",
    ),
    Rule.WINDOWS_NETKVM: RuleText(
        "Windows guests have a current NetKVM",
        "Old NetKVM drivers drop packets or hang with large send offload (LSO) and receive "
        "coalescing (RSC).",
        "Install the newest virtio-win; where trouble stays, switch LSO, then RSC off in the "
        "adapter's properties; e1000e as a last resort.",
    ),
    Rule.GUEST_DRIVER_MISSING: RuleText(
        "the guest has the drivers of all schemes",
        "Cloud kernels leave out e1000, e1000e and igbvf: the card is there and no interface "
        "comes.",
        "Install the full kernel in the guest, or use virtio.",
    ),
}
_TUNING: Final = {
    Rule.VHOST_IOMMU: RuleText(
        "vhost cards are not behind a virtual IOMMU",
        "In a VM with an <iommu>, vhost asks QEMU for every translation of a card with <driver "
        "iommu='on'> that it does not remember: throughput falls to a fraction. Without an <iommu> "
        "there is nothing to ask, and iommu='on' costs nothing.",
        "Leave iommu='on' out of the card unless the guest itself hands it on (nested VFIO); then "
        "use `iommu.passthrough=1` in the guest, and large pages.",
    ),
    Rule.BRIDGE_NETFILTER_COST: RuleText(
        "packets of VMs do not pass iptables in the bridge",
        "br_netfilter sends every bridged packet through the IP hooks of netfilter, which costs "
        "CPU time for each packet. Where a rule asks for a connection's state it is tracked as "
        "well, in a table that can overflow.",
        "`sysctl net.bridge.bridge-nf-call-iptables=0` (and ip6tables, arptables), where no "
        "container network needs it.",
    ),
    Rule.RING_DROPS: RuleText(
        "no ring is too short",
        "A ring that is full drops packets: of a port while its CPU is busy, of a tap while the VM "
        "does not fetch them.",
        "Lengthen the ring: `ethtool -G PORT rx N`, <driver rx_queue_size='1024'/>.",
    ),
    Rule.MTU_MISMATCH: RuleText(
        "MTUs agree along every path",
        "A bridge passes frames as they are: those longer than the MTU of the port at which they "
        "leave are dropped without a word, so that small packets work and large ones hang.",
        "Give every port of one network the same MTU, and tunnels 50 bytes less than what carries "
        "them; in the VM: <mtu size='N'/>.",
    ),
    Rule.BRIDGE_PORT_BLOCKED: RuleText(
        "ports of bridges forward",
        "A port that listens, learns or blocks passes nothing on, with its link up. A spanning "
        "tree puts it there to break a loop; one that has ended leaves it there.",
        "Look for a loop first. Without one: `bridge link set dev PORT state forwarding`.",
    ),
    Rule.BRIDGE_FORGETS: RuleText(
        "bridges remember where a MAC is",
        "With an ageing time of 0 a bridge forgets each address at once and floods every packet to "
        "all ports; where a port is not flooded either, nothing reaches it.",
        "`ip link set BRIDGE type bridge ageing_time 30000`, in hundredths of a second; and "
        "flooding on at ports behind which somebody may be silent: `bridge link set dev PORT flood "
        "on`.",
    ),
    Rule.INTERRUPT_THROTTLING: RuleText(
        "ports below VMs raise their interrupts soon",
        "A port that waits before it raises an interrupt saves CPU time and adds the wait to every "
        "round trip of every VM behind it.",
        "`ethtool -C PORT rx-usecs 3` leaves the choice to igb; other drivers have adaptive-rx.",
    ),
    Rule.SHORT_RING: RuleText(
        "the VM's rings hold a merged packet",
        "A merged packet of 64 KiB takes 17 to 44 buffers of a virtio ring, by their size. A ring "
        "that is too short never has them: the back end waits, and what comes behind that packet "
        "waits with it.",
        "In the VM: `ethtool -G ethN rx 256`, or as many as `ethtool -g` lists.",
    ),
    Rule.VHOST_PRIORITY: RuleText(
        "vhost workers are not behind other programs",
        "A vhost worker is a thread that competes for the CPU. With a nice value above 0 it moves "
        "packets only when nobody else wants to run.",
        "`renice -n 0 -p THREAD` for each thread named vhost-….",
    ),
    Rule.RECEIVE_OFFLOAD: RuleText(
        "ports below bridges and macvtaps do not merge received packets for good",
        "LRO merges packets in a way that cannot be undone, so that what is forwarded to a VM "
        "arrives oversized or is dropped; hardware GRO has had the same faults below macvtap.",
        "`ethtool -K PORT lro off`; where trouble stays, `rx-gro-hw off`.",
    ),
    Rule.PORT_OFFLOADS: RuleText(
        "ports below bridges and macvtaps have their offloads",
        "Without GRO each received frame crosses bridge, tap and virtqueue alone; without TSO or "
        "checksums of the port the host's kernel cuts and sums up what VMs hand over in one piece.",
        "`ethtool -K PORT gro on tso on tx on`, as the driver has them; `kvmlab measure -k "
        "port-gro=off` shows what they are worth here.",
    ),
    Rule.GUEST_OFFLOADS: RuleText(
        "virtio cards in the VM have their offloads",
        "Without TSO or checksums the guest sends frame by frame, so that guest and back end pay "
        "for each; without rx-gro-hw the host cuts merged packets before it hands them over.",
        "In the VM: `ethtool -K ethN tx on tso on gro on rx-gro-hw on`.",
    ),
    Rule.PACKET_CAPTURE: RuleText(
        "nobody captures packets",
        "A capture copies each packet that it sees, also where what it writes is thrown away; one "
        "that was forgotten goes on for weeks.",
        "End it, or give it a filter and a short snap length (`tcpdump -s 96`).",
    ),
    Rule.MACVTAP_ON_BOND: RuleText(
        "macvtaps sit on ports that bear them",
        "balance-tlb and balance-alb rewrite MACs, and Open vSwitch takes every packet of its "
        "ports before a macvtap sees it: the VM's packets get lost.",
        "Use 802.3ad or active-backup below a macvtap; with Open vSwitch give the VM a port of the "
        "switch.",
    ),
    Rule.IRQBALANCE: RuleText(
        "irqbalance leaves the CPUs of pinned vCPUs alone",
        "irqbalance moves interrupts of cards onto any CPU, also onto those that vCPUs are pinned "
        "to: round trips then have outliers.",
        "IRQBALANCE_BANNED_CPULIST=<the pinned CPUs> in its configuration, then restart it.",
    ),
    Rule.NUMA_REMOTE: RuleText(
        "vCPUs are on the NUMA node of their port",
        "Packets and their descriptors cross between sockets, which costs latency and the "
        "bandwidth of that link.",
        "Pin the VM to the node of the card (<vcpupin>, <numatune>), or use a port of its node.",
    ),
    Rule.VHOST_AFFINITY: RuleText(
        "vhost workers have CPUs of their own",
        "Since Linux 6.4 vhost workers are threads of QEMU, with its cgroup and its affinity: "
        "without <emulatorpin> they share the CPUs of pinned vCPUs and take their time.",
        "<emulatorpin cpuset='…'/> with CPUs that no vCPU is pinned to.",
    ),
    Rule.VIRTIO_SETTINGS: RuleText(
        "virtio cards have their offloads, and nothing that their back end ignores",
        "An offload that is off in the XML makes the guest or the host cut and sum up each frame; "
        "vhost-net has no packed ring, and QEMU drops that wish without a word.",
        "Take those attributes out of <driver>, <host> and <guest>; `kvmlab measure -k "
        "offloads=off` shows what they cost here.",
    ),
    Rule.BOUNCE_BUFFERS: RuleText(
        "kernels do not copy what devices send and receive",
        "With `swiotlb=force` a kernel copies every packet of its devices through one area of "
        "memory, where no IOMMU translates: in a VM those of VFs and of virtio cards with "
        "<driver iommu='on'>. Kernels of confidential VMs do so by themselves.",
        "Take `swiotlb=force` from that kernel's command line, and start it anew.",
    ),
    Rule.HALT_POLLING: RuleText(
        "KVM waits a moment before a halted vCPU sleeps",
        "With halt_poll_ns at 0 a vCPU that waits for a packet sleeps at once, and each packet "
        "waits for the scheduler. With a long time KVM spins through the sleep of an idle guest, "
        "whose timer wakes it again and again: an idle VM then takes a whole CPU.",
        "`echo 200000 > /sys/module/kvm/parameters/halt_poll_ns`, KVM's own number on x86 (Arm: "
        "500000), and `options kvm halt_poll_ns=…` out of /etc/modprobe.d. 0 is right where power "
        "is dearer than latency.",
    ),
    Rule.GENERIC_XDP: RuleText(
        "programs of XDP run in the driver of their port",
        "In generic mode the kernel makes a buffer of each frame before the program sees it, "
        "copies it where it has too little headroom, and merges no frames (GRO) on that port.",
        "`ip link set dev PORT xdpgeneric off`, then attach the program with `xdpdrv`. A driver "
        "may refuse that: an MTU above a page, LRO, too many channels.",
    ),
    Rule.VHOST_ZEROCOPY: RuleText(
        "vhost copies what VMs send",
        "Without a copy a buffer of the guest is free only when the last reader of its packet is "
        "done: one slow receiver stops all that the VM sends. Linux has it off since 5.3 for that.",
        "Take `experimental_zcopytx=1` out of /etc/modprobe.d (before Linux 5.3: write `options "
        "vhost_net experimental_zcopytx=0`); once no VM uses vhost: `modprobe -r vhost_net`, then "
        "`modprobe vhost_net`.",
    ),
    Rule.MITIGATIONS_OFF: RuleText(
        "kernels mitigate the bugs of their CPU",
        "With `mitigations=off` a VM can read memory of the host and of other VMs through bugs of "
        "the CPU, and inside a VM one program that of others.",
        "Take `mitigations=off` from that kernel's command line, and start it anew. `kvmlab "
        "measure -k mitigations-guest=auto` shows what they cost in a VM.",
    ),
    Rule.X2APIC_MISSING: RuleText(
        "VMs have an x2apic",
        "Without it a guest reaches its interrupt controller through memory: each access ends in "
        "KVM, which has to decode the instruction. With MSRs it has not, and more than 255 vCPUs "
        "are possible.",
        "`<feature policy='require' name='x2apic'/>` inside <cpu>, and no `nox2apic` on the "
        "guest's command line; then shut the VM down and start it.",
    ),
    Rule.TUNING_UNAVAILABLE: RuleText(
        "a tuning fits the scheme, the device, libvirt and the kernel",
        "A tuning sets something that this NIC, its back end, this libvirt or this kernel does not "
        "have, or that other users of the host would notice.",
        "Leave it out, or choose a scheme or a host that has it; the message says what is missing.",
    ),
}
_DESK: Final = {
    Rule.KERNELSPEC_MISSING: RuleText(
        "Jupyter finds a kernel python3",
        "The notebooks name the kernelspec python3 (`NoSuchKernel`).",
        "`python -m ipykernel install --sys-prefix --name python3`.",
    ),
    Rule.PLOTLY_NOT_OFFLINE: RuleText(
        "figures need no network",
        "A figure that loads plotly.js from the network is blank without it.",
        "`pip install --force-reinstall plotly`: it carries plotly.js, which the report embeds.",
    ),
    Rule.WIDGETS_MISSING: RuleText(
        "JupyterLab shows widgets",
        "Widgets need an extension of JupyterLab; without it cells show their headless result.",
        "`pip install ipywidgets jupyterlab_widgets` into the environment of JupyterLab.",
    ),
}
#: Every rule, in the order of :class:`Rule`.
BOOK: Final[Mapping[Rule, RuleText]] = MappingProxyType(
    {rule: ({**_MACHINE, **_PORTS, **_SRIOV, **_VMS, **_TUNING, **_DESK})[rule] for rule in Rule}
)
