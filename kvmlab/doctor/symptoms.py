"""Symptoms: readings beyond an inspection, in one round trip."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from kvmlab.errors import CommandFailed, HostRefused, OutputError
from kvmlab.hosts import ScriptOutput, parse_output, run_script

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host

_READ_SEC: Final = 60.0
#: Offloads and rings are read of so many interfaces: each takes two programs.
_MOST_INTERFACES: Final = 16
#: A rule for every forwarded packet, or for every bridged one.
_FOR_BRIDGED: Final = re.compile(
    r"^-A FORWARD(?: -m physdev)?(?: --physdev-is-bridged)?(?: -m comment --comment \S+)?"
    r" -j (ACCEPT|DROP|REJECT)\b",
    re.MULTILINE,
)
_CAP_SYS_RESOURCE: Final = 24
#: Lines of logs are news for so long; older ones tell of a fault that was mended or forgotten.
_FRESH_SEC: Final = 24 * 3600.0
_UPTIME: Final = re.compile(r"\[\s*(\d+\.\d+)\] ")
_DATE: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d(?:\.\d{1,6})?)"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_NUMBER: Final = re.compile(r"-?\d+")
#: Offloads that a person may have switched off, and the word of ``ethtool -K`` for each.
SWITCHED: Final = {
    "generic-receive-offload": "gro",
    "tx-tcp-segmentation": "tso",
    "tx-checksum-ipv4": "tx",
    "tx-checksum-ip-generic": "tx",
    "rx-gro-hw": "rx-gro-hw",
}
#: States of a bridge's port in the kernel; 3 is forwarding.
_PORT_STATES: Final = {0: "disabled", 1: "listening", 2: "learning", 4: "blocking"}
_LIMIT: Final = re.compile(r"Max locked memory\s+(\d+|unlimited)\s+(\d+|unlimited)\s+bytes")


@dataclass(frozen=True)
class Daemon:
    """The process that starts VMs. Source: /proc/PID/limits, /proc/PID/status."""

    name: str
    #: The hard limit of locked memory in bytes; None for none.
    locked_bytes: int | None
    #: It may raise the limit for a VM.
    may_raise: bool
    #: Seconds since the epoch at its start; None where that is not known.
    started_at: float | None = None


@dataclass(frozen=True)
class TuningSymptoms:
    """Readings for the rules about throughput and latency; empty where nothing was read.

    ``drops`` are packets lost since boot by interface, ``rings`` the entries in use and the most
    that are possible, received side first.
    """

    drops: Mapping[str, int] = field(default_factory=dict)
    rings: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    irqbalance: bool = False
    #: CPUs that irqbalance leaves alone, as its configuration lists them.
    irqbalance_banned: str = ""
    #: Ports of bridges that do not forward, by their state.
    blocked: Mapping[str, str] = field(default_factory=dict)
    #: Ageing times of bridges in seconds.
    ageing: Mapping[str, float] = field(default_factory=dict)
    #: Ports of bridges to which unknown addresses are not flooded.
    unflooded: tuple[str, ...] = ()
    #: Microseconds that ports wait before an interrupt.
    throttled: Mapping[str, int] = field(default_factory=dict)
    #: Nice values of vhost workers, by thread.
    nice: Mapping[str, int] = field(default_factory=dict)
    #: Programs that capture packets: "tcpdump 812 at vnet0".
    captures: tuple[str, ...] = ()
    #: vhost sends without a copy; None where vhost is not loaded.
    zerocopy: bool | None = None


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
    #: Lines of libvirt's own daemons.
    daemon_log: tuple[str, ...] = ()
    #: The host's clock and its boot, in seconds since the epoch; None where they were not read.
    now: float | None = None
    booted_at: float | None = None
    #: Counters of interfaces that lose packets, and what else the rules about speed read.
    tuning: TuningSymptoms = TuningSymptoms()
    #: File systems: by place the type, such as "nfs4"; empty where they were not read.
    mounts: Mapping[str, str] = field(default_factory=dict)
    #: MACs that somebody has entered at ports of bridges, as (MAC, port).
    fixed_entries: tuple[tuple[str, str], ...] = ()
    #: What the kernel says of each known bug of CPUs, "spectre_v2" by name.
    vulnerabilities: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> tuple[str, ...]:
        """Lines of all logs, the kernel's first, the newest of each last."""
        return (*self.kernel_log, *self.qemu_log, *self.daemon_log)

    def says(
        self, pattern: str, *, unless: Callable[[str], bool] | None = None, since: float = 0
    ) -> str | None:
        """Return the newest line that matches ``pattern`` and still counts; None without one.

        Args:
            pattern: a regular expression.
            unless: lines for which this holds do not count: of another device, or of a fault that
                is mended.
            since: lines that are known to be older than this do not count (seconds since the
                epoch). Nor do those of an earlier boot, or of more than a day ago.
        """
        oldest = max(since, self.booted_at or 0, (self.now or time.time()) - _FRESH_SEC)
        for line in reversed(self.log):
            written = self.time_of(line)
            stale = written is not None and written < oldest
            if re.search(pattern, line) and not stale and not (unless and unless(line)):
                return line
        return None

    def time_of(self, line: str) -> float | None:
        """Return when ``line`` was written, in seconds since the epoch; None where it is not said.

        ::

            [   36.370652] igbvf 0000:0b:10.0: PF still in reset state.
            2021-03-01T10:00:00.000000Z qemu-system-x86_64: VFIO_MAP_DMA failed
            2021-03-01 10:00:00.000+0000: 812: error : virPCIDeviceReset:1 : internal error
        """
        of_kernel = _UPTIME.match(line)
        if of_kernel is not None:
            # All of them are of this boot.
            return None if self.booted_at is None else self.booted_at + float(of_kernel[1])
        match = _DATE.match(line)
        if match is None:
            return None
        zone = match["zone"] or "Z"
        text = f"{match['day']}T{match['time']}{'+00:00' if zone == 'Z' else zone}"
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            return None


