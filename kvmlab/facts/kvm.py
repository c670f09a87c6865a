"""KVM judged by the CPU and by guests that run, never by a device node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.facts.types import CpuFacts, KvmFacts, KvmProof, ModuleState

_PARAMETER: Final = re.compile(r"/sys/module/(kvm\w*|vfio)/parameters/(\w+)")
_YES: Final = ("Y", "1")


def parse_parameters(tree: Mapping[str, str]) -> dict[str, str]:
    """Return ``{"kvm_amd.nested": "1"}`` for ``/sys/module/kvm_amd/parameters/nested``."""
    matches = ((_PARAMETER.fullmatch(path), value) for path, value in tree.items())
    return {f"{match[1]}.{match[2]}": value for match, value in matches if match is not None}


def parse_boot(text: str) -> tuple[KvmProof, str]:
    """Parse the one line that booting a guest printed.

    ::

        kernel: [    0.000000] Linux version 6.12.41+deb13-amd64 (debian-kernel@lists.debian.org)

    or ``firmware: SeaBIOS (version 1.16.3-debian-1.16.3-2)``, or ``nothing: …`` with the reason.

    Raises:
        OutputError: it is none of these.
    """
    kind, separator, detail = text.strip().partition(": ")
    proofs = {
        "kernel": KvmProof.KERNEL,
        "firmware": KvmProof.FIRMWARE,
        "nothing": KvmProof.NONE,
    }
    if not separator or kind not in proofs:
        raise OutputError("Whether a guest boots could not be understood.", evidence=text[:400])
    return proofs[kind], detail


def judge_kvm(
    *,
    cpu: CpuFacts,
    modules: Mapping[str, ModuleState],
    nodes: Mapping[str, bool],
    parameters: Mapping[str, str],
    guests: tuple[str, ...],
    boot: tuple[KvmProof, str] | None,
) -> KvmFacts:
    """Judge KVM, with the sentence that gives the reason.

    ``boot`` is what booting a guest showed, None where that was not tried.
    """
    proof, reason = _verdict(cpu=cpu, nodes=nodes, guests=guests, boot=boot)
    module = next(
        (
            name
            for name in ("kvm_intel", "kvm_amd")
            if modules.get(name) in (ModuleState.LOADED, ModuleState.BUILTIN)
        ),
        None,
    )
    nested = parameters.get(f"{module}.nested")
    return KvmFacts(
        usable=proof is not KvmProof.NONE,
        proof=proof,
        reason=reason,
        node="/dev/kvm" in nodes,
        accessible=nodes.get("/dev/kvm", False),
        module=module,
        nested=nested in _YES if nested is not None else None,
        parameters=parameters,
    )


def needs_boot(cpu: CpuFacts, nodes: Mapping[str, bool], guests: tuple[str, ...]) -> bool:
    """Return whether only booting a guest can prove KVM."""
    return not guests and _disproof(cpu, nodes) is None


def _disproof(cpu: CpuFacts, nodes: Mapping[str, bool]) -> str | None:
    if "/dev/kvm" not in nodes:
        return (
            "There is no /dev/kvm: the CPU cannot run guests, the firmware forbids it, or the "
            "module (kvm_intel, kvm_amd) is not loaded."
        )
    # Both of KVM's drivers for x86 need one of the two; a KVM without them is paravirtual and
    # runs only kernels made for it, although firmware may start on it.
    if cpu.architecture == "x86_64" and cpu.virtualisation is None:
        return (
            "/dev/kvm is there, but the CPU shows neither vmx nor svm: this KVM is paravirtual, "
            "and ordinary guests do not boot on it."
        )
    return None


def _verdict(
    *,
    cpu: CpuFacts,
    nodes: Mapping[str, bool],
    guests: tuple[str, ...],
    boot: tuple[KvmProof, str] | None,
) -> tuple[KvmProof, str]:
    disproof = _disproof(cpu, nodes)
    if disproof is not None:
        return KvmProof.NONE, disproof
    if guests:
        return KvmProof.GUEST, f"{guests[0]} is alive under KVM."
    if boot is None:
        return KvmProof.NONE, "Nothing is running under KVM, and no guest was booted to see."
    proof, detail = boot
    if proof is KvmProof.KERNEL:
        return proof, "A 64-bit Linux kernel was just booted under KVM."
    if proof is KvmProof.FIRMWARE:
        return proof, (
            "The CPU has the instructions and firmware was just run under KVM; no kernel could be "
            "read that would prove more."
        )
    return proof, f"/dev/kvm is there, and yet no guest boots: {detail}"
