"""What the doctor reads of a host beyond an inspection, in one round trip."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kvmlab.errors import CommandFailed, HostRefused, OutputError
from kvmlab.facts.sections import Sections, parse_sections
from kvmlab.hosts import run_script

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host

_READ_SEC: Final = 60.0
_CAP_SYS_RESOURCE: Final = 24
_LIMIT: Final = re.compile(r"Max locked memory\s+(\d+|unlimited)\s+(\d+|unlimited)\s+bytes")


@dataclass(frozen=True)
class Daemon:
    """The process that starts VMs. Source: /proc/PID/limits, /proc/PID/status."""

    name: str
    #: The hard limit of locked memory in bytes; None for none.
    locked_bytes: int | None
    #: It may raise the limit for a VM.
    may_raise: bool


@dataclass(frozen=True)
class Symptoms:
    """Complaints of the kernel and of QEMU, limits and offloads.

    ``unread`` says why nothing was read; everything else is then empty.
    """

    kernel_log: tuple[str, ...] = ()
    qemu_log: tuple[str, ...] = ()
    daemon: Daemon | None = None
    #: Bridged packets go through iptables.
    bridge_netfilter: bool | None = None
    #: The policy of iptables' FORWARD chain, "ACCEPT" or "DROP".
    forward_policy: str | None = None
    #: By interface: "rx-checksumming" and the like, on or off.
    offloads: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    unread: str = ""

    @property
    def log(self) -> tuple[str, ...]:
        """Both logs."""
        return (*self.kernel_log, *self.qemu_log)

    def says(self, pattern: str) -> str | None:
        """The newest line that matches; None without one."""
        return next((line for line in reversed(self.log) if re.search(pattern, line)), None)


def read_symptoms(host: Host, facts: HostFacts) -> Symptoms:
    """Read ``host`` as root; a host that refuses says so in ``unread``.

    Raises:
        HostUnreachable, CommandTimeout: the host cannot be read.
        OutputError: a tool printed something unknown.
    """
    pfs = [port.name for port in facts.ports if port.sriov_numvfs and port.name and not port.netns]
    try:
        answer = run_script(
            host.runner,
            "kvmlab.doctor",
            "read_symptoms.sh",
            *pfs,
            timeout_sec=_READ_SEC,
            root=True,
        )
    except (HostRefused, CommandFailed) as error:
        return Symptoms(unread=error.message)
    return parse_symptoms(parse_sections(answer.stdout))


def parse_symptoms(sections: Sections) -> Symptoms:
    """The sections of the doctor's script.

    Raises:
        OutputError: a section is missing or not what its tool prints.
    """
    switch, policy = parse_netfilter(sections.text("bridge_netfilter"))
    return Symptoms(
        kernel_log=_lines(sections.text("kernel_log")),
        qemu_log=_lines(sections.text("qemu_log")),
        daemon=parse_daemon(sections.text("daemon")),
        bridge_netfilter=switch,
        forward_policy=policy,
        offloads=parse_offloads(sections.text("offloads")),
    )


def parse_daemon(text: str) -> Daemon | None:
    """The daemon of libvirt, None where none runs.

    ::

        name libvirtd
        Max locked memory         8388608              8388608              bytes
        State:	S (sleeping)
        CapEff:	000001ffffffffff

    Raises:
        OutputError: it is not that.
    """
    if not text.strip():
        return None
    name = re.search(r"^name (\S+)$", text, re.MULTILINE)
    limit = _LIMIT.search(text)
    powers = re.search(r"^CapEff:\s+([0-9a-f]+)$", text, re.MULTILINE)
    if name is None or limit is None or powers is None:
        raise OutputError("The limits of libvirt's daemon could not be read.", evidence=text)
    hard = limit[2]
    return Daemon(
        name=name[1],
        locked_bytes=None if hard == "unlimited" else int(hard),
        may_raise=bool(int(powers[1], 16) >> _CAP_SYS_RESOURCE & 1),
    )


def parse_netfilter(text: str) -> tuple[bool | None, str | None]:
    """Whether bridges call iptables, and the policy there.

    ::

        /proc/sys/net/bridge/bridge-nf-call-iptables:1
        -P FORWARD DROP

    Without br_netfilter the first line is missing, without iptables the second.
    """
    switch = re.search(r"bridge-nf-call-iptables:([01])$", text, re.MULTILINE)
    policy = re.search(r"^-P FORWARD (\S+)$", text, re.MULTILINE)
    return (switch[1] == "1" if switch else None), (policy[1] if policy else None)


def parse_offloads(text: str) -> dict[str, dict[str, bool]]:
    """Offloads by interface, from ``ethtool -k``.

    ::

        interface p2p1
        rx-checksumming: on
        tx-checksumming: on
        generic-segmentation-offload: off [requested on]
    """
    found: dict[str, dict[str, bool]] = {}
    current: dict[str, bool] = {}
    for line in _lines(text):
        head, _, name = line.partition(" ")
        if head == "interface":
            current = found.setdefault(name, {})
            continue
        feature, _, value = line.partition(": ")
        current[feature] = value.split(" ")[0] == "on"
    return found


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.split("\n") if line.strip())
