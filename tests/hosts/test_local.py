"""The runner of this machine, and what sudo says when it refuses."""

from __future__ import annotations

import os

import pytest

from kvmlab.errors import CommandFailed, CommandTimeout, HostError, HostRefused
from kvmlab.hosts import LocalRunner, Runner
from kvmlab.hosts.runner import refuse_without_root, with_root
from kvmlab.process import Completed


def test_is_a_runner() -> None:
    assert isinstance(LocalRunner(), Runner)


def test_speaks_c_and_finds_tools_of_sbin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    lines = LocalRunner().run(("env",), timeout_sec=5).stdout.splitlines()
    assert "LC_ALL=C" in lines
    assert any(line.startswith("PATH=/usr/bin:/bin:") and "/usr/sbin" in line for line in lines)


def test_failure_and_deadline() -> None:
    runner = LocalRunner()
    with pytest.raises(CommandFailed, match="exit code 1"):
        runner.run(("false",), timeout_sec=5)
    assert runner.run(("false",), timeout_sec=5, check=False).returncode == 1
    with pytest.raises(CommandTimeout):
        runner.run(("sleep", "9"), timeout_sec=0.1)
    with pytest.raises(HostError, match="could not be started"):
        runner.run(("no-such-program-at-all",), timeout_sec=5)


def test_root_goes_through_sudo_unless_it_is_there() -> None:
    assert with_root(("ip", "link"), root=True, uid=0) == ("ip", "link")
    assert with_root(("ip", "link"), root=False, uid=7) == ("ip", "link")
    assert with_root(("ip", "link"), root=True, uid=7) == ("sudo", "-n", "--", "ip", "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user")
def test_root_is_root_already() -> None:
    assert LocalRunner().run(("id", "-u"), timeout_sec=5, root=True).stdout == "0\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "sudo: a password is required\n"),
        (127, "env: 'sudo': No such file or directory\nsudo: not found\n"),
    ],
)
def test_a_refusal_names_the_rule_that_is_missing(code: int, said: str) -> None:
    with pytest.raises(HostRefused, match="needs root on kvm1") as caught:
        refuse_without_root(_done(("sudo", "-n", "--", "ip", "link"), code, said))
    assert "NOPASSWD: /usr/sbin/ip" in caught.value.todo


def test_a_rule_for_a_shell_comes_with_what_it_means() -> None:
    with pytest.raises(HostRefused) as caught:
        refuse_without_root(
            _done(("sudo", "-n", "--", "sh", "-s"), 1, "sudo: a password is required")
        )
    assert "NOPASSWD: /usr/bin/sh`" in caught.value.todo
    assert "docs/real-host.md" in caught.value.todo


def test_a_command_that_fails_under_sudo_is_no_refusal() -> None:
    refuse_without_root(_done(("sudo", "-n", "--", "ip", "link"), 1, "Cannot find device\n"))
    refuse_without_root(_done(("ip", "link"), 1, "sudo: a password is required\n"))


def _done(argv: tuple[str, ...], code: int, stderr: str) -> Completed:
    return Completed(argv, code, "", stderr, "kvm1", 0.1)
