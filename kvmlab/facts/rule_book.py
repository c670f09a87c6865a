"""What each rule means: one table for the doctor, for refused plans and for errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from kvmlab.errors import Unavailable
from kvmlab.facts.rules import Rule


@dataclass(frozen=True)
class Entry:
    """One rule. ``fix`` is what to do in general; a finding may know better."""

    title: str
    cause: str
    fix: str


def unavailable(rule: Rule, message: str, *, todo: str = "", evidence: str = "") -> Unavailable:
    """The error of a host that cannot do something, with the book's fix where none is given."""
    return Unavailable(message, rule=rule, todo=todo or BOOK[rule].fix, evidence=evidence)


_MACHINE: Final = {
    Rule.LIBVIRT_PYTHON_MISSING: Entry(
        "libvirt's Python binding is installed",
        "kvmlab talks to libvirt through its Python binding, which is built against libvirt.",
        "Install libvirt-dev and pkg-config, then `pip install libvirt-python`.",
    ),
    Rule.LIBVIRT_MISSING: Entry(
        "libvirt answers",
        "Every scheme is written as libvirt XML and plugged in by libvirt.",
        "Install libvirt-daemon-system and QEMU, start libvirtd (or virtqemud), and join the "
        "group libvirt.",
    ),
    Rule.IPROUTE_MISSING: Entry(
        "iproute2 is installed",
        "Interfaces are read by `ip -j`.",
        "Install iproute2 on the host.",
    ),
    Rule.KVM_NOT_USABLE: Entry(
        "KVM runs guests",
        "/dev/kvm may exist and still run no guest: a paravirtual or broken nested KVM, or "
        "virtualisation switched off in the firmware.",
        "Switch VT-x or AMD-V on in the firmware (in a VM: nested virtualisation in the "
        "hypervisor below), load kvm_intel or kvm_amd; until then use the embedded host.",
    ),
    Rule.EMBEDDED_KVM: Entry(
        "KVM speeds up the embedded host",
        "The embedded host was asked to use KVM, and KVM does not run it here.",
        "Leave the accelerator to kvmlab: emulation works everywhere.",
    ),
    Rule.NO_CONSENT: Entry(
        "somebody said yes to changes",
        "On a host that is not the embedded one kvmlab changes nothing before somebody has seen "
        "the plan and said yes.",
        "Say yes: APPLY = True in a notebook, `--yes` on the command line.",
    ),
    Rule.MODULE_MISSING: Entry(
        "the kernel has the modules of all schemes",
        "tun, bridge, macvtap and vfio-pci are each needed by a scheme; small cloud kernels "
        "leave some out.",
        "Install the distribution's full kernel (Debian linux-image-amd64, Ubuntu "
        "linux-modules-extra-$(uname -r)).",
    ),
    Rule.VHOST_NET_MISSING: Entry(
        "vhost_net is loaded",
        "Without the module libvirt falls back to QEMU's own back end and says nothing.",
        "`modprobe vhost_net`, and one line `vhost_net` in /etc/modules-load.d/vhost.conf so "
        "that it is loaded at boot; where the module does not exist, install a kernel that has it.",
    ),
    Rule.VHOST_NET_DENIED: Entry(
        "/dev/vhost-net may be opened",
        "libvirt opens /dev/vhost-net as root; a QEMU started by a user, or in a container, "
        "needs the node and the permission itself.",
        "Give the user the group of /dev/vhost-net (udev: GROUP=kvm, MODE=0660), pass the node "
        "into the container, or use qemu:///system.",
    ),
    Rule.IOMMU_OFF: Entry(
        "the IOMMU is on",
        "Without an IOMMU a device could write anywhere in the host's memory, so none is handed "
        "over (`host doesn't support passthrough of host PCI devices`).",
        "Switch VT-d or AMD-Vi on in the firmware and, for Intel, boot with `intel_iommu=on "
        "iommu=pt`.",
    ),
    Rule.LOCKED_MEMORY: Entry(
        "QEMU may lock the memory of its VMs",
        "VFIO pins all memory of a VM, once for each device behind an IOMMU of its own: "
        "`VFIO_MAP_DMA failed: Cannot allocate memory`.",
        "Use qemu:///system, which raises the limit itself; else raise memlock (limits.conf, "
        "LimitMEMLOCK=infinity, the container's ulimit) above the VM's memory times its devices "
        "and 1 GiB; declare a guest's own <iommu> natively, not through qemu:commandline.",
    ),
    Rule.BRIDGE_NETFILTER: Entry(
        "a firewall does not sit in the bridge",
        "br_netfilter sends bridged packets through iptables, where Docker's FORWARD policy "
        "drops those of VMs.",
        "`sysctl net.bridge.bridge-nf-call-iptables=0`, or a rule that accepts bridged packets "
        "(`iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT`).",
    ),
    Rule.LEFTOVERS: Entry(
        "no run left anything behind",
        "A run that was killed leaves its changes and a journal.",
        "`kvmlab restore` puts everything back.",
    ),
}
_PORTS: Final = {
    Rule.MANAGEMENT: Entry(
        "the management connection is known",
        "kvmlab never touches what carries the connection to the host, so it has to know it.",
        "Give the lab another port than that of the management connection.",
    ),
    Rule.CONNECTIONS: Entry(
        "no program of the host talks through the port",
        "A port that goes to a bridge, to a VM or to another driver cuts the connections that end "
        "at its addresses: storage, migration, monitoring, other people's logins.",
        "Give the lab a port through which the host itself talks to nobody.",
    ),
    Rule.PORT_MISSING: Entry(
        "the port under test is there",
        "Every scheme ends at one physical port.",
        "`kvmlab inspect` lists the ports there are; give one of them.",
    ),
    Rule.PORT_IN_USE: Entry(
        "the port under test is free",
        "A port that belongs to another bridge or bond carries somebody's traffic.",
        "Choose a port that nothing else uses.",
    ),
    Rule.BRIDGE_NAME_TAKEN: Entry(
        "the name of the lab's bridge is free",
        "A bridge kvmlab0 that kvmlab did not make is left alone.",
        "Rename it or remove it: `ip link delete kvmlab0`.",
    ),
    Rule.GROUP_NOT_VIABLE: Entry(
        "network functions have IOMMU groups of their own",
        "Members of one group can reach each other past the IOMMU (no ACS on the way), so "
        "vfio hands them over together or not at all: `group N is not viable`.",
        "Bind every member of the group to vfio-pci and hand all of them over, use another slot, "
        "or hand over a VF.",
    ),
    Rule.NO_RESET: Entry(
        "functions can be reset",
        "A device that cannot be reset keeps its state between two users, and is refused.",
        "Read /sys/bus/pci/devices/ADDRESS/reset_method; write `default` into it where it was "
        "emptied; otherwise use a device with function level reset (flr).",
    ),
    Rule.BUS_RESET: Entry(
        "functions are reset alone",
        "A function that can only be reset with its whole bus needs the others on that bus to be "
        "unused: `not doing bus reset`.",
        "Hand over all functions of the slot together, or use a device with flr.",
    ),
    Rule.NOT_GIVEN_BACK: Entry(
        "every device was given back",
        "A device with managed='no', or a run that was killed, stays with vfio-pci or without a "
        "driver after its VM has stopped.",
        "Use managed='yes'; now: `echo > /sys/bus/pci/devices/ADDRESS/driver_override`, unbind "
        "it, and write the address into /sys/bus/pci/drivers_probe.",
    ),
}
_SRIOV: Final = {
    Rule.SRIOV_MISSING: Entry(
        "a port offers VFs",
        "SR-IOV needs a card with that capability, and firmware that leaves room for its VFs.",
        "Read /sys/class/net/PORT/device/sriov_totalvfs; switch SR-IOV on in the firmware of "
        "machine and card.",
    ),
    Rule.NUMVFS_REFUSED: Entry(
        "the kernel grants VFs",
        "A write to sriov_numvfs is refused with an error number: EBUSY, ERANGE, ENOMEM, ENOSPC "
        "or EACCES.",
        "EBUSY: write 0 first. ERANGE: more than sriov_totalvfs. ENOMEM: firmware or bridge "
        "leave no MMIO space or bus numbers (`pci=realloc,assign-busses`). ENOSPC: no interrupts "
        "left. EACCES: root is needed.",
    ),
    Rule.BRIDGE_ON_PORT_WITH_VFS: Entry(
        "no port with VFs is in a bridge",
        "The card's own switch learns the MAC of a VM behind the bridge outside, and never sends "
        "its packets in: unicast to the VM is lost.",
        "Take the VFs away (`echo 0 > /sys/class/net/PORT/device/sriov_numvfs`), or teach the "
        "card the VM's MAC: `bridge fdb add MAC dev PORT`, or `learning off` on it.",
    ),
    Rule.PF_DOWN: Entry(
        "PFs with VFs are up",
        "A VF resets and gets its link through its PF: with the PF down the driver says `PF "
        "still in reset state`, takes a random MAC and has no carrier.",
        "`ip link set PORT up`, then bind the VF anew.",
    ),
    Rule.VF_MAC_UNSET: Entry(
        "VFs have administrative MACs",
        "A VF without one gets a random MAC at every boot, and a new interface name with it.",
        "`ip link set PORT vf N mac …`, or <interface type='hostdev'> with a <mac>, which does "
        "that.",
    ),
    Rule.VF_TRUST: Entry(
        "trust and spoof check are as wanted",
        "Bonds, bridges and VRRP inside a guest send from more MACs than one: spoof check drops "
        "them, and without trust the guest may not change its filters (`VF is not trusted`).",
        "Only for a guest that needs it: `ip link set PORT vf N trust on spoofchk off`. It can "
        "then listen to and speak for others on the port.",
    ),
    Rule.VF_REGISTERS_DEAD: Entry(
        "VFs answer",
        "The VF's mailbox or registers do not answer, so its driver binds and the link never "
        "comes. QEMU 10.0.0 to 10.0.2 (at least) break an emulated igb in that way.",
        "Run the host under a QEMU whose igb works (10.0.13 does); on hardware look for firmware "
        "of the card.",
    ),
    Rule.IGB_CHECKSUMS: Entry(
        "an emulated PF with VFs sends good checksums",
        "QEMU's igb passes packets between PF and VFs without the checksums that the driver left "
        "to it.",
        "`ethtool -K PORT rx off tx off gso off` on the PF.",
    ),
}
_VMS: Final = {
    Rule.LAB_VM_IMAGE: Entry(
        "there is an image for the lab's VM",
        "The lab's own VM boots from an image that only the embedded host has.",
        "Give the name of a VM of your own on that host.",
    ),
    Rule.NOT_THE_LABS_DOMAIN: Entry(
        "the lab's VM is the lab's",
        "A domain of the lab's name that kvmlab did not make is left alone.",
        "Rename it, or name it as the VM to use.",
    ),
    Rule.NOT_THE_NAMED_DOMAIN: Entry(
        "the plan is for the VM that was named",
        "A plan is applied only to the domain it was made for.",
        "Make the plan with that VM.",
    ),
    Rule.VHOST_NOT_USED: Entry(
        "virtio interfaces are served by vhost",
        "libvirt falls back to QEMU's back end without a word where vhost_net is missing when "
        "the VM starts; only the worker thread proves vhost.",
        "Load vhost_net, then detach and attach the interface, or restart the VM.",
    ),
    Rule.MACVTAP_ISOLATION: Entry(
        "host and VM need not talk through a macvtap",
        "A macvtap hands packets to the port below, never back up to the host: by design host "
        "and VM cannot reach each other through it.",
        "Give the VM a second interface on a bridge or a libvirt network, or the host a macvlan "
        "of its own on that port.",
    ),
    Rule.MACVTAP_VEPA: Entry(
        "macvtaps are in bridge mode",
        "libvirt's default mode is vepa, in which VMs of one port reach each other only through "
        "a switch that sends packets back (hairpin).",
        "Write `mode='bridge'` into <source>.",
    ),
    Rule.MACVTAP_RX_FILTERS: Entry(
        "macvtaps follow the guest's filters",
        "A macvtap passes only the MAC in the XML and the multicast it was told of: IPv6 or a "
        "changed MAC inside the guest fail.",
        "`trustGuestRxFilters='yes'` on <interface type='direct'>.",
    ),
    Rule.QUEUES_MISMATCH: Entry(
        "queues, channels and vCPUs agree",
        "Queue pairs beyond the guest's vCPUs or its enabled channels are never used, and cost "
        "memory and interrupts.",
        "As many queues in the XML as vCPUs at most, and `ethtool -L IFACE combined N` in the "
        "guest.",
    ),
    Rule.VF_BLOCKS_MIGRATION: Entry(
        "VMs can migrate",
        "A VM that holds a device of its host cannot move to another.",
        "(a) <teaming>: a virtio standby beside the VF; (b) macvtap in passthrough mode on the "
        "VF; (c) VFIO migration, with a vendor's driver; (d) vDPA. `kvmlab.advise(…, "
        "migration=True)` writes the XML.",
    ),
    Rule.WINDOWS_NETKVM: Entry(
        "Windows guests have a current NetKVM",
        "Old NetKVM drivers drop packets or hang with large send offload (LSO) and receive "
        "coalescing (RSC).",
        "Install the newest virtio-win; where trouble stays, switch LSO, then RSC off in the "
        "adapter's properties; e1000e as a last resort.",
    ),
    Rule.GUEST_DRIVER_MISSING: Entry(
        "the guest has the drivers of all schemes",
        "Cloud kernels leave out e1000, e1000e and igbvf: the card is there and no interface "
        "comes.",
        "Install the full kernel in the guest, or use virtio.",
    ),
}
_DESK: Final = {
    Rule.KERNELSPEC_MISSING: Entry(
        "Jupyter finds a kernel python3",
        "The notebooks name the kernelspec python3 (`NoSuchKernel`).",
        "`python -m ipykernel install --sys-prefix --name python3`.",
    ),
    Rule.PLOTLY_NOT_OFFLINE: Entry(
        "figures need no network",
        "A figure that loads plotly.js from the network is blank without it.",
        "`pip install --force-reinstall plotly`: it carries plotly.js, which the report embeds.",
    ),
    Rule.WIDGETS_MISSING: Entry(
        "JupyterLab shows widgets",
        "Widgets need an extension of JupyterLab; without it cells show their headless result.",
        "`pip install ipywidgets jupyterlab_widgets` into the environment of JupyterLab.",
    ),
}
#: Every rule, in the order of :class:`Rule`.
BOOK: Final[Mapping[Rule, Entry]] = MappingProxyType(
    {rule: ({**_MACHINE, **_PORTS, **_SRIOV, **_VMS, **_DESK})[rule] for rule in Rule}
)
