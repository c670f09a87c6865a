"""Rules about the machine, its kernel and libvirt."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.case import Case, Judge, listed
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, unknown, warning
from kvmlab.facts import KvmProof, ModuleState, Rule

_USABLE: Final = (ModuleState.LOADED, ModuleState.BUILTIN, ModuleState.AVAILABLE)
_GUEST_FIX: Final = (
    "Give this VM a virtual IOMMU (libvirt: <iommu model='intel'><driver intremap='on'/></iommu>) "
    "and boot it with `intel_iommu=on`; on a rented machine use the embedded host."
)
#: Modules that a scheme needs, and the scheme's place in the article.
_NEEDED: Final = {
    "tun": "taps, for every VM on a bridge",
    "bridge": "the bridge schemes",
    "macvtap": "macvtap",
    "vfio_pci": "passthrough and SR-IOV",
}


def libvirt_binding(case: Case) -> Finding:
    """Without it nothing of libvirt can be said."""
    rule, read = Rule.LIBVIRT_PYTHON_MISSING, "the Python package libvirt, here"
    if case.desk is None:
        return not_applicable(rule, read, "This machine was not looked at.")
    if case.desk.libvirt_binding:
        return ok(rule, read, "It is there.")
    return problem(rule, read, "It is missing.")


def libvirt(case: Case) -> Finding:
    """It answers, and runs a QEMU."""
    rule, read, facts = Rule.LIBVIRT_MISSING, case.facts.libvirt.uri, case.facts.libvirt
    if facts.problem:
        return problem(rule, read, facts.problem)
    return ok(rule, read, f"libvirt {facts.version} with QEMU {facts.qemu_version}.")


def iproute(case: Case) -> Finding:
    """An inspection fails without it, so that there is one says all."""
    return ok(Rule.IPROUTE_MISSING, "ip -j -d address", f"{len(case.facts.links)} interfaces.")


def kvm(case: Case) -> Finding:
    """A guest that ran is the only proof."""
    kvm = case.facts.kvm
    read = f"CPU flags, /dev/kvm, a guest ({kvm.proof.value})"
    if not kvm.usable:
        return problem(Rule.KVM_NOT_USABLE, read, kvm.reason)
    if kvm.proof is KvmProof.FIRMWARE:
        return warning(
            Rule.KVM_NOT_USABLE,
            read,
            kvm.reason,
            fix="Make a kernel readable in /boot, or start any VM, for a whole proof.",
        )
    return ok(Rule.KVM_NOT_USABLE, read, kvm.reason)


def modules(case: Case) -> Finding:
    """What libvirt loads when it needs it may be merely available."""
    found = {name: case.facts.modules.get(name, ModuleState.MISSING) for name in _NEEDED}
    read = ", ".join(f"{name} {state.value}" for name, state in found.items())
    missing = [name for name, state in found.items() if state not in _USABLE]
    if missing:
        told = "; ".join(f"{name} ({_NEEDED[name]})" for name in missing)
        return problem(Rule.MODULE_MISSING, read, f"Missing: {told}.", subjects=missing)
    if "/dev/net/tun" not in case.facts.nodes:
        return problem(
            Rule.MODULE_MISSING,
            read,
            "There is no /dev/net/tun: no VM can be given a tap.",
            fix="`modprobe tun`, or pass the node into the container.",
            subjects=("tun",),
        )
    return ok(Rule.MODULE_MISSING, read, "All are there.")


def vhost_net(case: Case) -> Finding:
    """Loaded, or the back end is silently QEMU's."""
    state = case.facts.modules.get("vhost_net", ModuleState.MISSING)
    node = case.facts.nodes.get("/dev/vhost-net")
    read = f"/proc/modules: vhost_net {state.value}; /dev/vhost-net {_there(node)}"
    if state in (ModuleState.LOADED, ModuleState.BUILTIN):
        if node is None:
            return problem(
                Rule.VHOST_NET_MISSING,
                read,
                "The module is loaded, but there is no /dev/vhost-net.",
                fix="`mknod /dev/vhost-net c 10 238`, or pass the node into the container.",
            )
        return ok(Rule.VHOST_NET_MISSING, read, "It is there.")
    if state is ModuleState.AVAILABLE:
        return problem(
            Rule.VHOST_NET_MISSING,
            read,
            "The module exists and is not loaded: new virtio interfaces get QEMU's back end.",
        )
    return problem(
        Rule.VHOST_NET_MISSING,
        read,
        f"This kernel ({case.facts.kernel.release}) has no vhost_net.",
        fix="Install a kernel that has it: the distribution's full one, not that for clouds.",
    )


