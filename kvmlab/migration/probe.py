"""The probe of a migration: traffic of the VM, and what the peer and both hosts see of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

from kvmlab.changes.second_host import FOLDER, NAME
from kvmlab.errors import KvmlabError, MeasureError, OutputError, UsageError
from kvmlab.hosts import ScriptOutput, parse_output, script_text, spawn_script
from kvmlab.migration.guest_program import end_program, start_program
from kvmlab.results.migration import MigrationEvent, Packet, Traffic, Via
from kvmlab.stored_files import parse_json

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Cable
    from kvmlab.hosts.remote_process import RemoteProcess

_READY_SEC: Final = 60.0
_END_SEC: Final = 120.0
_GUEST_SEC: Final = 120.0
_PORT: Final = 9001
_DATAGRAM_BYTES: Final = 100
_RECEIVED: Final = "/tmp/kvmlab-received"
_RECORD: Final = "/run/kvmlab-traffic"
_PING: Final = re.compile(
    r"^\[(?P<at>\d+\.\d+)\] \d+ bytes from \S+ icmp_seq=(?P<seq>\d+) .*time=(?P<ms>[\d.]+) ms"
    r"(?P<dup> \(DUP!\))?"
)
_SENT: Final = re.compile(r"^(\d+) packets transmitted", re.MULTILINE)
_CAPTURED: Final = re.compile(r"^(?P<at>\d+\.\d+) .*ICMP echo re\w+, id \d+, seq (?P<seq>\d+),")
_EVENT: Final = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+)\+0000: event (?P<name>\S+) for domain "
    r"\S+?:? ?(?P<data>\{.*\}|<null>)?$"
)
_STATUS: Final = re.compile(r'"status":\s*"([\w-]+)"')
_PASS: Final = re.compile(r'"pass":\s*(\d+)')
#: Parts of the CPU time, by what the names of process and thread match; the first that does.
_PARTS: Final = tuple(
    (re.compile(pattern), part)
    for pattern, part in (
        (r"qemu-system.*/CPU \d+/KVM", "vCPU"),
        (r"qemu-system.*/(vhost-\d+)", "vhost"),
        (r"vhost-\d+/", "vhost"),
        (r"qemu-system.*/(mig|live_migration|multifd|postcopy)", "migration threads"),
        (r"qemu-system", "QEMU's other threads"),
        (r"(libvirtd|rpc-libvirtd)/", "libvirtd"),
        (r"(tcpdump|ping|perl|virsh|sshd.*)/", "the recording"),
    )
)


@dataclass(frozen=True)
class TrafficRecording:
    """The output of a probe; all times in seconds from its begin, of the hosts' clock."""

    seconds: float
    sent: int
    packets: tuple[Packet, ...]
    duplicates: int
    reordered: int
    stream: tuple[tuple[float, int], ...]
    events: tuple[MigrationEvent, ...]
    cpu_sec: Mapping[str, float]


