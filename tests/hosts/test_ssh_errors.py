"""Messages of ssh for every rule, as ssh printed them."""

from __future__ import annotations

import pytest

from kvmlab.errors import HostError, HostRefused, HostUnreachable
from kvmlab.hosts import SshTarget
from kvmlab.hosts.ssh_errors import ssh_error

TARGET = SshTarget("kvm1", user="root")


@pytest.mark.parametrize(
    ("stderr", "kind", "word"),
    [
        ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", HostRefused, "known"),
        ("Host key verification failed.", HostRefused, "not known"),
        ("root@kvm1: Permission denied (publickey,password).", HostRefused, "password"),
        (
            "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures",
            HostRefused,
            "password",
        ),
        (
            "Bad owner or permissions on /root/.ssh/config",
            HostRefused,
            "read by others",
        ),
        (
            "ssh: Could not resolve hostname kvm1: Name or service not known",
            HostUnreachable,
            "resolved",
        ),
        ("ssh: connect to host kvm1 port 22: Connection refused", HostUnreachable, "listens"),
        ("ssh: connect to host kvm1 port 22: No route to host", HostUnreachable, "not answer"),
        ("ssh: connect to host kvm1 port 22: Connection timed out", HostUnreachable, "not answer"),
        ("Timeout, server kvm1 not responding.", HostUnreachable, "not answer"),
        (
            "Unable to negotiate with 192.0.2.1 port 22: no matching key exchange method error. "
            "Their offer: diffie-hellman-group1-sha1",
            HostUnreachable,
            "algorithm",
        ),
        (
            "kex_exchange_identification: Connection closed by remote host\n"
            "Connection closed by 192.0.2.1 port 22",
            HostUnreachable,
            "no ssh server",
        ),
        (
            "/root/.ssh/config: line 1: Bad configuration option: nonsense",
            HostError,
            "configuration",
        ),
        ("something new", HostUnreachable, "could not open"),
    ],
)
def test_rules(stderr: str, kind: type[HostError], word: str) -> None:
    error = ssh_error(stderr, host="kvm1", target=TARGET)
    assert type(error) is kind
    assert word in error.message
    assert error.todo
    assert error.evidence == stderr


def test_deadline() -> None:
    error = ssh_error("", host="kvm1", target=TARGET, waited_sec=10.0)
    assert "did not answer on port 22 within 10 s" in error.message


def test_todo_names_port_and_user() -> None:
    error = ssh_error(
        "Host key verification failed.", host="x", target=SshTarget("kvm1", 22022, "me")
    )
    assert "`ssh -p 22022 me@kvm1 true`" in error.todo


def test_a_key_is_copied_to_the_right_port() -> None:
    stderr = "me@kvm1: Permission denied (publickey)."
    error = ssh_error(stderr, host="x", target=SshTarget("kvm1", 22022, "me"))
    assert "`ssh-copy-id -p 22022 me@kvm1`" in error.todo
