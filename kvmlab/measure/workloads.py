"""The workloads: a server at the peer, a client in the VM, and the parser of its output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from kvmlab.hosts import script_text
from kvmlab.measure import tool_output
from kvmlab.measure.trial_settings import Trials
from kvmlab.results import Metric, Variant

IPERF3_PORT = 5201
SOCKPERF_PORT = 11111
SPARE_SEC = 30
"""Seconds that a server or a client may outlive its plan before it is ended."""
# The shortest interval that iputils leaves to users without privileges. Each echo finds VM and host
# at rest. Sent back to back, an echo meets what the one before left behind (a VF then moderates its
# interrupts), and the median varies by a tenth.
_ECHO_EVERY_SEC = 0.002
_LATE_SEC = 4
_LOADED_EVERY_SEC = 0.01
# Echoes under load end before the load does.
_LOADED_SPARE_SEC = 0.25
_DIRECTIONS = {"up": (), "down": ("-R",), "both": ("--bidir",)}


@dataclass(frozen=True)
class Workload:
    """One workload, ready to run.

    ``listens`` is the protocol at which the server has to listen before the client starts: "tcp",
    "udp", or "none" where there is no server. ``accepted`` are the exit codes of a client whose
    output is whole. ``spins`` says that the client waits for its next packet without sleeping, so
    that the CPU time of the guest says nothing. ``arrives`` says that what the VM sends is to be
    counted on the cable as well. ``suffix`` is the kind of file that the client's raw output is.
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
    arrives: bool = False
    suffix: str = "txt"

    @property
    def is_stream(self) -> bool:
        """True for the workloads of iperf3, which bear more counting than a round trip."""
        return self.tool == "iperf3"


def workload(name: str, trials: Trials, peer_ip: str) -> Workload:
    """Return the workload ``name``; sizes and flows in the name come before those of ``trials``."""
    varied = Variant.parse(name)
    size = varied.message_bytes or trials.message_bytes
    base = varied.base.removesuffix("_flows")
    flows = varied.flows or (trials.flows if base != varied.base else 1)
    if base == "latency":
        return _ping(trials, peer_ip)
    if base == "request_response":
        return _sockperf(name, trials, peer_ip, size)
    kind, _, direction = base.rpartition("_")
    several = () if flows == 1 else ("-P", str(flows))
    sized = () if size is None else ("-l", str(size))
    if base.startswith("pps"):
        size = size or tool_output.DATAGRAM_BYTES
        down = base == "pps_down"
        extra = (*_DIRECTIONS["down" if down else "up"], "-u", "-b", "0", "-l", str(size), *several)
        read = partial(tool_output.iperf3_udp, datagram_bytes=size, down=down)
        return replace(_iperf3(name, trials, peer_ip, extra, read), arrives=not down)
    extra = (*_DIRECTIONS[direction], *several, *sized)
    if kind == "tcp":
        read = partial(tool_output.iperf3_tcp, direction=direction)
        return _iperf3(name, trials, peer_ip, extra, read)
    loaded = partial(tool_output.echoes_under_load, direction=direction)
    return _under_load(_iperf3(name, trials, peer_ip, extra, loaded), trials, peer_ip)


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
    return Workload(name, "iperf3", server, "tcp", IPERF3_PORT, client, read, suffix="json")


def _under_load(streams: Workload, trials: Trials, peer_ip: str) -> Workload:
    """Add echoes that run beside the streams."""
    text = script_text("kvmlab.measure", "under_load.sh")
    during = trials.seconds - _LOADED_SPARE_SEC
    times = (str(trials.omitted_sec), f"{during:g}", str(_LOADED_EVERY_SEC))
    client = ("sh", "-c", text, "kvmlab-under-load", *times, peer_ip, *streams.client)
    return replace(streams, client=client, suffix="txt")


def _sockperf(name: str, trials: Trials, peer_ip: str, message_bytes: int | None) -> Workload:
    port = str(SOCKPERF_PORT)
    server = ("timeout", _held(trials), "sockperf", "server", "-i", peer_ip, "-p", port)
    client = ("timeout", _held(trials), "sockperf", "ping-pong", "-i", peer_ip, "-p", port)
    times = ("-t", str(trials.total_sec), "--full-rtt")
    size = () if message_bytes is None else ("-m", str(message_bytes))
    return Workload(
        name,
        "sockperf",
        server,
        "udp",
        SOCKPERF_PORT,
        (*client, *times, *size),
        tool_output.sockperf_ping_pong,
    )


def _ping(trials: Trials, peer_ip: str) -> Workload:
    # The peer's kernel answers: no program there has to be woken, so that the path is timed and not
    # a scheduler.
    echoes = round(trials.total_sec / _ECHO_EVERY_SEC)
    every = ("-i", str(_ECHO_EVERY_SEC))
    limits = ("-c", str(echoes), "-w", str(trials.total_sec + _LATE_SEC))
    return Workload(
        "latency",
        "ping",
        (),
        "none",
        0,
        ("ping", *every, *limits, peer_ip),
        tool_output.ping_times,
        # 1: some echoes were lost or late; the others still count.
        accepted=frozenset({0, 1}),
        # iputils sleeps until an answer comes, and spins until the next echo is due.
        spins=True,
    )
