"""The accelerator of the lab host: KVM where real boots prove it, otherwise emulation (TCG).

That /dev/kvm exists proves nothing: a paravirtual KVM was seen that runs a boot sector and dies in
the first instructions of a kernel. So three questions are put, cheapest first: may the node be
opened; does a boot sector run and see virtualization of its own (without it the lab host could
not run its test VM); does the lab host's own kernel come up. The answer is cached until the
machine reboots.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from kvmlab import directories, process
from kvmlab.embedded.qemu import Qemu
from kvmlab.embedded.settings import Settings
from kvmlab.embedded.topology import KERNEL
from kvmlab.errors import CommandTimeout, KvmlabError, Unavailable

KVM_NODE = Path("/dev/kvm")
SECTOR_SEC = 8.0
KERNEL_SEC = 20.0
SECTOR_LINE = "kvmlab: boots, nested virtualization: "
# The last message of a kernel without a root disk, at the end of its own start-up.
KERNEL_LINE = "Unable to mount root fs"

# probe.S, assembled; 512 bytes once padded and signed.
_SECTOR = base64.b64decode(
    "6gV8AAAxwI7YjtC8AHz8vmN86EIAZrgBAAAAD6JmD7rhBXIkZrgAAACAD6JmPQEAAIByD2a4AQAAgA+iZg+64QJyBb6P"
    "fOsDvop86AkAugEFMMDu9Ov9uvgDrITAdAPu6/jDa3ZtbGFiOiBib290cywgbmVzdGVkIHZpcnR1YWxpemF0aW9uOiAA"
    "eWVzCgBubwo="
)


@dataclass(frozen=True)
class Accel:
    """An accelerator and why it was chosen; ``cpu_id`` is what a saved state depends on."""

    name: str
    reason: str
    cpu_id: str = ""

    def __str__(self) -> str:
        """Return name and reason: `TCG emulation: …` or `KVM: …`."""
        return f"{'KVM' if self.name == 'kvm' else 'TCG emulation'}: {self.reason}"

    def to_dict(self) -> dict[str, str]:
        """Return a form for JSON."""
        return asdict(self)


def choose_accel(settings: Settings, qemu: Qemu, image: Path) -> Accel:
    """Choose the accelerator for the lab host, and give the reason.

    Raises:
        Unavailable: KVM was asked for and cannot run the lab host.
    """
    if settings.accel == "tcg":
        return Accel("tcg", "asked for")
    if settings.clock.value == "virtual":
        return Accel("tcg", "the virtual clock counts emulated instructions")
    proof = prove_kvm(qemu, image / KERNEL)
    if settings.accel == "kvm" and proof.name != "kvm":
        raise Unavailable(
            f"KVM was asked for, but it cannot run the lab host on this machine: {proof.reason}.",
            rule="embedded-kvm",
            todo="Use the accelerator auto or tcg; emulation needs no hardware support.",
        )
    return proof


def prove_kvm(qemu: Qemu, kernel: Path) -> Accel:
    """Try KVM with ``qemu`` by real boots; cache the answer until this machine reboots."""
    if not KVM_NODE.exists():
        return Accel("tcg", f"{KVM_NODE} does not exist")
    if not os.access(KVM_NODE, os.R_OK | os.W_OK):
        return Accel("tcg", f"{KVM_NODE} may not be opened by this user (group kvm)")
    key = {"boot": _boot_id(), "qemu": qemu.digest, "kernel": _file_id(kernel)}
    store = directories.probes_dir() / "kvm.json"
    remembered = _remembered(store, key)
    if remembered is not None:
        return remembered
    reason = _sector_refusal(qemu) or _kernel_refusal(qemu, kernel)
    if reason:
        proof = Accel("tcg", f"KVM is not usable here: {reason}")
    else:
        proof = Accel("kvm", "a kernel booted and sees nested virtualization", _cpu_id())
    text = json.dumps({"key": key, "proof": proof.to_dict()})
    directories.write_atomically(store, text, mode=0o600)
    return proof


def boot_sector() -> bytes:
    """Return the 512 bytes of probe.S."""
    return _SECTOR.ljust(510, b"\0") + b"\x55\xaa"


def boot_sector_argv(qemu: Qemu, accel: str, sector: Path) -> tuple[str, ...]:
    """Return the command of a QEMU with nothing but the boot sector, which ends it."""
    cpu = "host" if accel == "kvm" else "EPYC,+svm"
    return (
        *(*qemu.argv, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc"),
        *("-m", "32M", "-accel", accel, "-cpu", cpu, "-serial", "stdio"),
        *("-device", "isa-debug-exit,iobase=0x501,iosize=2"),
        *("-drive", f"file={sector},format=raw,if=floppy,readonly=on", "-boot", "a"),
    )


def run_boot_sector(qemu: Qemu, accel: str) -> str:
    """Boot the sector and return what it says about nested virtualization: "yes" or "no".

    Raises:
        KvmlabError: it did not boot, or not in time.
    """
    with tempfile.TemporaryDirectory(prefix="kvmlab-probe-") as folder:
        sector = Path(folder) / "probe.bin"
        sector.write_bytes(boot_sector())
        done = process.run(
            boot_sector_argv(qemu, accel, sector),
            timeout_sec=SECTOR_SEC,
            check=False,  # isa-debug-exit always ends QEMU with an odd code
            env=dict(qemu.env),
        )
    _, separator, answer = done.stdout.partition(SECTOR_LINE)
    if not separator:
        raise KvmlabError(
            "the boot sector printed nothing", evidence=(done.stderr or done.stdout)[-2000:]
        )
    return answer.strip()


def _sector_refusal(qemu: Qemu) -> str:
    try:
        nested = run_boot_sector(qemu, "kvm")
    except CommandTimeout:
        return f"a boot sector did not run within {SECTOR_SEC:g} s"
    except KvmlabError as error:
        last_line = (error.evidence.strip().splitlines() or [error.message])[-1]
        return f"a boot sector did not run ({last_line})"
    if nested != "yes":
        return "it gives guests no virtualization of their own (nested is off)"
    return ""


def _kernel_refusal(qemu: Qemu, kernel: Path) -> str:
    argv = (
        *(*qemu.argv, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35,kernel-irqchip=split", "-m", "256M", "-accel", "kvm", "-cpu", "host"),
        *("-serial", "stdio", "-kernel", str(kernel)),
        *("-append", "console=ttyS0 panic=-1 8250.nr_uarts=1"),
    )
    try:
        done = process.run(argv, timeout_sec=KERNEL_SEC, check=False, env=dict(qemu.env))
    except CommandTimeout:
        return f"the lab host's kernel did not boot within {KERNEL_SEC:g} s"
    if KERNEL_LINE not in done.stdout:
        return "the lab host's kernel did not boot"
    return ""


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _file_id(path: Path) -> str:
    stat = path.stat()
    return f"{path}:{stat.st_size}:{stat.st_mtime_ns}"


def _cpu_id() -> str:
    """Return model and flags of this machine's CPU: a state saved under KVM fits no other."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    fields = ("model name", "flags")
    return " | ".join(
        next((line for line in lines if line.startswith(field)), "") for field in fields
    )


def _remembered(store: Path, key: dict[str, str]) -> Accel | None:
    try:
        data = json.loads(store.read_text(encoding="utf-8"))
        if data["key"] != key:
            return None
        return Accel(**data["proof"])
    except (OSError, ValueError, LookupError, TypeError):
        # Nothing stored yet, or not by this version: the probe simply runs again.
        return None
