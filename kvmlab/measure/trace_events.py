"""The kernel's trace of one echo, parsed into the hops of its path: pure, text in, a path out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvmlab.errors import MeasureError, OutputError
from kvmlab.hosts import parse_output
from kvmlab.results import Direction, Hop, Leg, Path, Side

ECHO_DATA_BYTES = 1003
"""An odd size that nothing else on a quiet host has."""

_LINE = re.compile(
    r"^\s*(?P<comm>.+)-(?P<tid>\d+)\s+\[\d+\]\s+(?P<flags>\S+)\s+(?P<at>\d+\.\d+): "
    r"(?P<event>\w+): (?P<rest>.*)$",
    re.MULTILINE,
)
_DIRECTION: dict[str, Direction] = {"net_dev_start_xmit": "out", "netif_receive_skb": "in"}
_BRIDGE_EVENT = "bridge_forward"
_PASSED_BY = "No device of the host saw the packet, and the peer is another machine."
_NAMELESS = (
    "The host's kernel saw the packet and recorded no names of devices: its path is not known."
)


@dataclass(frozen=True)
class Event:
    """One line of the trace."""

    name: str
    device: str
    packet: int  # the address of the packet's buffer, the same while one kernel handles it
    at_us: float
    comm: str
    tid: int
    in_softirq: bool


@dataclass(frozen=True)
class TraceLink:
    """A network device of the host: what it is, and whose port."""

    kind: str
    master: str | None


@dataclass(frozen=True)
class Trace:
    """The output of ``path.sh stop``."""

    events: tuple[Event, ...]
    links: dict[str, TraceLink]


@dataclass(frozen=True)
class Ends:
    """The devices at both ends and the VM's threads, known before the echo."""

    guest_interface: str
    port: str
    peer_port: str | None
    host_device: str | None
    pid: int
    vcpus: frozenset[int]
    vhost: frozenset[int]

    def side(self, device: str) -> Side:
        """Return "peer" for the peer's port, "host" for every other device in a trace."""
        return "peer" if device == self.peer_port else "host"

    def carrier(self, event: Event) -> str:
        """Return what moved the packet: a role of the VM's threads, softirq, another program."""
        if event.in_softirq:
            # The thread in the trace is whichever was interrupted: it did not do the work.
            return "softirq"
        if event.tid in self.vcpus:
            return "vCPU thread of QEMU"
        if event.tid in self.vhost or event.comm.startswith("vhost-"):
            return "vhost worker"
        return "QEMU main loop" if event.tid == self.pid else event.comm


def parse_trace(text: str) -> Trace:
    """Parse a trace into events in order of time, and the host's devices.

    ::

        === trace
        # tracer: nop
        #           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
         qemu-system-x86-712     [001] b..1.   401.226210: netif_receive_skb: dev=vnet0 \
    skbaddr=ffff8880054b6900 len=1031
         qemu-system-x86-712     [001] b..1.   401.226312: bridge_forward: (br_forward+0x4/0x1c0) \
    skbaddr=0xffff8880054b6900
         qemu-system-x86-712     [001] b..2.   401.226401: net_dev_start_xmit: dev=p2p1 \
    queue_mapping=0 skbaddr=ffff8880054b6900 ... len=1045 ...
        === links
        br-kvmlab bridge -
        p2p1 port br-kvmlab
        === end

    Linux 6.1 prints no devices there; then the same lines follow once more as ``=== names``.

    Raises:
        OutputError: it broke off.
    """
    output = parse_output(text)
    links = {}
    for line in output.text("links").splitlines():
        words = line.split()
        if len(words) != 3:
            raise OutputError("The list of network devices broke off.", evidence=line)
        links[words[0]] = TraceLink(words[1], None if words[2] == "-" else words[2])
    names = output.optional_text("names")
    events = _named(_events(output.text("trace")), _events(names))
    return Trace(tuple(sorted(events, key=lambda event: event.at_us)), links)


def _events(text: str) -> list[Event]:
    return [_event(line) for line in _LINE.finditer(text)]


def _named(events: list[Event], names: list[Event]) -> list[Event]:
    """Return the events with the devices of ``names``, the same events printed once more."""
    if len(names) != len(events):
        return events
    pairs = zip(events, names, strict=True)
    return [replace(event, device=named.device) for event, named in pairs]


def _event(line: re.Match[str]) -> Event:
    device = re.search(r"\bdev=(\S+)", line["rest"])
    packet = re.search(r"\bskbaddr=(?:0x)?([0-9a-f]+)", line["rest"])
    if packet is None:
        raise OutputError("A line of the trace names no packet.", evidence=line[0])
    return Event(
        name=line["event"],
        device=device[1] if device else "",
        packet=int(packet[1], 16),
        at_us=float(line["at"]) * 1e6,
        comm=line["comm"].strip(),
        tid=int(line["tid"]),
        in_softirq=line["flags"][2:3] in ("s", "h", "H"),
    )


