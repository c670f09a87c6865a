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


@dataclass(frozen=True)
class Workload:
    """One workload, ready to run.

    ``listens`` is what the server has to be seen doing before the client starts: "tcp", "udp" or
    "none".
    """

    name: str
    tool: str
    server: tuple[str, ...]
    listens: str
    port: int
    client: tuple[str, ...]
    read: Callable[[str], tuple[Metric, ...]]

    @property
    def suffix(self) -> str:
        """The kind of file that its raw output is."""
        return "json" if self.tool == "iperf3" else "txt"


def holder(held_sec: int) -> tuple[str, ...]:
    """What stands in for a server where none is needed: it holds the peer's namespace open."""
    return ("sleep", str(held_sec))


def workload(name: str, trials: Trials, peer_ip: str, *, sockperf: bool) -> Workload:
    """The workload ``name`` of the settings; without ``sockperf`` latency is told by ping."""
    if name == "latency":
        return _sockperf(trials, peer_ip) if sockperf else _ping(trials, peer_ip)
    if name == "pps":
        return _iperf3(
            name,
            trials,
            peer_ip,
            ("-u", "-b", "0", "-l", str(tools.DATAGRAM_BYTES)),
            tools.iperf3_udp,
        )
    direction = name.removeprefix("tcp_")
    extra = ("-R",) if direction == "down" else ()
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
    return Workload(
        "latency",
        "sockperf",
        server,
        "udp",
        SOCKPERF_PORT,
        (*client, *times),
        tools.sockperf_ping_pong,
    )


def _ping(trials: Trials, peer_ip: str) -> Workload:
    every_sec = 0.1
    count = str(round(trials.total_sec / every_sec))
    client = ("timeout", _held(trials), "ping", "-i", str(every_sec), "-c", count, peer_ip)
    server = holder(trials.total_sec + SPARE_SEC)
    return Workload("latency", "ping", server, "none", 0, client, tools.ping_times)
