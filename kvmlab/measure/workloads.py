"""The workloads: a server on the peer, a client in the VM, and how its output is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kvmlab.measure import tools
from kvmlab.measure.settings import Trials
from kvmlab.results import Metric

IPERF3_PORT = 5201
SOCKPERF_PORT = 11111
SPARE_SEC = 30
"""How much longer than planned a server or a client may live before it is ended."""
# The shortest interval that iputils leaves to users without privileges. Each echo finds VM and host
# at rest, so that it meets nothing but its own way. Sent one upon the other they meet what the one
# before left behind (a VF's card then holds interrupts back), and their median wanders by a tenth.
_ECHO_EVERY_SEC = 0.002
_LATE_SEC = 4


@dataclass(frozen=True)
class Workload:
    """One workload, ready to run.

    ``listens`` is what the server has to be seen doing before the client starts: "tcp", "udp" or
    "none". ``accepted`` are the exit codes of a client whose output is whole.
    ``spins`` says that the client waits for its next packet without sleeping, so that the CPU time
    of the guest says nothing.
    """

    name: str
    tool: str
    server: tuple[str, ...]
    listens: str
    port: int
    client: tuple[str, ...]
    read: Callable[[str], tuple[Metric, ...]]
    accepted: frozenset[int] = frozenset({0})
    spins: bool = False

    @property
    def suffix(self) -> str:
        """The kind of file that its raw output is."""
        return "json" if self.tool == "iperf3" else "txt"


def holder(held_sec: int) -> tuple[str, ...]:
    """What stands in for a server where none is needed: it holds the peer's namespace open."""
    return ("sleep", str(held_sec))


def workload(name: str, trials: Trials, peer_ip: str) -> Workload:
    """The workload ``name`` of the settings."""
    if name == "latency":
        return _ping(trials, peer_ip)
    if name == "request_response":
        return _sockperf(trials, peer_ip)
    kind = name.removesuffix("_flows")
    extra = ("-P", str(trials.flows)) if kind != name else ()
    if kind == "pps":
        size = trials.message_bytes or tools.DATAGRAM_BYTES
        datagrams = ("-u", "-b", "0", "-l", str(size))
        read = partial(tools.iperf3_udp, datagram_bytes=size)
        return _iperf3(name, trials, peer_ip, (*datagrams, *extra), read)
    direction = kind.removeprefix("tcp_")
    extra = ("-R", *extra) if direction == "down" else extra
    if trials.message_bytes is not None:
        extra = (*extra, "-l", str(trials.message_bytes))
    return _iperf3(name, trials, peer_ip, extra, partial(tools.iperf3_tcp, direction=direction))


def _held(trials: Trials) -> str:
    return str(trials.total_sec + SPARE_SEC)


def _iperf3(
    name: str,
    trials: Trials,
    peer_ip: str,
    extra: tuple[str, ...],
    read: Callable[[str], tuple[Metric, ...]],
) -> Workload:
    port = str(IPERF3_PORT)
    # Server: one test, then it ends. An aborted client would leave it busy: `timeout` ends it.
    server = ("timeout", _held(trials), "iperf3", "-s", "-1", "-B", peer_ip, "-p", port)
    times = ("-t", str(int(trials.seconds)), "-O", str(trials.omitted_sec))
    client = ("timeout", _held(trials), "iperf3", "-c", peer_ip, "-p", port, *times, *extra, "-J")
    return Workload(name, "iperf3", server, "tcp", IPERF3_PORT, client, read)


def _sockperf(trials: Trials, peer_ip: str) -> Workload:
    port = str(SOCKPERF_PORT)
    server = ("timeout", _held(trials), "sockperf", "server", "-i", peer_ip, "-p", port)
    client = ("timeout", _held(trials), "sockperf", "ping-pong", "-i", peer_ip, "-p", port)
    times = ("-t", str(trials.total_sec), "--full-rtt")
    size = () if trials.message_bytes is None else ("-m", str(trials.message_bytes))
    return Workload(
        "request_response",
        "sockperf",
        server,
        "udp",
        SOCKPERF_PORT,
        (*client, *times, *size),
        tools.sockperf_ping_pong,
    )


def _ping(trials: Trials, peer_ip: str) -> Workload:
    # The peer's kernel answers: no program there has to be woken, so that what is timed is the way
    # and not a scheduler.
    echoes = round(trials.total_sec / _ECHO_EVERY_SEC)
    every = ("-i", str(_ECHO_EVERY_SEC))
    limits = ("-c", str(echoes), "-w", str(trials.total_sec + _LATE_SEC))
    return Workload(
        "latency",
        "ping",
        holder(trials.total_sec + SPARE_SEC),
        "none",
        0,
        ("ping", *every, *limits, peer_ip),
        tools.ping_times,
        # 1: fewer came back than were asked for, which is lossy or slow, and still an answer.
        accepted=frozenset({0, 1}),
        # iputils sleeps until an answer comes, and spins until the next echo is due.
        spins=True,
    )
