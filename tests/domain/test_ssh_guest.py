"""A VM without guest agent: the same commands by ssh, here into a real sshd of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.domain import SshGuest, TestVM
from kvmlab.errors import AgentTimeout, GuestCommandFailed, Unavailable, UsageError
from kvmlab.hosts import SshTarget
from kvmlab.lab import parse_vm
from tests.changes.plain_host import PlainRunner, plain_host
from tests.hosts.conftest import Server, runtime, server

__all__ = ["runtime", "server"]


@pytest.fixture
def guest(server: Server, runtime: Path) -> Iterator[SshGuest]:
    with plain_host(PlainRunner()) as host:
        vm = TestVM.find(host, "test")
        with SshGuest(vm, server.target) as opened:
            yield opened


def test_commands(guest: SshGuest) -> None:
    guest.ping(timeout_sec=10)
    done = guest.run(("cat",), timeout_sec=10, input_text='ä $(x) "quoted"\n')
    assert (done.stdout, done.host) == ('ä $(x) "quoted"\n', "test VM test")
    handle = guest.start(("sh", "-c", "echo begun; exit 3"))
    assert guest.wait(handle, ("sh",), timeout_sec=10, check=False).returncode == 3
    with pytest.raises(GuestCommandFailed, match="exit code 1"):
        guest.run(("false",), timeout_sec=10)
    with pytest.raises(AgentTimeout, match=r"`sleep 60` inside test VM test did not end"):
        guest.run(("sleep", "60"), timeout_sec=0.5)
    with pytest.raises(Unavailable, match="no guest agent"):
        guest.command({"execute": "guest-info"})


def test_login_refused() -> None:
    with plain_host(PlainRunner()) as host:
        guest = SshGuest(TestVM.find(host, "test"), SshTarget("127.0.0.1", port=1, user="x"))
        with pytest.raises(AgentTimeout, match=r"cannot be reached by ssh\. ") as caught:
            guest.run(("true",), timeout_sec=5)
    assert "port" in caught.value.todo


def test_parse_vm() -> None:
    assert parse_vm("web 1") == ("web 1", None)
    assert parse_vm("web=ssh://root@[2001:db8::7]:2222") == (
        "web",
        SshTarget("2001:db8::7", port=2222, user="root"),
    )


@pytest.mark.parametrize("text", ["", " ", "a/b", "a\nb", "x=ssh://", "x=ssh://-oProxyCommand=y"])
def test_malformed_names_of_vms(text: str) -> None:
    with pytest.raises(UsageError):
        parse_vm(text)
