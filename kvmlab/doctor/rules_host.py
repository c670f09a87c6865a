"""Rules about the machine, its kernel and libvirt."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.findings_input import FindingsInput, Judge, listed
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, unknown, warning
from kvmlab.facts import KvmProof, ModuleState, Rule
from kvmlab.facts.versions import (
    MINIMUM_IPROUTE2,
    MINIMUM_KERNEL,
    MINIMUM_LIBVIRT,
    MINIMUM_QEMU,
    is_older,
)

_USABLE: Final = (ModuleState.LOADED, ModuleState.BUILTIN, ModuleState.AVAILABLE)
#: What kernel, QEMU and libvirt say when memory cannot be locked.
_LOCKED_MEMORY: Final = (
    "VFIO_MAP_DMA|RLIMIT_MEMLOCK|dma_map.*-12|IOMMU_IOAS_MAP.*Cannot allocate|mlockall"
    "|cannot limit locked memory"
)
_GUEST_FIX: Final = (
    "Give this VM a virtual IOMMU (libvirt: <iommu model='intel'><driver intremap='on'/></iommu>) "
    "and boot it with `intel_iommu=on`; on a rented machine use the embedded host."
)
_ARM_FIX: Final = (
    "KVM on Arm needs a kernel that was started in EL2 (`dmesg | grep -i kvm`), and a QEMU with "
    "the machine `virt` (qemu-system-aarch64); inside a VM it needs nested virtualisation below."
)
#: Modules that a scheme needs, and the scheme's place in the article.
_NEEDED: Final = {
    "tun": "taps, for every VM on a bridge",
    "bridge": "the bridge schemes",
    "macvtap": "macvtap",
    "vfio_pci": "passthrough and SR-IOV",
}


def libvirt_binding(readings: FindingsInput) -> Finding:
    """Expect the binding, without which nothing is known of libvirt."""
    rule, read = Rule.LIBVIRT_PYTHON_MISSING, "the Python package libvirt, here"
    if readings.environment is None:
        return not_applicable(rule, read, "This machine was not looked at.")
    if readings.environment.libvirt_binding:
        return ok(rule, read, "It is there.")
    return problem(rule, read, "It is missing.")


def libvirt(readings: FindingsInput) -> Finding:
    """Expect libvirt to answer and to know a QEMU."""
    rule, read, facts = Rule.LIBVIRT_MISSING, readings.facts.libvirt.uri, readings.facts.libvirt
    if facts.problem:
        return problem(rule, read, facts.problem)
    return ok(rule, read, f"libvirt {facts.version} with QEMU {facts.qemu_version}.")


def iproute(readings: FindingsInput) -> Finding:
    """Report the number of interfaces; an inspection fails where `ip` is unusable."""
    return ok(Rule.IPROUTE_MISSING, "ip -j -d address", f"{len(readings.facts.links)} interfaces.")


def versions(readings: FindingsInput) -> Finding:
    """Compare the versions of kernel, libvirt, QEMU and iproute2 with those that are needed."""
    facts = readings.facts
    known = {
        "kernel": (facts.kernel.release, MINIMUM_KERNEL),
        "libvirt": (facts.libvirt.version or "", MINIMUM_LIBVIRT),
        "QEMU": (facts.libvirt.qemu_version or "", MINIMUM_QEMU),
        "iproute2": (facts.iproute2.rpartition("-")[2], MINIMUM_IPROUTE2),
    }
    if facts.libvirt.uri.startswith("test:"):
        known = {name: pair for name, pair in known.items() if name in ("kernel", "iproute2")}
    read = ", ".join(f"{name} {version or '–'}" for name, (version, _) in known.items())
    old = [
        f"{name} is {version}, and {minimum} or newer is needed"
        for name, (version, minimum) in known.items()
        if is_older(version, minimum)
    ]
    if old:
        return warning(Rule.VERSION_TOO_OLD, read, f"{'; '.join(old)}.")
    return ok(Rule.VERSION_TOO_OLD, read, "Each that is known is new enough.")


def kvm(readings: FindingsInput) -> Finding:
    """Accept only a guest that ran as proof of KVM."""
    kvm = readings.facts.kvm
    read = f"CPU flags, /dev/kvm, a guest ({kvm.proof.value})"
    if not kvm.usable:
        fix = _ARM_FIX if readings.facts.cpu.architecture == "aarch64" else ""
        return problem(Rule.KVM_NOT_USABLE, read, kvm.reason, fix=fix)
    if kvm.proof is KvmProof.FIRMWARE:
        return warning(
            Rule.KVM_NOT_USABLE,
            read,
            kvm.reason,
            fix="Make a kernel readable in /boot, or start any VM, for a whole proof.",
        )
    return ok(Rule.KVM_NOT_USABLE, read, kvm.reason)


def modules(readings: FindingsInput) -> Finding:
    """Expect every module; libvirt loads those that are merely available."""
    states = {name: readings.facts.modules.get(name, ModuleState.MISSING) for name in _NEEDED}
    read = ", ".join(f"{name} {state.value}" for name, state in states.items())
    missing = [name for name, state in states.items() if state not in _USABLE]
    if missing:
        missing_text = "; ".join(f"{name} ({_NEEDED[name]})" for name in missing)
        return problem(Rule.MODULE_MISSING, read, f"Missing: {missing_text}.", subjects=missing)
    if "/dev/net/tun" not in readings.facts.nodes:
        return problem(
            Rule.MODULE_MISSING,
            read,
            "There is no /dev/net/tun: no VM can be given a tap.",
            fix="`modprobe tun`, or pass the node into the container.",
            subjects=("tun",),
        )
    return ok(Rule.MODULE_MISSING, read, "All are there.")


def vhost_net(readings: FindingsInput) -> Finding:
    """Expect /dev/vhost-net to open: where it does not, the back end is silently QEMU's.

    Opening the node loads the module, so one that is not loaded is a problem only without a node.
    """
    state = readings.facts.modules.get("vhost_net", ModuleState.MISSING)
    node = readings.facts.nodes.get("/dev/vhost-net")
    read = f"/proc/modules: vhost_net {state.value}; /dev/vhost-net {_node_state(node)}"
    if state in (ModuleState.LOADED, ModuleState.BUILTIN):
        if node is None:
            return problem(
                Rule.VHOST_NET_MISSING,
                read,
                "The module is loaded, but there is no /dev/vhost-net.",
                fix="`mknod /dev/vhost-net c 10 238`, or pass the node into the container.",
            )
        return ok(Rule.VHOST_NET_MISSING, read, "It is there.")
    if state is ModuleState.AVAILABLE and node is not None:
        return ok(Rule.VHOST_NET_MISSING, read, "It loads when /dev/vhost-net is opened.")
    if state is ModuleState.AVAILABLE:
        return problem(
            Rule.VHOST_NET_MISSING,
            read,
            "The module is not loaded and there is no /dev/vhost-net that would load it: new "
            "virtio interfaces get QEMU's back end.",
        )
    return problem(
        Rule.VHOST_NET_MISSING,
        read,
        f"This kernel ({readings.facts.kernel.release}) has no vhost_net.",
        fix="Install a kernel that has it: the distribution's full one, not that for clouds.",
    )


def vhost_permission(readings: FindingsInput) -> Finding:
    """Check who opens the node: libvirt's daemon as root, or the user's own QEMU."""
    rule, node = Rule.VHOST_NET_DENIED, readings.facts.nodes.get("/dev/vhost-net")
    read = f"/dev/vhost-net {_node_state(node)}; {readings.facts.libvirt.uri}"
    if node is None:
        return not_applicable(rule, read, "There is no /dev/vhost-net.")
    if node:
        return ok(rule, read, "It may be read and written.")
    if readings.facts.libvirt.uri.endswith("/session"):
        return problem(rule, read, "QEMU of a session runs as this user, who may not open it.")
    return ok(rule, read, "This user may not open it, but libvirt's daemon opens it as root.")


def iommu(readings: FindingsInput) -> Finding:
    """Expect IOMMU groups, which alone prove that the IOMMU is on."""
    rule, facts = Rule.IOMMU_OFF, readings.facts.iommu
    units = listed(facts.units)
    read = f"/sys/kernel/iommu_groups: {len(facts.groups)}; /sys/class/iommu: {units}"
    if not facts.on:
        reason, fix = _why_off(readings)
        return problem(rule, read, reason, fix=fix)
    log_line = readings.says("No interrupt remapping|nterrupt remapping.*(not|disab)")
    if log_line:
        return warning(
            rule,
            read,
            f"The IOMMU is on; the kernel complains about interrupt remapping: {log_line.strip()}",
            fix="Switch interrupt remapping (x2APIC) on in the firmware; vfio refuses without.",
        )
    log_line = readings.says("No available IOMMU models")
    if log_line:
        return warning(
            rule,
            read,
            f"The IOMMU is on, and VFIO met none that it knows: {log_line.strip()}",
            fix="`modprobe vfio_iommu_type1`; a group made in no-IOMMU mode cannot go to a VM.",
        )
    unsafe = readings.facts.kvm.parameters.get("vfio.enable_unsafe_noiommu_mode")
    if unsafe in ("Y", "1"):
        return warning(
            rule,
            read,
            "It is on, and VFIO may also hand out devices that it does not isolate.",
            fix="`echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode`.",
        )
    return ok(rule, read, f"It is on, with {len(facts.groups)} groups.")


def locked_memory(readings: FindingsInput) -> Finding:
    """Check the limit of the process that starts QEMU, unless it may raise the limit."""
    rule, daemon = Rule.LOCKED_MEMORY, readings.symptoms.daemon
    # A daemon that was started since with another limit has mended it.
    since = daemon.started_at if daemon is not None and daemon.started_at is not None else 0
    log_line = readings.symptoms.says(_LOCKED_MEMORY, since=since)
    if daemon is None:
        read = "limits of libvirt's daemon"
        if log_line:
            return problem(rule, read, f"A log says: {log_line.strip()}")
        why = readings.symptoms.unread or "No daemon of libvirt runs now (it may start on demand)."
        return unknown(rule, read, why)
    limit = "unlimited" if daemon.locked_bytes is None else f"{daemon.locked_bytes >> 10} KiB"
    read = (
        f"/proc/PID/limits of {daemon.name}: {limit}, may raise it: {_yes_or_no(daemon.may_raise)}"
    )
    if log_line:
        return warning(rule, read, f"A log says: {log_line.strip()}")
    if daemon.may_raise or daemon.locked_bytes is None:
        return ok(rule, read, "It gives each VM the limit that it needs.")
    required = [(vm.memory_mib + 1024) << 20 for vm in readings.vms] or [2 << 30]
    if daemon.locked_bytes < min(required):
        return problem(rule, read, "That is less than any VM with a device needs.")
    return warning(rule, read, "It cannot be raised for a VM that needs more.")


def bridge_netfilter(readings: FindingsInput) -> Finding:
    """Check br_netfilter together with the policy of FORWARD, which drop what VMs send."""
    rule, symptoms = Rule.BRIDGE_NETFILTER, readings.symptoms
    if symptoms.unread:
        return unknown(rule, "sysctl, iptables", symptoms.unread)
    switch = {None: "not loaded", True: "1", False: "0"}[symptoms.bridge_netfilter]
    read = f"bridge-nf-call-iptables {switch}; policy of FORWARD {symptoms.forward_policy or '–'}"
    if not symptoms.bridge_netfilter:
        return ok(rule, read, "Bridged packets do not meet iptables.")
    if symptoms.forward_policy == "DROP":
        return problem(rule, read, "Bridged packets meet iptables, which drops what is forwarded.")
    return warning(rule, read, "Bridged packets meet iptables; a rule there may drop them.")


def leftovers(readings: FindingsInput) -> Finding:
    """Report what journals and the host itself say of runs that died."""
    read = "journals, /sys/class/net/kvmlab*"
    if readings.leftovers:
        return problem(Rule.LEFTOVERS, read, " ".join(readings.leftovers))
    return ok(Rule.LEFTOVERS, read, "Nothing was left behind.")


def _why_off(readings: FindingsInput) -> tuple[str, str]:
    """Return why no PCI device can be isolated, and the fix; no fix for the rule's own."""
    facts = readings.facts
    words = facts.kernel.command_line.split()
    arguments = [
        word for word in words if word.startswith(("intel_iommu=", "amd_iommu=", "iommu="))
    ]
    off = [word for word in arguments if word.rpartition("=")[2].split(",")[0] in ("off", "0")]
    arm = facts.cpu.architecture == "aarch64"
    if off:
        text = " ".join(off)
        return (
            f"The kernel's command line switches it off ({text}).",
            f"Remove {text} from the kernel's command line, and boot again.",
        )
    if any(not group.isolates for group in facts.iommu.groups):
        reason = "There are only groups that VFIO made without an IOMMU, which isolate nothing."
        return reason, _GUEST_FIX if facts.cpu.is_guest else ""
    if facts.iommu.other_groups:
        return (
            f"The IOMMU ({listed(facts.iommu.units)}) has {facts.iommu.other_groups} groups, all "
            "of devices that are not on the PCI bus: this machine isolates no PCI device.",
            "Use a machine whose PCI host bridge is behind an IOMMU (SMMU).",
        )
    if facts.iommu.units:
        reason = (
            f"The kernel found an IOMMU ({listed(facts.iommu.units)}) and made no groups: it is "
            "not switched on for devices."
        )
        return reason, ""
    if facts.cpu.is_guest:
        return "This machine is itself a VM, and has no virtual IOMMU.", _GUEST_FIX
    if arm:
        return (
            "The firmware describes no IOMMU (SMMU) to the kernel.",
            "Switch the SMMU on in the firmware, or use a machine that has one.",
        )
    if facts.cpu.vendor in ("AMD", "Hygon") or any(w.startswith("amd_iommu=") for w in arguments):
        asked = f" ({' '.join(arguments)})" if arguments else ", which needs no argument"
        return (
            f"The kernel looked for it{asked} and found none: the firmware hides it.",
            "Switch IOMMU (AMD-Vi) on in the firmware: `Enabled`, not `Auto`, and SVM with it.",
        )
    if any(word.startswith("intel_iommu=on") for word in arguments):
        return (
            f"The kernel was asked for it ({' '.join(arguments)}) and found none: the firmware "
            "hides it, or this machine is a VM without one.",
            "Switch VT-d on in the firmware.",
        )
    return (
        f"No groups, and the kernel was not asked ({' '.join(arguments) or 'no iommu word'}).",
        "",
    )


def _node_state(node: bool | None) -> str:
    return {None: "missing", True: "may be used", False: "may not be used"}[node]


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


JUDGES: Final[tuple[Judge, ...]] = (
    libvirt_binding,
    libvirt,
    iproute,
    versions,
    kvm,
    modules,
    vhost_net,
    vhost_permission,
    iommu,
    locked_memory,
    bridge_netfilter,
    leftovers,
)