class MigrationProbe:
    """Traffic between the VM and its peer for the length of a block; a context manager.

    Each of ``traffic`` is described in :data:`kvmlab.results.migration.TRAFFIC_TEXTS`. `recording`
    is there once `finish` was given the VM where it runs then. ``ports`` are the ports of the
    bridges of host A and B; with ``has_vf`` the VM's packets that pass neither have left by a VF.
    """

    def __init__(
        self,
        vm: TestVM,
        cable: Cable,
        *,
        traffic: Traffic,
        mac: str,
        ports: tuple[str, str],
        has_vf: bool = False,
        interval_sec: float = 0.02,
    ) -> None:
        self._vm = vm
        self._cable = cable
        self._traffic = traffic
        self._mac = mac
        self._ports = ports
        self._otherwise: Via = "VF" if has_vf else ""
        self._interval_sec = interval_sec
        self._process: RemoteProcess | None = None
        self._has_program = False
        self._output = ""

    def __enter__(self) -> Self:
        """Start the traffic and the recording.

        Raises:
            UsageError: the peer is no namespace of the host.
            HostUnreachable, CommandFailed, CommandTimeout, AgentTimeout: they do not start.
        """
        cable = self._cable
        if cable.peer_netns is None or cable.peer_port is None:
            raise UsageError("A migration is recorded at a peer in a namespace of the host.")
        vm_ip, peer_ip = (a.partition("/")[0] for a in (cable.vm_address, cable.peer_address))
        try:
            self._start_receiver()
            self._process = spawn_script(
                self._vm.host.runner,
                "kvmlab.migration",
                "migration_probe.sh",
                *(self._traffic, cable.peer_netns, cable.peer_port, *self._ports, NAME),
                *(f"{FOLDER}/run/libvirt-sock", self._mac, peer_ip, vm_ip),
                f"{self._interval_sec:g}",
                *(script_text("kvmlab.migration", name) for name in ("traffic.pl", "cpu_times.pl")),
                str(round(_DATAGRAM_BYTES * 8 / self._interval_sec)),
                root=True,
            )
            self._process.expect("=== ready", timeout_sec=_READY_SEC)
            self._start_sender(peer_ip)
        except BaseException:
            if self._process is not None:
                self._process.kill()
            self._give_up()
            raise
        return self

    def _start_receiver(self) -> None:
        if self._traffic == "receives":
            line = 'exec iperf3 -s -1 -i 0.1 -J >"$1"'
            self._start_in_guest(("sh", "-c", line, "sh", _RECEIVED))
            # Not long; nothing in the VM says when it listens, and the client tries once.
            self._vm.agent.run(("sleep", "0.3"), timeout_sec=_GUEST_SEC)

    def _start_sender(self, peer_ip: str) -> None:
        if self._traffic == "sends":
            every = f"{self._interval_sec:g}"
            self._start_in_guest(("ping", "-n", "-q", "-i", every, peer_ip))
        elif self._traffic == "tcp":
            line = 'exec nc "$1" "$2" </dev/zero'
            self._start_in_guest(("sh", "-c", line, "sh", peer_ip, str(_PORT)))

    def _start_in_guest(self, argv: tuple[str, ...]) -> None:
        start_program(self._vm, _RECORD, argv)
        self._has_program = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        assert process is not None
        if kind is not None:
            process.stop()
            self._give_up()
            return
        self._output = process.finish(timeout_sec=_END_SEC).stdout

    def finish(self, vm: TestVM) -> TrafficRecording:
        """End the traffic inside ``vm``, which is the VM where it runs now; return the recording.

        Raises:
            MeasureError: the block has not ended.
            OutputError: a part of the recording cannot be read.
        """
        if not self._output:
            raise MeasureError("A migration is read once its recording has ended.")
        return parse_recording(
            self._output,
            traffic=self._traffic,
            received=self._end_program(vm),
            otherwise=self._otherwise,
        )

    def _end_program(self, vm: TestVM) -> str:
        """End the program inside the VM, where it has one; return its report of what came in."""
        if not self._has_program:
            return ""
        self._has_program = False
        end_program(vm, _RECORD)
        if self._traffic != "receives":
            return ""
        # The receiver ends with its sender.
        line = f"cat {_RECEIVED} 2>&-; rm -f {_RECEIVED}"
        return vm.agent.run(("sh", "-c", line), timeout_sec=_GUEST_SEC).stdout

    def _give_up(self) -> None:
        """End the program of a VM that did not migrate; one that does not answer keeps it."""
        with suppress(KvmlabError):
            self._end_program(self._vm)


def parse_recording(
    text: str, *, traffic: Traffic, received: str = "", otherwise: Via = "VF"
) -> TrafficRecording:
    """Parse the output of ``migration_probe.sh``, and the report of what the VM received.

    ``otherwise`` is the NIC of packets that no bridge has forwarded.

    Raises:
        OutputError: a section is missing or of another shape.
    """
    sections = parse_output(text)
    try:
        return _recording(sections, traffic=traffic, received=received, otherwise=otherwise)
    except (ValueError, OverflowError) as error:
        raise OutputError(
            f"The recording of a migration cannot be read: {error}.", evidence=text[-400:]
        ) from error


def _recording(
    sections: ScriptOutput, *, traffic: Traffic, received: str, otherwise: Via
) -> TrafficRecording:
    """Read the sections. Raises ValueError where a number is none, and as `parse_recording`."""
    begin, end = float(sections.text("started")), float(sections.text("stopped"))
    via = _nics(sections.text("by_bridge_a"), sections.text("by_bridge_b"))
    body = sections.text("traffic")
    stream: tuple[tuple[float, int], ...] = ()
    arrived: list[Packet] = []
    duplicates = sent = 0
    if traffic == "answers":
        arrived, duplicates, sent = _answers(body, begin, via, otherwise)
    elif traffic == "sends":
        arrived, duplicates, sent = _captured(body, begin, via, otherwise)
    elif traffic == "receives":
        arrived, duplicates, sent = _received(body, received, begin)
    else:
        pairs = [line.split() for line in body.splitlines() if len(line.split()) == 2]
        stream = tuple((float(at) - begin, int(size)) for at, size in pairs)
    return TrafficRecording(
        seconds=end - begin,
        sent=sent,
        packets=tuple(arrived),
        duplicates=duplicates,
        reordered=_reordered(arrived),
        stream=stream,
        events=tuple(
            sorted(
                (
                    *_events(sections.text("events_a"), "A", begin),
                    *_events(sections.text("events_b"), "B", begin),
                    *_announcements(sections.text("announcements"), begin),
                ),
                key=lambda event: event.at_sec,
            )
        ),
        cpu_sec=_cpu(sections.text("cpu")),
    )


