"""Rules about words and parameters of kernels: the host's with KVM and vhost, and the guest's."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.findings_input import FindingsInput, Judge, listed
from kvmlab.doctor.model import Finding, not_applicable, ok, unknown, warning
from kvmlab.facts import HostFacts, Link, Rule
from kvmlab.facts.versions import version_tuple

#: A guest whose timer ticks a thousand times a second never lets a CPU of the host sleep.
_LONG_POLL_NS: Final = 1_000_000
#: Drivers that run programs of XDP themselves, and since which Linux. Source: "BPF Features by
#: Linux Kernel Version" of bcc; of ice, igb and igc their first commits.
_NATIVE_XDP: Final = {
    "mlx4_core": (4, 8),
    "mlx5_core": (4, 9),
    "nfp": (4, 10),
    "qede": (4, 10),
    "virtio-pci": (4, 10),
    "bnxt_en": (4, 11),
    "ixgbe": (4, 12),
    "i40e": (4, 13),
    "ixgbevf": (4, 17),
    "ice": (5, 5),
    "igb": (5, 10),
    "igc": (5, 13),
}
#: KVM's hardware for the interrupt controller of a guest.
_APIC_HARDWARE: Final = {"kvm_intel.enable_apicv": "APICv", "kvm_amd.avic": "AVIC"}
_YES: Final = ("Y", "1")


def bounce_buffers(readings: FindingsInput) -> Finding:
    """List kernels that were told to copy what devices send and receive."""
    rule, read = Rule.BOUNCE_BUFFERS, "/proc/cmdline of the host and in the VM: swiotlb="
    copying = [name for name, words in _command_lines(readings) if _is_forced(words)]
    if copying:
        return warning(
            rule, read, f"swiotlb=force: the kernel of {listed(copying)}.", subjects=copying
        )
    return ok(rule, read, "No kernel was told to copy.")


def halt_polling(readings: FindingsInput) -> Finding:
    """Expect KVM to wait for some microseconds before a halted vCPU sleeps."""
    rule, facts = Rule.HALT_POLLING, readings.facts
    text = facts.kvm.parameters.get("kvm.halt_poll_ns", "")
    read = f"/sys/module/kvm/parameters/halt_poll_ns: {text or '–'}"
    if not text.isdecimal():
        return not_applicable(rule, read, "KVM is not loaded, or does not say.")
    if int(text) >= _LONG_POLL_NS:
        return warning(rule, read, f"KVM spins for up to {int(text) // 1000} µs for an idle vCPU.")
    if int(text) == 0 and facts.emulated is not None:
        return ok(rule, read, "0, as an embedded host has it: its clock counts what KVM spins.")
    if int(text) == 0:
        return warning(rule, read, "A halted vCPU sleeps at once.")
    return ok(rule, read, f"Up to {int(text) // 1000} µs.")


def generic_xdp(readings: FindingsInput) -> Finding:
    """List ports with a program of XDP in generic mode whose driver could run it."""
    rule, read = Rule.GENERIC_XDP, "ip -d link: xdp; drivers of ports"
    facts = readings.facts
    programs = [link for link in facts.links if link.generic_xdp and not link.kind]
    slow = [link for link in programs if _can_run_xdp(facts, link)]
    if slow:
        names = [link.name for link in slow]
        text = listed([f"{link.name} ({_driver(facts, link)})" for link in slow])
        return warning(
            rule,
            read,
            f"In generic mode, although the driver can run it: {text}.",
            fix=f"`ip link set dev {names[0]} xdpgeneric off`, then attach the program with "
            "`xdpdrv`. A driver may refuse that: an MTU above a page, LRO, too many channels.",
            subjects=names,
        )
    if programs:
        text = listed([f"{link.name} ({_driver(facts, link) or '–'})" for link in programs])
        return ok(rule, read, f"In generic mode, and no native one of the driver is known: {text}.")
    return ok(rule, read, "No port has a program in generic mode.")


def vhost_zerocopy(readings: FindingsInput) -> Finding:
    """Expect vhost to copy what VMs send."""
    rule, read = Rule.VHOST_ZEROCOPY, "/sys/module/vhost_net/parameters/experimental_zcopytx"
    if readings.symptoms.unread:
        return unknown(rule, read, readings.symptoms.unread)
    zerocopy = readings.symptoms.tuning.zerocopy
    if zerocopy is None:
        return not_applicable(rule, read, "vhost_net is not loaded, or does not say.")
    if zerocopy:
        return warning(rule, read, "vhost sends the guest's own buffers.")
    return ok(rule, read, "vhost copies what VMs send.")


def mitigations_off(readings: FindingsInput) -> Finding:
    """List kernels that leave bugs of their CPU as they are; not those of the lab's own VMs."""
    rule, facts = Rule.MITIGATIONS_OFF, readings.facts
    read = "/proc/cmdline of the host and in the VM; /sys/devices/system/cpu/vulnerabilities"
    if facts.emulated is not None:
        text = "An embedded host has mitigations=off: it runs nobody's VMs but the lab's."
        return not_applicable(rule, read, text)
    guest = readings.guest
    known = {facts.host_name: readings.symptoms.vulnerabilities}
    if guest is not None:
        known[guest.vm] = guest.vulnerabilities
    own = {vm.name for vm in readings.vms if vm.lab}
    open_to = {
        name: [bug for bug, says in known[name].items() if "Vulnerable" in says]
        for name, words in _command_lines(readings)
        if name not in own and _last(words, "mitigations") == "off"
    }
    # A CPU may have none of the bugs; where the kernel does not say, it may have all.
    bad = {name: bugs for name, bugs in open_to.items() if bugs or not known[name]}
    if bad:
        text = "; ".join(f"{name} ({', '.join(bugs) or '?'})" for name, bugs in bad.items())
        return warning(rule, read, f"With mitigations=off: {text}.", subjects=list(bad))
    if open_to:
        text = f"mitigations=off, and the CPU has none of the known bugs: {listed(list(open_to))}."
        return ok(rule, read, text)
    return ok(rule, read, "No kernel was told to leave them out.")


