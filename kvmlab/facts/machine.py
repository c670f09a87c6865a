"""Parsers of what a host says about its CPU, kernel, modules and memory."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.facts.types import CpuFacts, HugePages, ModuleState

#: The modules that the schemes, the embedded host and the doctor's rules ask for.
MODULES: Final = (
    "kvm",
    "kvm_intel",
    "kvm_amd",
    "vhost_net",
    "tun",
    "macvtap",
    "bridge",
    "8021q",
    "vfio_pci",
    "igb",
    "igbvf",
    "e1000e",
)

#: The same names as grep finds them among files, which may have dashes.
MODULES_PATTERN: Final = "|".join(name.replace("_", "[-_]") for name in MODULES)

_CPU_VENDORS: Final = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}
_NODE_CPUS: Final = re.compile(r"/sys/devices/system/node/node(\d+)/cpulist")
#: Implementers and cores of Arm processors, as /proc/cpuinfo numbers them.
_ARM_VENDORS: Final = {
    "0x41": "Arm", "0x42": "Broadcom", "0x43": "Cavium", "0x46": "Fujitsu", "0x48": "HiSilicon",
    "0x4e": "NVIDIA", "0x50": "APM", "0x51": "Qualcomm", "0x61": "Apple", "0xc0": "Ampere",
}  # fmt: skip
_ARM_CORES: Final = {
    ("0x41", "0xd03"): "Cortex-A53", ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72", ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1", ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2", ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x43", "0x0af"): "ThunderX2", ("0x48", "0xd01"): "Kunpeng-920",
    ("0x4e", "0x004"): "Carmel", ("0xc0", "0xac3"): "Ampere-1", ("0xc0", "0xac4"): "Ampere-1a",
}  # fmt: skip
_HUGEPAGES: Final = re.compile(
    r"/sys/(?:kernel/mm|devices/system/node/node(?P<node>\d+))/hugepages"
    r"/hugepages-(?P<size>\d+)kB/(?P<what>nr|free)_hugepages"
)


@dataclass(frozen=True)
class Identity:
    """Identity of a host, and how it was reached."""

    host_name: str
    kernel: str
    architecture: str
    #: sshd's own "CLIENT PORT SERVER PORT", empty where nobody came by ssh.
    ssh_connection: str


def parse_identity(text: str) -> Identity:
    """Parse ``uname -nrm`` and ``$SSH_CONNECTION``.

    ::

        kvmlab 6.12.117+deb13-amd64 x86_64
        10.0.2.2 37246 10.0.2.15 22

    Raises:
        OutputError: it is not that.
    """
    names, separator, connection = text.partition("\n")
    words = names.split()
    if not separator or len(words) != 3:
        raise OutputError("The host's identity could not be understood.", evidence=text[:400])
    host_name, kernel, architecture = words
    return Identity(host_name, kernel, architecture, connection.strip())


def parse_release(text: str) -> str:
    """Return the distribution's name from /etc/os-release, "unknown" where it has none.

    ::

        PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
        NAME="Debian GNU/Linux"
    """
    for line in text.split("\n"):
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            try:
                return " ".join(shlex.split(value)) or "unknown"
            except ValueError as error:
                raise OutputError("/etc/os-release is damaged.", evidence=line) from error
    return "unknown"


def parse_cpu_list(text: str) -> frozenset[int]:
    """Return the CPUs of a kernel list, or of libvirt's, where "^3" takes one out again.

    >>> sorted(parse_cpu_list("0-3,8,^1"))
    [0, 2, 3, 8]
    """
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\^?)(\d+)(?:-(\d+))?", part.strip(), re.ASCII)
        if match is None:
            continue
        some = set(range(int(match[2]), int(match[3] or match[2]) + 1))
        cpus = cpus - some if match[1] else cpus | some
    return frozenset(cpus)


def parse_range(text: str) -> int:
    """Count the numbers that a kernel list names: ``0-3,8`` are five.

    Raises:
        OutputError: it is no such list.
    """
    count = 0
    for part in text.strip().split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part, re.ASCII)
        if match is None:
            raise OutputError("A list of CPUs or nodes could not be understood.", evidence=text)
        count += int(match[2] or match[1]) - int(match[1]) + 1
    return count


def parse_cpu(text: str, *, files: Mapping[str, str], architecture: str) -> CpuFacts:
    """Parse the processors from one block of /proc/cpuinfo.

    ::

        vendor_id	: AuthenticAMD
        model name	: AMD EPYC Processor
        flags		: fpu vme … svm … hypervisor …

    ``files`` holds /proc/meminfo (``MemTotal:        2983760 kB``),
    /sys/devices/system/cpu/online (``0-1``) and …/node/online.

    Raises:
        OutputError: one of the texts is not what the kernel prints.
    """
    values = {}
    for line in text.split("\n"):
        name, separator, value = line.partition(":")
        if separator:
            values[name.strip()] = value.strip()
    flags = values.get("flags", "").split()
    total = re.search(r"^MemTotal:\s+(\d+) kB", files.get("/proc/meminfo", ""), re.ASCII)
    if not values or total is None:
        raise OutputError("The host's CPU or memory could not be read.", evidence=text[:400])
    vendor = values.get("vendor_id", values.get("CPU implementer", "unknown"))
    arm = _arm_name(vendor, values.get("CPU part", ""))
    nodes = files.get("/sys/devices/system/node/online")
    return CpuFacts(
        model=values.get("model name", arm or values.get("Model", vendor)),
        vendor=_CPU_VENDORS.get(vendor, _ARM_VENDORS.get(vendor, vendor)),
        architecture=architecture,
        logical_cpus=parse_range(files.get("/sys/devices/system/cpu/online", "")),
        numa_nodes=parse_range(nodes) if nodes is not None else 1,
        virtualisation=next((flag for flag in ("vmx", "svm") if flag in flags), None),
        is_guest="hypervisor" in flags,
        memory_mib=int(total[1]) // 1024,
        node_cpus={
            int(match[1]): parse_cpu_list(value)
            for path, value in files.items()
            if (match := _NODE_CPUS.fullmatch(path)) is not None
        },
    )


def _arm_name(implementer: str, part: str) -> str:
    """Return "Arm Neoverse-N1"; empty for a processor that is no Arm, or has a name of its own."""
    vendor = _ARM_VENDORS.get(implementer, "")
    return f"{vendor} {_ARM_CORES.get((implementer, part), f'part {part}')}" if vendor else ""


def parse_modules(*, loaded: str, installed: str, present: str) -> dict[str, ModuleState]:
    """Return where each module of :data:`MODULES` is.

    ``loaded`` is /proc/modules, ``present`` the names with an entry in /sys, and ``installed``
    what grep found in the indexes of the kernel's modules::

        /lib/modules/6.12.41+deb13-amd64/modules.dep:kernel/drivers/vhost/vhost_net.ko
        /lib/modules/6.12.41+deb13-amd64/modules.builtin:kernel/drivers/vfio/pci/vfio-pci.ko
    """
    in_memory = {line.partition(" ")[0] for line in loaded.split("\n")}
    in_sys = set(present.split())
    in_kernel: set[str] = set()
    on_disk: set[str] = set()
    for line in installed.split("\n"):
        index, separator, path = line.partition(":")
        if not separator:
            continue
        name = path.rpartition("/")[2].removesuffix(".ko").replace("-", "_")
        (in_kernel if index.endswith("modules.builtin") else on_disk).add(name)

    def state(name: str) -> ModuleState:
        if name in in_memory:
            return ModuleState.LOADED
        if name in in_kernel or name in in_sys:
            return ModuleState.BUILTIN
        return ModuleState.AVAILABLE if name in on_disk else ModuleState.MISSING

    return {name: state(name) for name in MODULES}


def parse_nodes(text: str) -> dict[str, bool]:
    """Parse device nodes, and whether the user may use them.

    ::

    /dev/kvm yes
    /dev/vhost-net no
    """
    nodes = {}
    for line in text.split("\n"):
        if not line:
            continue
        node, _, access = line.partition(" ")
        if access not in ("yes", "no"):
            raise OutputError("A device node could not be understood.", evidence=line)
        nodes[node] = access == "yes"
    return nodes


def parse_hugepages(tree: Mapping[str, str]) -> tuple[HugePages, ...]:
    """Parse huge pages from their files, ``{…/hugepages-2048kB/nr_hugepages: "512", …}``.

    Raises:
        OutputError: a file holds no number.
    """
    pools: dict[tuple[int, int], dict[str, int]] = {}
    for path, value in tree.items():
        match = _HUGEPAGES.fullmatch(path)
        if match is None:
            continue
        node = int(match["node"]) if match["node"] is not None else -1
        if not re.fullmatch(r"\d+", value, re.ASCII):
            raise OutputError("A number of huge pages could not be read.", evidence=value)
        pools.setdefault((int(match["size"]), node), {})[match["what"]] = int(value)
    return tuple(
        HugePages(
            size_kib=size,
            numa_node=node if node >= 0 else None,
            total=pool.get("nr", 0),
            free=pool.get("free", 0),
        )
        for (size, node), pool in sorted(pools.items())
    )
