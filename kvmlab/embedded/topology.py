"""The lab host's hardware: QEMU arguments for the article's PCI inventory.

The lab host sees::

    00:02.0  virtio-net     management, reached through 127.0.0.1 of this machine
    00:03.0  virtio-blk     root filesystem, a squashfs that is never written
    04:00.0  82574L         to hand over whole; shares an IOMMU group with 04:00.1
    04:00.1  82574L         the other function of that card
    05:00.0  82574L         the far end of their cable
    0b:00.0  82576          SR-IOV, seven VFs, the port under test
    0b:00.1  82576          SR-IOV, seven VFs, cabled to 0b:00.0: the peer

Everything here is a pure function of frozen values. Whatever changes an argument other than a
path or a port changes `machine_identity`, and with it the key of the saved states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kvmlab.clock import Clock

ROOT_DISK = "rootfs.sqfs"
KERNEL = "vmlinuz"
INITRD = "initrd"

# The MAC addresses are Intel's (00:1b:21), as on the article's cards.
MAC_MANAGEMENT = "52:54:00:6b:76:01"
MAC_E1000E = ("00:1b:21:88:69:dc", "00:1b:21:88:69:dd", "00:1b:21:88:69:e0")
MAC_IGB = ("00:1b:21:76:00:10", "00:1b:21:76:00:11")

# Each word is there for a reason that a boot without it has shown: the timer check panics and the
# watchdogs fire where CPU time is stolen, the kernel's self tests take seconds when emulated. To
# wait for RCU's grace periods in the usual way takes some ticks for each counter set or removed.
KERNEL_WORDS = (
    "console=ttyS0",
    "quiet",
    "intel_iommu=on",
    "iommu=pt",
    "mitigations=off",
    "no_timer_check",
    "tsc=reliable",
    "nowatchdog",
    "nmi_watchdog=0",
    "random.trust_cpu=on",
    "cryptomgr.notests",
    "8250.nr_uarts=1",
    "audit=0",
    "panic=-1",
    "net.ifnames=0",
    "rcupdate.rcu_expedited=1",
)


@dataclass(frozen=True)
class Hardware:
    """A lab host to be started: its hardware, and its files and ports on this machine.

    Attributes:
        image: directory with the root disk, kernel and initrd.
        accel: "kvm" or "tcg".
        ram_path: file behind the memory.
        ram_shared: whether the lab host writes to that file; if not, it is only read, and what
            the lab host writes stays its own.
        incoming: start paused and wait for a saved state.
        qmp_fd: descriptor of a connected socket that QEMU speaks QMP on.
        ssh_port: port on 127.0.0.1 that leads to the lab host's sshd.
    """

    image: Path
    accel: str
    clock: Clock
    memory_mib: int
    cpus: int
    ram_path: Path
    ram_shared: bool
    incoming: bool
    authorized_keys: Path
    host_key: Path
    console: Path
    qmp_fd: int
    ssh_port: int


def machine_argv(hardware: Hardware) -> tuple[str, ...]:
    """Return the arguments for QEMU, without QEMU itself."""
    return tuple(
        word
        for part in (
            _board(hardware),
            _memory(hardware),
            _boot(hardware),
            _ports(),
            _cables(),
            _cards(),
            _connections(hardware),
        )
        for word in part
    )


def machine_identity(hardware: Hardware) -> str:
    """Return a hash of the machine as the lab host sees it, wherever its files and ports are."""
    any_path = Path("x")
    canonical = replace(
        hardware,
        image=any_path,
        ram_path=any_path,
        ram_shared=False,
        incoming=False,
        authorized_keys=any_path,
        host_key=any_path,
        console=any_path,
        qmp_fd=0,
        ssh_port=0,
    )
    text = "\0".join(machine_argv(canonical))
    return hashlib.sha256(text.encode()).hexdigest()


def _board(hardware: Hardware) -> Iterator[str]:
    yield from ("-name", "kvmlab-lab-host,debug-threads=on")
    yield from ("-nodefaults", "-no-user-config", "-display", "none")
    # A panicking lab host restarts at once (panic=-1); here that ends QEMU, so that it is noticed.
    yield "-no-reboot"
    if hardware.accel == "kvm":
        # Interrupt remapping needs the interrupt controller's upper half in QEMU.
        yield from ("-machine", "q35,kernel-irqchip=split,memory-backend=ram0")
        yield from ("-accel", "kvm", "-cpu", "host")
    else:
        yield from ("-machine", "q35,kernel-irqchip=off,memory-backend=ram0")
        thread = "single" if hardware.clock is Clock.VIRTUAL else "multi"
        yield from ("-accel", f"tcg,thread={thread},tb-size=1024")
        yield from ("-cpu", "EPYC,+svm,+npt")
    if hardware.clock is Clock.VIRTUAL:
        # One instruction counts 2 ns; asleep, the clock follows the real one.
        yield from ("-icount", "shift=1,sleep=on")
    yield from ("-smp", str(hardware.cpus))


def _memory(hardware: Hardware) -> Iterator[str]:
    yield from ("-m", f"{hardware.memory_mib}M")
    # A saved state is opened for reading only and mapped privately: it cannot be written to.
    how = "share=on" if hardware.ram_shared else "share=off,readonly=on,rom=off"
    path = _quoted(hardware.ram_path)
    yield from (
        "-object",
        f"memory-backend-file,id=ram0,size={hardware.memory_mib}M,mem-path={path},{how}",
    )


def _boot(hardware: Hardware) -> Iterator[str]:
    yield from ("-kernel", str(hardware.image / KERNEL), "-initrd", str(hardware.image / INITRD))
    words = [*KERNEL_WORDS, f"kvmlab.clock={hardware.clock.value}"]
    if hardware.clock is Clock.VIRTUAL:
        # Polling would run the clock forward: there, every instruction is time.
        words.append("kvm.halt_poll_ns=0")
    yield from ("-append", " ".join(words))
    keys = {
        "opt/kvmlab/authorized_keys": hardware.authorized_keys,
        "opt/kvmlab/ssh_host_ed25519_key": hardware.host_key,
    }
    for name, path in keys.items():
        yield from ("-fw_cfg", f"name={name},file={_quoted(path)}")


def _ports() -> Iterator[str]:
    """Yield the IOMMU, which must be the first device, and the root ports rp1 to rp11."""
    yield from (
        "-device",
        "intel-iommu,intremap=on,eim=off,caching-mode=on,device-iotlb=on",
    )
    for number in range(1, 12):
        slot, function = (0x10, number - 1) if number <= 8 else (0x11, number - 9)
        more = ",multifunction=on" if function == 0 else ""
        yield "-device"
        yield (
            f"pcie-root-port,id=rp{number},chassis={number},slot={number},bus=pcie.0,"
            f"addr={slot:#x}.{function:#x}{more}"
        )


def _cables() -> Iterator[str]:
    """Yield the cables, which are hubs: what one port sends, the others on it receive."""
    for hub, ends in ((1, ("g0", "g1")), (2, ("e0", "e1", "e2"))):
        for end in ends:
            yield from ("-netdev", f"hubport,id={end},hubid={hub}")


#: The two ends of a cable that joins both hubs into one segment while the host runs.
JOINT = (
    {"type": "hubport", "id": "joint1", "hubid": 1},
    {"type": "hubport", "id": "joint2", "hubid": 2, "netdev": "joint1"},
)


def _cards() -> Iterator[str]:
    """Yield the article's cards. No boot ROMs: each would print, wait and lengthen the boot."""
    seats = (
        f"e1000e,netdev=e0,bus=rp4,addr=0.0,multifunction=on,mac={MAC_E1000E[0]}",
        f"e1000e,netdev=e1,bus=rp4,addr=0.1,mac={MAC_E1000E[1]}",
        f"e1000e,netdev=e2,bus=rp5,addr=0.0,mac={MAC_E1000E[2]}",
        # Without the pointer to the next function, 0b:00.1 is never found.
        f"igb,netdev=g0,bus=rp11,addr=0.0,multifunction=on,x-pcie-ari-nextfn-1=on,mac={MAC_IGB[0]}",
        f"igb,netdev=g1,bus=rp11,addr=0.1,mac={MAC_IGB[1]}",
    )
    for seat in seats:
        yield from ("-device", f"{seat},romfile=")