def vhost_permission(case: Case) -> Finding:
    """Who opens the node: libvirt's daemon as root, or the user's own QEMU."""
    rule, node = Rule.VHOST_NET_DENIED, case.facts.nodes.get("/dev/vhost-net")
    read = f"/dev/vhost-net {_there(node)}; {case.facts.libvirt.uri}"
    if node is None:
        return not_applicable(rule, read, "There is no /dev/vhost-net.")
    if node:
        return ok(rule, read, "It may be read and written.")
    if case.facts.libvirt.uri.endswith("/session"):
        return problem(rule, read, "QEMU of a session runs as this user, who may not open it.")
    return ok(rule, read, "This user may not open it, but libvirt's daemon opens it as root.")


def iommu(case: Case) -> Finding:
    """Groups show it, and nothing else does."""
    rule, facts = Rule.IOMMU_OFF, case.facts.iommu
    units = listed(facts.units)
    read = f"/sys/kernel/iommu_groups: {len(facts.groups)}; /sys/class/iommu: {units}"
    if not facts.on:
        fix = _GUEST_FIX if case.facts.cpu.is_guest and not facts.units else ""
        return problem(rule, read, _why_off(case), fix=fix)
    said = case.symptoms.says("[Nn]o [Ii]nterrupt [Rr]emapping|interrupt remapping.*(not|disab)")
    if said:
        return warning(
            rule,
            read,
            f"The IOMMU is on; the kernel complains about interrupt remapping: {said.strip()}",
            fix="Switch interrupt remapping (x2APIC) on in the firmware; vfio refuses without.",
        )
    return ok(rule, read, f"It is on, with {len(facts.groups)} groups.")


def locked_memory(case: Case) -> Finding:
    """The limit of whoever starts QEMU, unless that may raise it."""
    rule, daemon = Rule.LOCKED_MEMORY, case.symptoms.daemon
    said = case.symptoms.says("VFIO_MAP_DMA|RLIMIT_MEMLOCK")
    if daemon is None:
        read = "limits of libvirt's daemon"
        if said:
            return problem(rule, read, f"A log says: {said.strip()}")
        why = case.symptoms.unread or "No daemon of libvirt runs now (it may start on demand)."
        return unknown(rule, read, why)
    limit = "unlimited" if daemon.locked_bytes is None else f"{daemon.locked_bytes >> 10} KiB"
    read = f"/proc/PID/limits of {daemon.name}: {limit}, may raise it: {_yes(daemon.may_raise)}"
    if said:
        return warning(rule, read, f"A log says: {said.strip()}")
    if daemon.may_raise or daemon.locked_bytes is None:
        return ok(rule, read, "It gives each VM the limit that it needs.")
    needed = [(vm.memory_mib + 1024) << 20 for vm in case.vms] or [2 << 30]
    if daemon.locked_bytes < min(needed):
        return problem(rule, read, "That is less than any VM with a device needs.")
    return warning(rule, read, "It cannot be raised for a VM that needs more.")


def bridge_netfilter(case: Case) -> Finding:
    """Both together drop what VMs send."""
    rule, seen = Rule.BRIDGE_NETFILTER, case.symptoms
    if seen.unread:
        return unknown(rule, "sysctl, iptables", seen.unread)
    switch = {None: "not loaded", True: "1", False: "0"}[seen.bridge_netfilter]
    read = f"bridge-nf-call-iptables {switch}; policy of FORWARD {seen.forward_policy or '–'}"
    if not seen.bridge_netfilter:
        return ok(rule, read, "Bridged packets do not meet iptables.")
    if seen.forward_policy == "DROP":
        return problem(rule, read, "Bridged packets meet iptables, which drops what is forwarded.")
    return warning(rule, read, "Bridged packets meet iptables; a rule there may drop them.")


def leftovers(case: Case) -> Finding:
    """From journals and from the host itself."""
    read = "journals, /sys/class/net/kvmlab*"
    if case.leftovers:
        return problem(Rule.LEFTOVERS, read, " ".join(case.leftovers))
    return ok(Rule.LEFTOVERS, read, "Nothing was left behind.")


def _why_off(case: Case) -> str:
    words = case.facts.kernel.command_line.split()
    asked = [word for word in words if word.startswith(("intel_iommu=", "amd_iommu=", "iommu="))]
    if case.facts.iommu.units:
        return (
            f"The kernel found an IOMMU ({listed(case.facts.iommu.units)}) and made no groups: it "
            "is not switched on for devices."
        )
    if any(word.startswith("intel_iommu=on") for word in asked):
        return (
            f"The kernel was asked for it ({' '.join(asked)}) and found none: the firmware hides "
            "it, or this machine is a VM without one."
        )
    if case.facts.cpu.is_guest:
        return "This machine is itself a VM, and has no virtual IOMMU."
    return f"No groups, and the kernel was not asked ({' '.join(asked) or 'no iommu word'})."


def _there(node: bool | None) -> str:
    return {None: "missing", True: "may be used", False: "may not be used"}[node]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


JUDGES: Final[tuple[Judge, ...]] = (
    libvirt_binding,
    libvirt,
    iproute,
    kvm,
    modules,
    vhost_net,
    vhost_permission,
    iommu,
    locked_memory,
    bridge_netfilter,
    leftovers,
)
