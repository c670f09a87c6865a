"""Metadata of a result: kernels, tools and settings that may explain a figure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvmlab.hosts import libvirt_client, parse_files, parse_output, run_script, script_text
from kvmlab.measure.subject import cable_under_test

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM, VmThreads
    from kvmlab.hosts import Host


class MetadataReader:
    """Reads the metadata of one measurement, as plain JSON values.

    The versions of the tools are read once: some of them need a tenth of a second to print theirs.
    """

    def __init__(self, host: Host, vm: TestVM) -> None:
        self._host, self._vm = host, vm
        self._tools: dict[str, Any] = {}

    def host(self, threads: VmThreads) -> dict[str, Any]:
        """Return kernel, tools, QEMU and sysctls of the host, in one round trip."""
        host = self._host
        completed = run_script(
            host.runner,
            "kvmlab.measure",
            "host_meta.sh",
            str(threads.pid),
            cable_under_test(host).port,
            self._ask("host"),
            timeout_sec=host.clock.wall_timeout(10),
            root=True,
        )
        return {
            "label": host.label,
            "spec": host.spec,
            "kind": str(host.kind),
            "clock": host.clock.value,
            "emulated": host.emulated,
            "versions": _versions(host),
            **self._with_tools("host", parse_metadata(completed.stdout)),
        }

    def guest(self, nic: Nic) -> dict[str, Any]:
        """Return kernel, tools, driver and offloads inside the VM."""
        completed = self._vm.agent.run(
            ("sh", "-s", "--", nic.guest_interface, self._ask("guest")),
            timeout_sec=self._host.clock.wall_timeout(20),
            input_text=script_text("kvmlab.measure", "guest_meta.sh"),
            check=False,
        )
        metadata = self._with_tools("guest", parse_metadata(completed.stdout))
        return {"name": self._vm.name, **metadata}

    def _ask(self, where: str) -> str:
        return "-" if where in self._tools else "tools"

    def _with_tools(self, where: str, metadata: dict[str, Any]) -> dict[str, Any]:
        if "tools" in metadata:
            self._tools[where] = metadata["tools"]
        return {**metadata, "tools": self._tools.get(where, {})}


def _versions(host: Host) -> dict[str, str]:
    """Return QEMU's and libvirt's versions, as libvirt knows them."""
    where = {"host": host.label}
    qemu = libvirt_client.call(host.libvirt.getVersion, what="say QEMU's version", **where)
    libvirt = libvirt_client.call(host.libvirt.getLibVersion, what="say its version", **where)
    return {"qemu": version_text(qemu), "libvirt": version_text(libvirt)}


def version_text(number: int) -> str:
    """Return a version number of libvirt's in the usual notation.

    >>> version_text(10_000_013)
    '10.0.13'
    """
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def parse_metadata(text: str) -> dict[str, Any]:
    """Parse the output of ``host_meta.sh`` or ``guest_meta.sh``.

    ::

        === kernel
        Linux 6.12.48+deb13-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20) x86_64
        === tools
        iperf 3.18 (cJSON 1.7.15)
        sockperf: == version #3.10-0.git68e42a75ac0a ==
        === files
        ==> /proc/sys/net/core/rmem_max <==
        212992
        === end

    Raises:
        OutputError: it broke off.
    """
    metadata: dict[str, Any] = {}
    for section in parse_output(text).sections:
        name = section.name
        plain = re.sub(r"\x1b\[[0-9;]*m", "", section.text).strip()
        if name == "files":
            contents = parse_files(section.text)
            metadata[name] = {path: content.strip() for path, content in contents.items()}
        elif name in ("driver", "offloads"):
            pairs = (line.partition(":") for line in plain.splitlines())
            metadata[name] = {key.strip(): value.strip() for key, _, value in pairs}
        elif name == "tools":
            metadata[name] = {_tool(line): line for line in plain.splitlines() if line}
        else:
            metadata[name] = plain
    return metadata


def _tool(line: str) -> str:
    return "sockperf" if line.startswith("sockperf") else "iperf3"
