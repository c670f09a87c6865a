"""What stands beside every result: kernel, tools, settings that matter, on host and in the VM."""

from __future__ import annotations

import re
from importlib.resources import files as resource_files
from typing import TYPE_CHECKING, Any

from kvmlab.hosts import libvirt_door, run_script
from kvmlab.measure.meters import patience, wire_of
from kvmlab.measure.sections import files, sections

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM, VmThreads
    from kvmlab.hosts import Host


class About:
    """What is told beside the results of one measurement, as plain JSON values.

    The tools, of which some need a tenth of a second to say which version they are, are asked once.
    """

    def __init__(self, host: Host, vm: TestVM) -> None:
        self._host, self._vm = host, vm
        self._tools: dict[str, Any] = {}

    def host(self, threads: VmThreads) -> dict[str, Any]:
        """Kernel, tools, QEMU and sysctls of the host, in one round trip."""
        host = self._host
        completed = run_script(
            host.runner,
            "kvmlab.measure",
            "host_meta.sh",
            str(threads.pid),
            wire_of(host).port,
            self._ask("host"),
            timeout_sec=patience(host, 10),
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
        """Kernel, tools, driver and offloads inside the VM."""
        script = resource_files("kvmlab.measure").joinpath("scripts", "guest_meta.sh")
        completed = self._vm.agent.run(
            ("sh", "-s", "--", nic.guest_interface, self._ask("guest")),
            timeout_sec=patience(self._host, 20),
            input_text=script.read_text(encoding="utf-8"),
            check=False,
        )
        told = self._with_tools("guest", parse_metadata(completed.stdout))
        return {"name": self._vm.name, **told}

    def _ask(self, where: str) -> str:
        return "-" if where in self._tools else "tools"

    def _with_tools(self, where: str, told: dict[str, Any]) -> dict[str, Any]:
        if "tools" in told:
            self._tools[where] = told["tools"]
        return {**told, "tools": self._tools.get(where, {})}


def _versions(host: Host) -> dict[str, str]:
    """QEMU's and libvirt's versions, as libvirt knows them."""
    where = {"host": host.label}
    qemu = libvirt_door.call(host.libvirt.getVersion, what="say QEMU's version", **where)
    libvirt = libvirt_door.call(host.libvirt.getLibVersion, what="say its version", **where)
    return {"qemu": version_text(qemu), "libvirt": version_text(libvirt)}


def version_text(number: int) -> str:
    """A version as libvirt counts it, in the usual writing.

    >>> version_text(10_000_013)
    '10.0.13'
    """
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def parse_metadata(text: str) -> dict[str, Any]:
    """The sections of ``host_meta.sh`` or ``guest_meta.sh``.

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
    found: dict[str, Any] = {}
    for name, body in sections(text):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", body).strip()
        if name == "files":
            found["files"] = {path: content.strip() for path, content in files(body).items()}
        elif name in ("driver", "offloads"):
            pairs = (line.partition(":") for line in plain.splitlines())
            found[name] = {key.strip(): value.strip() for key, _, value in pairs}
        elif name == "tools":
            found[name] = {_tool(line): line for line in plain.splitlines() if line}
        elif name != "end":
            found[name] = plain
    return found


def _tool(line: str) -> str:
    return "sockperf" if line.startswith("sockperf") else "iperf3"