def x2apic_missing(readings: FindingsInput) -> Finding:
    """List VMs without an x2apic, by their XML or by what the guest's kernel sees."""
    rule, read = Rule.X2APIC_MISSING, "live XML: <cpu>; in the VM: /proc/cpuinfo"
    facts, guest = readings.facts, readings.guest
    if facts.cpu.architecture != "x86_64":
        return not_applicable(rule, read, "Only CPUs of x86 have one.")
    if not readings.vms:
        if readings.vms_unread:
            return unknown(rule, read, readings.vms_unread)
        return not_applicable(rule, read, "No VM runs.")
    without = [vm.name for vm in readings.vms if "x2apic" in vm.without]
    if guest is not None and guest.x2apic is False and guest.vm not in without:
        word = " (nox2apic)" if "nox2apic" in guest.command_line.split() else ""
        without.append(f"{guest.vm}{word}")
    if not without:
        return ok(rule, read, f"Nothing takes it from {listed([vm.name for vm in readings.vms])}.")
    by_hardware = [
        name for key, name in _APIC_HARDWARE.items() if facts.kvm.parameters.get(key) in _YES
    ]
    if by_hardware:
        text = f"Without one: {listed(without)}; {by_hardware[0]} serves the older one."
        return ok(rule, read, text, without)
    return warning(rule, read, f"Without an x2apic: {listed(without)}.", subjects=without)


def _command_lines(readings: FindingsInput) -> list[tuple[str, list[str]]]:
    """Return whose kernel was started with which words: the host's, and that of the VM read."""
    lines = [(readings.facts.host_name, readings.facts.kernel.command_line)]
    if readings.guest is not None:
        lines.append((readings.guest.vm, readings.guest.command_line))
    return [(name, text.split()) for name, text in lines]


def _last(words: list[str], name: str) -> str:
    """Return the value of a word of a command line: the last one counts."""
    values = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return values[-1] if values else ""


def _is_forced(words: list[str]) -> bool:
    """Return whether bounce buffers are forced: ``swiotlb=65536,force`` sets their size as well."""
    return "force" in _last(words, "swiotlb").split(",")


def _driver(facts: HostFacts, link: Link) -> str:
    names = (port.driver or "" for port in facts.ports if link.name in port.names)
    return next(names, "")


def _can_run_xdp(facts: HostFacts, link: Link) -> bool:
    since = _NATIVE_XDP.get(_driver(facts, link))
    return since is not None and version_tuple(facts.kernel.release) >= since


JUDGES: Final[tuple[Judge, ...]] = (
    bounce_buffers,
    halt_polling,
    generic_xdp,
    vhost_zerocopy,
    mitigations_off,
    x2apic_missing,
)