def read_symptoms(host: Host, facts: HostFacts) -> Symptoms:
    """Read ``host`` as root; a host that refuses says so in ``unread``.

    Raises:
        HostUnreachable, CommandTimeout: the host cannot be read.
        OutputError: a tool printed something unknown.
    """
    hardware = [
        link.name
        for link in facts.links
        if link.netns is None and not link.kind and not link.loopback
    ]
    try:
        answer = run_script(
            host.runner,
            "kvmlab.doctor",
            "read_symptoms.sh",
            *hardware[:_MOST_INTERFACES],
            timeout_sec=_READ_SEC,
            root=True,
        )
    except (HostRefused, CommandFailed) as error:
        return Symptoms(unread=error.message)
    return parse_symptoms(parse_output(answer.stdout))


def parse_symptoms(output: ScriptOutput) -> Symptoms:
    """Parse the sections of the doctor's script.

    Raises:
        OutputError: a section is missing or not what its tool prints.
    """
    switch, policy = parse_netfilter(output.text("bridge_netfilter"))
    now, booted_at = parse_clock(output.optional_text("clock"))
    return Symptoms(
        kernel_log=_lines(output.text("kernel_log")),
        qemu_log=_lines(output.text("qemu_log")),
        daemon_log=_lines(output.optional_text("daemon_log")),
        daemon=parse_daemon(output.text("daemon"), booted_at=booted_at),
        now=now,
        booted_at=booted_at,
        tuning=parse_tuning(output.optional_text("drops"), output.optional_text("tuning")),
        bridge_netfilter=switch,
        forward_policy=policy,
        offloads=parse_offloads(output.text("offloads")),
        mounts=parse_mounts(output.optional_text("mounts")),
        fixed_entries=parse_fixed_entries(output.optional_text("fixed_entries")),
        vulnerabilities=parse_vulnerabilities(output.optional_text("vulnerabilities")),
    )


def parse_vulnerabilities(text: str) -> dict[str, str]:
    """Parse what a kernel says of its CPU's bugs, by name.

    ::

        meltdown:Not affected
        spectre_v2:Vulnerable; IBPB: disabled; STIBP: disabled
        itlb_multihit:KVM: Mitigation: VMX disabled
    """
    pairs = (line.partition(":") for line in _lines(text))
    return {name: says for name, colon, says in pairs if colon}


def parse_mounts(text: str) -> dict[str, str]:
    """Parse file systems into their types by place; of two at one place the later one is seen.

    The kernel writes a blank in a name as an octal number.

    ::

        ext4 /
        nfs4 /srv/images
    """
    pairs = (line.split(" ") for line in _lines(text))
    return {_unescaped(pair[1]): pair[0] for pair in pairs if len(pair) == 2}


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def parse_fixed_entries(text: str) -> tuple[tuple[str, str], ...]:
    """Parse what ``bridge fdb show`` has of entries that were made by somebody.

    ::

        52:54:00:12:34:56 dev vnet0 master br0 static
        52:54:00:12:34:57 dev eno1 vlan 7 sticky master br0 static
    """
    words = (line.split() for line in _lines(text))
    entries = (
        (line[0].lower(), line[2])
        for line in words
        if len(line) > 3 and line[1] == "dev" and "master" in line
    )
    # One for each VLAN of the port, and one without.
    return tuple(dict.fromkeys(entries))


def parse_clock(text: str) -> tuple[float | None, float | None]:
    """Parse the host's clock and the time of its boot, in seconds since the epoch.

    ::

        1764355098 1764351498
    """
    words = text.split()
    if len(words) != 2:
        return None, None
    return float(words[0]), float(words[1])