def _nics(on_a: str, on_b: str) -> dict[int, Via]:
    """Return the card by which each numbered echo left the VM, where a bridge forwarded it."""
    texts: Mapping[Via, str] = {"virtio on A": on_a, "virtio on B": on_b}
    return {
        int(match["seq"]): card
        for card, text in texts.items()
        for match in filter(None, map(_CAPTURED.match, text.splitlines()))
    }


def _answers(
    text: str, begin: float, via: Mapping[int, Via], otherwise: Via
) -> tuple[list[Packet], int, int]:
    total = _SENT.search(text)
    if total is None:
        raise OutputError("ping printed no statistics.", evidence=text[-400:])
    packets, duplicates = [], 0
    for match in filter(None, map(_PING.match, text.splitlines())):
        if match["dup"]:
            duplicates += 1
            continue
        number = int(match["seq"])
        packets.append(
            Packet(
                number, float(match["at"]) - begin, float(match["ms"]), via.get(number, otherwise)
            )
        )
    return packets, duplicates, int(total[1])


def _captured(
    text: str, begin: float, via: Mapping[int, Via], otherwise: Via
) -> tuple[list[Packet], int, int]:
    packets: list[Packet] = []
    seen: set[int] = set()
    duplicates = 0
    for match in filter(None, map(_CAPTURED.match, text.splitlines())):
        number = int(match["seq"])
        if number in seen:
            duplicates += 1
            continue
        seen.add(number)
        packets.append(Packet(number, float(match["at"]) - begin, None, via.get(number, otherwise)))
    return packets, duplicates, max(seen) - min(seen) + 1 if seen else 0


def _received(captured: str, report: str, begin: float) -> tuple[list[Packet], int, int]:
    """Return what arrived of the captured datagrams, by the report of the iperf3 in the VM.

    An interval of the report counts datagrams by their numbers, the lost ones before its first.

    Raises:
        OutputError: it is no report.
    """
    mark = f"UDP, length {_DATAGRAM_BYTES}"
    sent = [
        float(line.partition(" ")[0]) - begin
        for line in captured.splitlines()
        if line.endswith(mark)
    ]
    try:
        sums = [interval["sum"] for interval in parse_json(report)["intervals"]]
        counts = [(int(one["packets"]), int(one["lost_packets"])) for one in sums]
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            "The VM's report of what it received cannot be read.", evidence=report[-400:]
        ) from error
    packets: list[Packet] = []
    number = 0
    for total, lost in counts:
        arrived = range(number + lost, min(number + total, len(sent)))
        packets += [Packet(index + 1, sent[index]) for index in arrived]
        number += total
    return packets, 0, len(sent)


def _reordered(packets: Iterable[Packet]) -> int:
    highest, late = 0, 0
    for packet in packets:
        late += packet.number < highest
        highest = max(highest, packet.number)
    return late


def _events(text: str, host: Literal["A", "B"], begin: float) -> Iterable[MigrationEvent]:
    for match in filter(None, map(_EVENT.match, text.splitlines())):
        at = datetime.fromisoformat(match["at"] + "+00:00").timestamp() - begin
        name, data = match["name"], match["data"] or ""
        if name == "MIGRATION" and (status := _STATUS.search(data)):
            name = f"status {status[1]}"
        elif name == "MIGRATION_PASS" and (number := _PASS.search(data)):
            name = f"pass {number[1]}"
        yield MigrationEvent(at, host, name)


def _announcements(text: str, begin: float) -> Iterable[MigrationEvent]:
    for line in text.splitlines():
        at, _, rest = line.partition(" ")
        if not re.fullmatch(r"\d+\.\d+", at):
            continue
        # The VM's own packets of ARP count as announcements only where they ask for nobody else.
        if "Reverse ARP" in rest:
            yield MigrationEvent(float(at) - begin, "peer", "RARP by QEMU")
        elif "ff:ff:ff:ff:ff:ff" in rest:
            yield MigrationEvent(float(at) - begin, "peer", "ARP by the guest")


def _cpu(text: str) -> dict[str, float]:
    """Return the CPU time by part, in seconds."""
    parts: dict[str, float] = {}
    for row in (line.split(None, 2) for line in text.splitlines()):
        if len(row) == 3:
            part = next((part for rule, part in _PARTS if rule.match(row[2])), "other programs")
            parts[part] = parts.get(part, 0.0) + int(row[1]) / 1e9
    return {part: round(seconds, 3) for part, seconds in parts.items() if seconds > 0.0005}
