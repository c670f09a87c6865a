"""The libvirt client: libvirt's test driver, dead sockets, and the rules for its errors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kvmlab.errors import (
    DomainNotFound,
    HostRefused,
    HostUnreachable,
    KvmlabError,
    LibvirtFailed,
    Unavailable,
)
from kvmlab.hosts import Host, HostKind, LocalRunner, libvirt_client, open_host
from kvmlab.hosts.libvirt_errors import libvirt_error
from tests.hosts.conftest import Server


@pytest.fixture
def connection() -> Iterator[Any]:
    opened = libvirt_client.open_connection("test:///default", host="the test driver")
    yield opened
    libvirt_client.close_connection(opened)


def test_a_call(connection: Any) -> None:
    domain = libvirt_client.call(connection.lookupByName, "test")
    assert libvirt_client.call(domain.name) == "test"


def test_no_such_domain(connection: Any) -> None:
    with pytest.raises(DomainNotFound, match="no such domain on kvm1"):
        libvirt_client.call(connection.lookupByName, "nope", host="kvm1")


def test_other_errors_carry_libvirts_code(connection: Any) -> None:
    with pytest.raises(LibvirtFailed, match="could not define a domain: missing name") as caught:
        libvirt_client.call(connection.defineXML, "<domain/>", what="define a domain", host="kvm1")
    assert caught.value.code == 21
    assert caught.value.__cause__ is not None


def test_libvirt_itself_prints_nothing(connection: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DomainNotFound):
        libvirt_client.call(connection.lookupByName, "nope")
    assert capfd.readouterr().err == ""


def test_closing_twice(connection: Any) -> None:
    libvirt_client.close_connection(connection)
    libvirt_client.close_connection(connection)


def test_a_host_opens_libvirt_when_it_is_first_used() -> None:
    host = Host(
        spec="test",
        kind=HostKind.LOCAL,
        label="test",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
    )
    with host:
        assert host.libvirt is host.libvirt
        assert libvirt_client.call(host.libvirt.getType) == "TEST"


def test_socket_without_a_listener(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with pytest.raises(Unavailable, match="No libvirt answers on kvm1") as caught:
        _open_socket(path)
    assert caught.value.rule == "libvirt-missing"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(Unavailable):
        _open_socket(path)


def test_a_libvirt_that_never_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        started = time.monotonic()
        with pytest.raises(HostUnreachable, match=r"did not answer within 0\.5 s"):
            _open_socket(tmp_path / "sock", deadline_sec=0.5)
        assert time.monotonic() - started < 30


def test_time_without_cpu_does_not_count_as_silence() -> None:
    """A process that is stopped, or starved, for longer than the deadline: seen under load."""
    script = """
import os, subprocess, time
from kvmlab.hosts import libvirt_client
def stopped_for_two_seconds():
    again = f"kill -STOP {os.getpid()}; sleep 2; kill -CONT {os.getpid()}"
    subprocess.Popen(("sh", "-c", again))
    time.sleep(0.3)
    return "opened"
print(libvirt_client._within(1.0, stopped_for_two_seconds, host="kvm1"))
"""
    argv = (sys.executable, "-c", script)
    done = subprocess.run(argv, text=True, capture_output=True, timeout=60, check=False)
    assert done.stdout == "opened\n", done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
def test_socket_without_permission(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        (tmp_path / "sock").chmod(0)
        with pytest.raises(HostRefused):
            _open_socket(tmp_path / "sock")


def test_libvirt_over_ssh_uses_our_connection_only(
    server: Server, runtime: Path, tmp_path: Path
) -> None:
    spec = f"qemu+ssh://{server.target.user}@127.0.0.1:{server.port}/system"
    with open_host(spec, ssh=server.target, label="kvm1") as host:
        logins = _logins(server)
        # This machine may have a libvirt or none: it answers, or one sentence says that it is
        # missing or closed, and in no case somebody logs in again.
        with suppress(Unavailable, HostRefused, LibvirtFailed):
            assert libvirt_client.call(host.libvirt.getURI).startswith("qemu+ssh://")
        assert _logins(server) == logins
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (42, "Domain not found: no domain with matching name 'x'", DomainNotFound),
        (
            38,
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
            HostRefused,
        ),
        (45, "authentication failed: access denied by policy", HostRefused),
        (
            80,
            "authentication unavailable: no polkit agent available to authenticate action "
            "'org.libvirt.unix.manage'",
            HostRefused,
        ),
        (
            1,
            "internal error: Unable to get system bus connection: Could not connect: No such file "
            "or directory",
            HostRefused,
        ),
        (
            38,
            "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
            Unavailable,
        ),
        (
            38,
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Connection refused",
            Unavailable,
        ),
        (
            38,
            "Cannot recv data: sh: 1: nc: not found: Connection reset by peer",
            Unavailable,
        ),
        (5, "no connection driver available for qemu:///system", Unavailable),
        (
            38,
            "Cannot recv data: the shared connection is gone: Connection reset by peer",
            HostUnreachable,
        ),
        (38, "End of file while reading data: Input/output error", HostUnreachable),
        (6, "internal error: connection closed due to keepalive timeout", HostUnreachable),
        (1, "internal error: client socket is closed", HostUnreachable),
        (1, "internal error: unable to execute QEMU command 'device_add': boom", LibvirtFailed),
        (67, "unsupported configuration: host doesn't support passthrough", LibvirtFailed),
    ],
)
def test_rules(code: int, text: str, kind: type[KvmlabError]) -> None:
    error = libvirt_error(code=code, text=text, what="do it", host="kvm1")
    assert type(error) is kind
    assert "kvm1" in error.message
    assert text in str(error)


MISSING = """
import sys
sys.modules["libvirt"] = None
from kvmlab.errors import Unavailable
from kvmlab.hosts import libvirt_client
try:
    libvirt_client.library()
except Unavailable as error:
    print(error.rule)
"""


def test_without_libvirt_python() -> None:
    assert _python(MISSING) == "libvirt-python-missing\n"


def test_importing_the_room_loads_no_libvirt() -> None:
    assert _python("import sys, kvmlab.hosts; print('libvirt' in sys.modules)") == "False\n"


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def _open_socket(path: Path, deadline_sec: float = 5.0) -> None:
    libvirt_client.open_connection(
        f"qemu+unix:///system?socket={path}", host="kvm1", deadline_sec=deadline_sec
    )


def _logins(server: Server) -> int:
    return (server.directory / "log").read_text().count("Accepted publickey")