def parse_tuning(drops: str, other: str) -> TuningSymptoms:
    """Parse lost packets, rings and irqbalance.

    ::

        /sys/class/net/vnet0/statistics/tx_dropped 17
        /sys/class/net/p2p1/statistics/rx_missed_errors 3

        ring p2p1 256 4096
        irqbalance running
        banned 4-7
        blocked p2p1 4
        ageing kvmlab0 30000
        unflooded p2p1
        throttled p2p1 3
        nice 1234 0
        capture tcpdump 812 vnet0
        zerocopy vhost_net 0
    """
    lost: dict[str, int] = {}
    for line in _lines(drops):
        path, _, count = line.rpartition(" ")
        name = path.split("/")[4:5]
        if name and count.isdecimal():
            lost[name[0]] = lost.get(name[0], 0) + int(count)
    words = [line.split() for line in _lines(other)]
    pairs = [(line[0], line[1], line[2]) for line in words if len(line) == 3]
    numbers = [(kind, name, int(text)) for kind, name, text in pairs if _NUMBER.fullmatch(text)]
    return TuningSymptoms(
        drops=lost,
        rings={
            line[1]: (int(line[2]), int(line[3]))
            for line in words
            if len(line) == 4 and line[0] == "ring" and line[2].isdecimal() and line[3].isdecimal()
        },
        irqbalance=["irqbalance", "running"] in words,
        irqbalance_banned=next(
            (line[1] for line in words if line[:1] == ["banned"] and line[1:]), ""
        ),
        blocked={n: _PORT_STATES.get(v, str(v)) for kind, n, v in numbers if kind == "blocked"},
        ageing={n: v / 100 for kind, n, v in numbers if kind == "ageing"},
        unflooded=tuple(line[1] for line in words if line[:1] == ["unflooded"] and line[1:]),
        throttled={n: v for kind, n, v in numbers if kind == "throttled"},
        nice={n: v for kind, n, v in numbers if kind == "nice"},
        captures=tuple(
            f"{line[1]} {line[2]} at {line[3]}"
            for line in words
            if len(line) == 4 and line[0] == "capture"
        ),
        zerocopy=next((v != 0 for kind, _, v in numbers if kind == "zerocopy"), None),
    )


def parse_daemon(text: str, *, booted_at: float | None = None) -> Daemon | None:
    """Parse the daemon of libvirt; None where none runs.

    ``started`` is in seconds since the boot, and may be missing.

    ::

        name libvirtd
        Max locked memory         8388608              8388608              bytes
        State:	S (sleeping)
        CapEff:	000001ffffffffff
        started 812.5

    Raises:
        OutputError: it is not that.
    """
    if not text.strip():
        return None
    name = re.search(r"^name (\S+)$", text, re.MULTILINE)
    limit = _LIMIT.search(text)
    powers = re.search(r"^CapEff:\s+([0-9a-f]+)$", text, re.MULTILINE)
    started = re.search(r"^started ([\d.]+)$", text, re.MULTILINE)
    if name is None or limit is None or powers is None:
        raise OutputError("The limits of libvirt's daemon could not be read.", evidence=text)
    hard = limit[2]
    return Daemon(
        name=name[1],
        locked_bytes=None if hard == "unlimited" else int(hard),
        may_raise=bool(int(powers[1], 16) >> _CAP_SYS_RESOURCE & 1),
        started_at=booted_at + float(started[1]) if started and booted_at is not None else None,
    )


def parse_netfilter(text: str) -> tuple[bool | None, str | None]:
    """Parse whether bridges call iptables, and what becomes of bridged packets there.

    ::

        /proc/sys/net/bridge/bridge-nf-call-iptables:1
        -P FORWARD DROP
        -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT

    Without br_netfilter the first line is missing, without iptables the others. The verdict is
    that of the first rule for all bridged packets, else the policy.
    """
    switch = re.search(r"bridge-nf-call-iptables:([01])$", text, re.MULTILINE)
    policy = re.search(r"^-P FORWARD (\S+)$", text, re.MULTILINE)
    rule = _FOR_BRIDGED.search(text)
    verdict = rule[1] if rule else policy[1] if policy else None
    return (switch[1] == "1" if switch else None), verdict


def parse_offloads(text: str) -> dict[str, dict[str, bool]]:
    """Parse ``ethtool -k`` into offloads by interface.

    ::

        interface p2p1
        rx-checksumming: on
        tx-checksumming: on
        generic-segmentation-offload: off [requested on]
        tx-tcp-segmentation: off [fixed]

    Of `SWITCHED` those are left out that the device has not.
    """
    offloads: dict[str, dict[str, bool]] = {}
    current: dict[str, bool] = {}
    for line in _lines(text):
        head, _, name = line.partition(" ")
        if head == "interface":
            current = offloads.setdefault(name, {})
            continue
        feature, _, value = line.strip().partition(": ")
        if feature in SWITCHED and "[fixed]" in value:
            continue
        current[feature] = value.split(" ")[0] == "on"
    return offloads


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.split("\n") if line.strip())
