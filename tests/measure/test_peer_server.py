"""The server of a trial on another machine: here behind a real sshd of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from kvmlab.deadline import until
from kvmlab.errors import HostUnreachable, MeasureError
from kvmlab.hosts import Cable, Host, HostKind, LocalRunner, SshTarget
from kvmlab.measure.meters import Meters
from kvmlab.measure.peer_server import PeerServer, place
from kvmlab.measure.trial import peer_hint
from kvmlab.measure.trial_settings import Trials
from kvmlab.measure.workloads import Workload, workload
from tests.hosts.conftest import Server, free_port, runtime, server

__all__ = ["runtime", "server"]

# A traffic server: it prints something, listens, and runs until it is ended.
LISTENING = """
import socket, sys, time
door = socket.socket(type=socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM)
door.bind((sys.argv[2], int(sys.argv[3])))
print("at your service", flush=True)
door.listen() if sys.argv[1] == "tcp" else None
time.sleep(600)
"""


#: The system's own: servers run as nobody, who may not read the folder of this test's environment.
PYTHON: Final = "/usr/bin/python3"


def work(ip: str, port: int, protocol: str = "tcp", tool: str = "sh") -> Workload:
    program = (PYTHON, "-c", LISTENING, protocol, ip, str(port))
    return replace(
        workload("tcp_up", Trials(), ip),
        tool=tool,
        server=("timeout", "60", *program),
        listens=protocol,
        port=port,
    )


def cable_to(target: SshTarget, ip: str = "127.0.0.1") -> Cable:
    return Cable("eth1", f"{ip.rpartition('.')[0]}.9/24", f"{ip}/24", peer_ssh=target)


@pytest.fixture
def host(runtime: Path) -> Iterator[Host]:
    here = Host(
        spec="qemu:///system",
        kind=HostKind.LOCAL,
        label="this machine",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
    )
    with here:
        yield here


def peer_server(host: Host, cable: Cable, work: Workload) -> PeerServer:
    return PeerServer(host, cable, work, Meters(host))


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def owners_of(port: int) -> set[int]:
    """Return the users whose processes have this port in their command line's end."""
    owners = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if words[-1] == str(port).encode() and b"serve" not in b" ".join(words[:3]):
                owners.add(folder.stat().st_uid)
    return owners


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_server_for_the_length_of_a_block(host: Host, server: Server, protocol: str) -> None:
    port = free_port()
    for _ in range(2):
        with peer_server(
            host, cable_to(server.target), work("127.0.0.1", port, protocol)
        ) as running:
            if protocol == "tcp":
                assert answers(port)
            assert owners_of(port) == {65534 if os.geteuid() == 0 else os.geteuid()}
        assert "at your service" in running.log
        with socket.socket(type=socket.SOCK_DGRAM if protocol == "udp" else 1) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_a_killed_lab_leaves_no_server(server: Server, runtime: Path, repository: Path) -> None:
    port = free_port()
    program = (
        "import sys; from pathlib import Path; from kvmlab.hosts import *;"
        "from tests.measure.test_peer_server import cable_to, peer_server, work;"
        f"target = SshTarget('127.0.0.1', {server.port}, {server.target.user!r}, "
        f"Path({str(server.target.key_path)!r}), Path({str(server.target.known_hosts)!r}));"
        "host = Host(spec='', kind=HostKind.LOCAL, label='', runner=LocalRunner(),"
        " libvirt_uri='test:///default');"
        f"there = peer_server(host, cable_to(target), work('127.0.0.1', {port}));"
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


def test_a_server_that_cannot_serve_is_refused_with_the_reason(host: Host, server: Server) -> None:
    port = free_port()
    cable = cable_to(server.target)
    with pytest.raises(MeasureError, match=r"`no-such-tool` is not installed on the peer .*127"):
        peer_server(host, cable, work("127.0.0.1", port, tool="no-such-tool")).__enter__()
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(
            MeasureError, match=rf"port {port}/tcp of the peer .* already"
        ) as refused:
            peer_server(host, cable, work("127.0.0.1", port)).__enter__()
        assert "60 s after" in refused.value.todo
    with pytest.raises(MeasureError, match="does not listen at 192") as refused:
        peer_server(host, cable_to(server.target, "192.0.2.1"), work("192.0.2.1", port)).__enter__()
    assert "has no address 192.0.2.1" in refused.value.todo
    assert "Cannot assign" in refused.value.evidence
    began_sec = time.monotonic()
    broken = replace(work("127.0.0.1", port), server=("timeout", "9", "false"))
    with pytest.raises(MeasureError, match="does not listen at 127"):
        peer_server(host, cable, broken).__enter__()
    assert time.monotonic() - began_sec < 10, "an end is seen at once, not after the deadline"


def test_a_machine_that_is_not_there(host: Host) -> None:
    cable = cable_to(SshTarget("127.0.0.1", port=1, user="x"))
    with pytest.raises(HostUnreachable, match=r"the peer x@127\.0\.0\.1:1 is there, but nothing"):
        peer_server(host, cable, work("127.0.0.1", 1)).__enter__()
    # A workload without a server asks no machine.
    latency = workload("latency", Trials(), "127.0.0.1")
    with peer_server(host, cable, latency) as running:
        assert running.log == ""


def test_places_and_hints() -> None:
    assert place("127.0.0.1", 80) == "0100007F:0050"
    assert place("::1", 5201) == "00000000000000000000000001000000:1451"
    streams = workload("tcp_up", Trials(), "192.0.2.1")
    far = Cable("eth1", "192.0.2.10/24", "192.0.2.1/24")
    assert "`iperf3 -s -1 -B 192.0.2.1 -p 5201`" in peer_hint(far, streams)
    reached = Cable.parse("eth1,192.0.2.10/24,192.0.2.1/24,ssh://me@far")
    assert reached.peer_ssh == SshTarget("far", user="me")
    assert "firewall" in peer_hint(reached, streams)
    assert "me@far" in peer_hint(reached, streams)