def build_path(trace: Trace, ends: Ends) -> Path:
    """Return the hops of one echo, there and back, from its events and the known devices.

    What no tracepoint shows (the guest's own interface, a bridge without its probe) is an
    ``inferred`` hop. Where nothing between the two ends can be known, a note says why.

    Raises:
        MeasureError: no event belongs to the echo.
    """
    net = [event for event in trace.events if event.name in _DIRECTION and event.device != "lo"]
    if not net and ends.peer_port is None and ends.host_device is None:
        return _only_the_guest(ends, _PASSED_BY)
    if any(not event.device for event in net):
        return _only_the_guest(ends, _NAMELESS)
    if not net:
        raise MeasureError(
            "The echo was answered, and no tracepoint of the host saw it.",
            todo="Is the peer's end on this host? Without one, only the host's devices show.",
        )
    net = _last_echo(net)
    start = net[0].at_us
    turn = _turning_point(net, ends)
    probes = [event for event in trace.events if event.name == _BRIDGE_EVENT]
    hops: list[Hop] = []
    for index, event in enumerate(net):
        leg: Leg = "request" if index <= turn else "reply"
        hop = _hop(event, leg, trace, ends, start)
        hops.append(hop)
        hops.extend(_bridge(event, hop, trace, probes, ends, start))
    first, last = hops[0], hops[-1]
    guest, back = _at_the_guest(ends, last.at_us)
    notes = () if first.side == "host" else ("No device of the host saw the packet.",)
    return Path((guest, *hops, back), ECHO_DATA_BYTES, last.at_us, notes)


def _at_the_guest(ends: Ends, back_us: float) -> tuple[Hop, Hop]:
    guest = Hop("request", "guest", ends.guest_interface, "guest NIC", "out", 0.0, "guest kernel")
    guest = replace(guest, inferred=True, note="the echo was sent from here")
    back = replace(guest, leg="reply", direction="in", at_us=back_us, note="and came back here")
    return guest, back


def _only_the_guest(ends: Ends, why: str) -> Path:
    return Path(_at_the_guest(ends, 0.0), ECHO_DATA_BYTES, None, (why,))


def _last_echo(events: Sequence[Event]) -> list[Event]:
    """Return the events of the last echo: the first ones warm caches, and an emulator's code."""
    first = events[0]
    starts = [
        index
        for index, event in enumerate(events)
        if (event.name, event.device) == (first.name, first.device)
    ]
    return list(events[starts[-1] :])


def _turning_point(events: Sequence[Event], ends: Ends) -> int:
    """Return the index of the last event of the request."""
    for index, event in enumerate(events):
        direction = _DIRECTION[event.name]
        if ends.peer_port and event.device == ends.peer_port and direction == "in":
            return index
        if not ends.peer_port and event.device == ends.port and direction == "out":
            return index
    return len(events) - 1


def _hop(event: Event, leg: Leg, trace: Trace, ends: Ends, start: float) -> Hop:
    side = ends.side(event.device)
    link = trace.links.get(event.device)
    kind = "port" if side == "peer" or link is None else link.kind
    return Hop(
        leg=leg,
        side=side,
        device=event.device,
        kind=kind,
        direction=_DIRECTION[event.name],
        at_us=event.at_us - start,
        carrier=ends.carrier(event),
        comm=event.comm,
        tid=event.tid,
        event=f"net:{event.name}",
    )


def _bridge(
    event: Event, hop: Hop, trace: Trace, probes: Sequence[Event], ends: Ends, start: float
) -> list[Hop]:
    """Return the bridge behind a port that received the packet, if it has one, as a hop."""
    link = trace.links.get(event.device)
    bridge = link.master if link and hop.direction == "in" and hop.side == "host" else None
    if not bridge or trace.links.get(bridge, TraceLink("", None)).kind != "bridge":
        return []
    through = replace(hop, device=bridge, kind="bridge", direction="through")
    for probe in probes:
        if probe.packet == event.packet and probe.at_us >= event.at_us:
            return [
                replace(
                    through,
                    at_us=probe.at_us - start,
                    carrier=ends.carrier(probe),
                    comm=probe.comm,
                    tid=probe.tid,
                    event="kprobe:br_forward",
                )
            ]
    note = f"{event.device} is a port of {bridge}; the bridge has no tracepoint of its own"
    return [replace(through, event="", inferred=True, note=note)]
