"""The server of a trial on another machine: here behind a real sshd of this one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.errors import HostUnreachable, MeasureError
from kvmlab.hosts import Host, HostKind, LocalRunner, SshTarget, Wire
from kvmlab.measure.serving import PeerServer, place
from kvmlab.measure.settings import Trials
from kvmlab.measure.trial import _peer_hint
from kvmlab.measure.workloads import Workload, workload
from kvmlab.waiting import until
from tests.hosts.conftest import Server, free_port, runtime, server

__all__ = ["runtime", "server"]

# What a traffic server is to us: it says something, listens, and goes on until it is ended.
LISTENING = """
import socket, sys, time
door = socket.socket(type=socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM)
door.bind((sys.argv[2], int(sys.argv[3])))
print("at your service", flush=True)
door.listen() if sys.argv[1] == "tcp" else None
time.sleep(600)
"""


def work(ip: str, port: int, protocol: str = "tcp", tool: str = "sh") -> Workload:
    program = (sys.executable, "-c", LISTENING, protocol, ip, str(port))
    return replace(
        workload("tcp_up", Trials(), ip),
        tool=tool,
        server=("timeout", "60", *program),
        listens=protocol,
        port=port,
    )


def cable(target: SshTarget, ip: str = "127.0.0.1") -> Wire:
    return Wire("eth1", f"{ip.rpartition('.')[0]}.9/24", f"{ip}/24", peer_ssh=target)


@pytest.fixture
def host(runtime: Path) -> Iterator[Host]:
    made = Host(
        spec="qemu:///system",
        kind=HostKind.LOCAL,
        label="this machine",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
    )
    with made:
        yield made


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_server_for_the_length_of_a_block(host: Host, server: Server, protocol: str) -> None:
    port = free_port()
    for _ in range(2):
        with PeerServer(host, cable(server.target), work("127.0.0.1", port, protocol)) as there:
            if protocol == "tcp":
                assert answers(port)
        assert "at your service" in there.log
        with socket.socket(type=socket.SOCK_DGRAM if protocol == "udp" else 1) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_a_killed_lab_leaves_no_server(server: Server, runtime: Path, repository: Path) -> None:
    port = free_port()
    program = (
        "import sys; from pathlib import Path; from kvmlab.hosts import *;"
        "from kvmlab.measure.serving import PeerServer;"
        "from tests.measure.test_serving import cable, work;"
        f"target = SshTarget('127.0.0.1', {server.port}, {server.target.user!r}, "
        f"Path({str(server.target.key_path)!r}), Path({str(server.target.known_hosts)!r}));"
        "host = Host(spec='', kind=HostKind.LOCAL, label='', runner=LocalRunner(),"
        " libvirt_uri='test:///default');"
        f"there = PeerServer(host, cable(target), work('127.0.0.1', {port}));"
        "there.__enter__(); print('up', flush=True); sys.stdin.read()"
    )
    words = (sys.executable, "-c", program)
    lab = subprocess.Popen(words, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with lab:
        assert lab.stdout is not None
        assert lab.stdout.readline() == b"up\n"
        assert answers(port)
        lab.kill()
        until(lambda: not answers(port), timeout_sec=20, what="The end of the server")


def test_what_keeps_a_server_from_serving(host: Host, server: Server) -> None:
    port = free_port()
    wire = cable(server.target)
    with pytest.raises(MeasureError, match=r"`no-such-tool` is not installed on the peer .*127"):
        PeerServer(host, wire, work("127.0.0.1", port, tool="no-such-tool")).__enter__()
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(
            MeasureError, match=rf"port {port}/tcp of the peer .* already"
        ) as caught:
            PeerServer(host, wire, work("127.0.0.1", port)).__enter__()
        assert "60 s after" in caught.value.todo
    with pytest.raises(MeasureError, match="does not listen at 192") as caught:
        PeerServer(host, cable(server.target, "192.0.2.1"), work("192.0.2.1", port)).__enter__()
    assert "has no address 192.0.2.1" in caught.value.todo
    assert "Cannot assign" in caught.value.evidence
    begun = time.monotonic()
    broken = replace(work("127.0.0.1", port), server=("timeout", "9", "false"))
    with pytest.raises(MeasureError, match="does not listen at 127"):
        PeerServer(host, wire, broken).__enter__()
    assert time.monotonic() - begun < 10, "an end is seen at once, not after the deadline"


def test_a_machine_that_is_not_there(host: Host) -> None:
    wire = cable(SshTarget("127.0.0.1", port=1, user="x"))
    with pytest.raises(HostUnreachable, match=r"the peer x@127\.0\.0\.1:1 is there, but nothing"):
        PeerServer(host, wire, work("127.0.0.1", 1)).__enter__()
    # What needs no server asks nobody.
    latency = workload("latency", Trials(), "127.0.0.1")
    with PeerServer(host, wire, latency) as there:
        assert there.log == ""


def test_places_and_hints() -> None:
    assert place("127.0.0.1", 80) == "0100007F:0050"
    assert place("::1", 5201) == "00000000000000000000000001000000:1451"
    made = workload("tcp_up", Trials(), "192.0.2.1")
    far = Wire("eth1", "192.0.2.10/24", "192.0.2.1/24")
    assert "`iperf3 -s -1 -B 192.0.2.1 -p 5201`" in _peer_hint(far, made)
    reached = Wire.parse("eth1,192.0.2.10/24,192.0.2.1/24,ssh://me@far")
    assert reached.peer_ssh == SshTarget("far", user="me")
    assert "firewall" in _peer_hint(reached, made)
    assert "me@far" in _peer_hint(reached, made)
