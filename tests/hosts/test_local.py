"""The runner of this machine, and refusals of sudo."""

from __future__ import annotations

import os
import time

import pytest

from kvmlab.errors import CommandFailed, CommandTimeout, HostError, HostRefused, OutputError
from kvmlab.hosts import LocalRunner, Runner
from kvmlab.hosts.runner import refuse_without_root, with_root
from kvmlab.process import Completed


def test_is_a_runner() -> None:
    assert isinstance(LocalRunner(), Runner)


def test_locale_is_c_and_sbin_is_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_root_uses_sudo_for_other_users() -> None:
    assert with_root(("ip", "link"), root=True, uid=0) == ("ip", "link")
    assert with_root(("ip", "link"), root=False, uid=7) == ("ip", "link")
    assert with_root(("ip", "link"), root=True, uid=7) == ("sudo", "-n", "--", "ip", "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user")
def test_root_needs_no_sudo() -> None:
    assert LocalRunner().run(("id", "-u"), timeout_sec=5, root=True).stdout == "0\n"


@pytest.mark.parametrize(
    ("code", "stderr"),
    [
        (1, "sudo: a password is required\n"),
        (127, "env: 'sudo': No such file or directory\nsudo: not found\n"),
    ],
)
def test_a_refusal_names_the_missing_sudoers_line(code: int, stderr: str) -> None:
    with pytest.raises(HostRefused, match="needs root on kvm1") as caught:
        refuse_without_root(_done(("sudo", "-n", "--", "ip", "link"), code, stderr))
    assert "NOPASSWD: /usr/bin/sh`" in caught.value.todo
    assert "docs/real-host.md" in caught.value.todo


def test_a_command_that_fails_under_sudo_is_no_refusal() -> None:
    refuse_without_root(_done(("sudo", "-n", "--", "ip", "link"), 1, "Cannot find device\n"))
    refuse_without_root(_done(("ip", "link"), 1, "sudo: a password is required\n"))


def _done(argv: tuple[str, ...], code: int, stderr: str) -> Completed:
    return Completed(argv, code, "", stderr, "kvm1", 0.1)


def test_output_is_bounded() -> None:
    began = time.monotonic()
    with pytest.raises(OutputError, match="printed more than 64 MiB and was killed") as caught:
        LocalRunner().run(("yes", "hostile"), timeout_sec=60)
    assert time.monotonic() - began < 30
    assert caught.value.evidence.startswith("hostile\nhostile\n")


def test_a_program_that_keeps_printing_meets_its_deadline() -> None:
    script = "while :; do echo x; done"
    with pytest.raises(CommandTimeout) as caught:
        LocalRunner().run(("sh", "-c", script), timeout_sec=0.3)
    assert caught.value.evidence.startswith("x\n")


def test_input_that_nobody_reads_is_no_error() -> None:
    runner = LocalRunner()
    text = "x" * 1_000_000
    assert runner.run(("true",), timeout_sec=5, input_text=text).stdout == ""
    assert runner.run(("cat",), timeout_sec=5, input_text=text).stdout == text
    script = "cat >/dev/null; echo read >&2; yes | head -c 300000"
    done = runner.run(("sh", "-c", script), timeout_sec=5, input_text=text)
    assert (len(done.stdout), done.stderr) == (300_000, "read\n")
