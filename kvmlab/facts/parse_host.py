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
_HUGEPAGES: Final = re.compile(
    r"/sys/(?:kernel/mm|devices/system/node/node(?P<node>\d+))/hugepages"
    r"/hugepages-(?P<size>\d+)kB/(?P<what>nr|free)_hugepages"
)


@dataclass(frozen=True)
class Identity:
    """Who a host is, and how it was reached."""

    host_name: str
    kernel: str
    architecture: str
    #: sshd's own "CLIENT PORT SERVER PORT", empty where nobody came by ssh.
    ssh_connection: str


def parse_identity(text: str) -> Identity:
    """What ``uname -nrm`` and ``$SSH_CONNECTION`` say.

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
    """The distribution's name from /etc/os-release, "unknown" where it has none.

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


def parse_range(text: str) -> int:
    """How many numbers a kernel list names: ``0-3,8`` are five.

    Raises:
        OutputError: it is no such list.
    """
    count = 0
    for part in text.strip().split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part, re.ASCII)
        if found is None:
            raise OutputError("A list of CPUs or nodes could not be understood.", evidence=text)
        count += int(found[2] or found[1]) - int(found[1]) + 1
    return count


def parse_cpu(text: str, *, files: Mapping[str, str], architecture: str) -> CpuFacts:
    """The processors from one block of /proc/cpuinfo.

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
    nodes = files.get("/sys/devices/system/node/online")
    return CpuFacts(
        model=values.get("model name", values.get("Model", vendor)),
        vendor=_CPU_VENDORS.get(vendor, vendor),
        architecture=architecture,
        logical_cpus=parse_range(files.get("/sys/devices/system/cpu/online", "")),
        numa_nodes=parse_range(nodes) if nodes is not None else 1,
        virtualisation=next((flag for flag in ("vmx", "svm") if flag in flags), None),
        is_guest="hypervisor" in flags,
        memory_mib=int(total[1]) // 1024,
    )


def parse_modules(*, loaded: str, installed: str, present: str) -> dict[str, ModuleState]:
    """Where each module of :data:`MODULES` is.

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
    """Device nodes and whether the user may use them.

    ::

    /dev/kvm yes
    /dev/vhost-net no
    """
    found = {}
    for line in text.split("\n"):
        if not line:
            continue
        node, _, access = line.partition(" ")
        if access not in ("yes", "no"):
            raise OutputError("A device node could not be understood.", evidence=line)
        found[node] = access == "yes"
    return found


def parse_hugepages(tree: Mapping[str, str]) -> tuple[HugePages, ...]:
    """Huge pages from their files, ``{…/hugepages-2048kB/nr_hugepages: "512", …}``.

    Raises:
        OutputError: a file holds no number.
    """
    pools: dict[tuple[int, int], dict[str, int]] = {}
    for path, value in tree.items():
        found = _HUGEPAGES.fullmatch(path)
        if found is None:
            continue
        node = int(found["node"]) if found["node"] is not None else -1
        if not re.fullmatch(r"\d+", value, re.ASCII):
            raise OutputError("A number of huge pages could not be read.", evidence=value)
        pools.setdefault((int(found["size"]), node), {})[found["what"]] = int(value)
    return tuple(
        HugePages(
            size_kib=size,
            numa_node=node if node >= 0 else None,
            total=pool.get("nr", 0),
            free=pool.get("free", 0),
        )
        for (size, node), pool in sorted(pools.items())
    )