def _connections(hardware: Hardware) -> Iterator[str]:
    """Yield the root disk, the management network, the console and QMP."""
    disk = _quoted(hardware.image / ROOT_DISK)
    yield from ("-drive", f"file={disk},format=raw,if=none,id=root,readonly=on")
    yield from ("-device", "virtio-blk-pci,drive=root,bus=pcie.0,addr=0x3")
    # restrict: the lab host is reached through one port on the loopback and reaches nothing.
    forward = f"hostfwd=tcp:127.0.0.1:{hardware.ssh_port}-:22"
    yield from ("-netdev", f"user,id=mgmt,restrict=on,{forward}")
    yield "-device"
    yield f"virtio-net-pci,netdev=mgmt,bus=pcie.0,addr=0x2,mac={MAC_MANAGEMENT},romfile="
    # A saved state carries its entropy with it; fresh entropy comes in through here.
    yield from ("-object", "rng-random,id=rng0,filename=/dev/urandom")
    yield from ("-device", "virtio-rng-pci,rng=rng0,bus=pcie.0,addr=0x4")
    yield from ("-chardev", f"file,id=console,path={_quoted(hardware.console)},append=on")
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=qmp,fd={hardware.qmp_fd}")
    yield from ("-mon", "chardev=qmp,mode=control")
    if hardware.incoming:
        yield from ("-incoming", "defer")


def _quoted(path: Path) -> str:
    """Quote a path for a QEMU option, where a comma is doubled."""
    return str(path).replace(",", ",,")
