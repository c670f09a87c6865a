"""The ssh runner against a real sshd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.deadline import until
from kvmlab.errors import CommandFailed, CommandTimeout, HostRefused, HostUnreachable
from kvmlab.hosts import SshRunner, SshTarget, open_host, read_tree
from kvmlab.hosts.runner import TOOL_PATH
from kvmlab.hosts.ssh import INSECURE_HOST_KEYS
from tests.hosts.conftest import Server, free_port, make_key

SOON_SEC = 5.0


@pytest.fixture(scope="module")
def runner(server: Server) -> Iterator[SshRunner]:
    """Open one connection for all tests that only use it."""
    opened = SshRunner(server.target)
    yield opened
    opened.close()


def test_run_names_the_host(runner: SshRunner, server: Server) -> None:
    done = runner.run(("uname", "-s"), timeout_sec=SOON_SEC)
    assert done.stdout == "Linux\n"
    assert done.argv == ("uname", "-s")
    assert done.host == runner.name == server.target.shown


def test_arguments_arrive_unchanged(runner: SshRunner) -> None:
    words = ("a b", "it's", '"', "$HOME", "`id`", "a\nb", "*", "", "ü→", "\\", "-n", "a;b", "~")
    done = runner.run(("printf", "%s|", *words), timeout_sec=SOON_SEC)
    assert done.stdout == "".join(f"{word}|" for word in words)


def test_locale_is_c_and_sbin_is_on_the_path(runner: SshRunner) -> None:
    done = runner.run(("env",), timeout_sec=SOON_SEC)
    lines = done.stdout.splitlines()
    assert "LC_ALL=C" in lines
    assert f"PATH={TOOL_PATH}" in lines


def test_input_is_passed(runner: SshRunner) -> None:
    assert runner.run(("cat",), timeout_sec=SOON_SEC, input_text="a\nb").stdout == "a\nb"


def test_without_input_a_reader_ends_at_once(runner: SshRunner) -> None:
    assert runner.run(("cat",), timeout_sec=SOON_SEC).stdout == ""


@pytest.mark.parametrize("code", [1, 255])
def test_a_failing_command_is_no_lost_connection(runner: SshRunner, code: int) -> None:
    argv = ("sh", "-c", f"echo why >&2; exit {code}")
    with pytest.raises(CommandFailed, match=f"exit code {code}") as caught:
        runner.run(argv, timeout_sec=SOON_SEC)
    assert caught.value.completed.stderr == "why\n"
    assert runner.run(argv, timeout_sec=SOON_SEC, check=False).returncode == code


def test_deadline(runner: SshRunner, tmp_path: Path) -> None:
    """The host ends the command as well: what comes after a deadline has no effect any more."""
    started = time.monotonic()
    late = tmp_path / "late"
    # Without a trap the shell would be replaced by sleep, and with it SIGTERM is not enough.
    script = f"trap '' TERM; sleep 4; echo moved >{late}"
    with pytest.raises(CommandTimeout, match="did not end within") as caught:
        runner.run(("sh", "-c", script), timeout_sec=0.5)
    assert not caught.value.may_still_run
    assert time.monotonic() - started < SOON_SEC
    time.sleep(max(0.0, started + 5 - time.monotonic()))  # how long nothing happens is the point
    assert not late.exists()
    assert runner.run(("echo", "alive"), timeout_sec=SOON_SEC).stdout == "alive\n"


def test_all_commands_share_one_connection(runner: SshRunner) -> None:
    command = ("sh", "-c", "echo $SSH_CONNECTION")
    assert len({runner.run(command, timeout_sec=SOON_SEC).stdout for _ in range(3)}) == 1


def test_close_leaves_nothing(server: Server, runtime: Path) -> None:
    before = _children("ssh")
    runner = SshRunner(server.target)
    (master,) = _children("ssh") - before
    (directory,) = runtime.iterdir()
    assert directory.stat().st_mode & 0o777 == runtime.stat().st_mode & 0o777 == 0o700
    runner.close()
    runner.close()
    assert not Path(f"/proc/{master}").exists()
    assert list(runtime.iterdir()) == []
    with pytest.raises(HostUnreachable, match="has ended"):
        runner.run(("true",), timeout_sec=SOON_SEC)


def test_a_lost_connection_is_reported_at_once(server: Server, runtime: Path) -> None:
    before = _children("ssh")
    runner = SshRunner(server.target)
    (master,) = _children("ssh") - before
    thread = threading.Timer(0.5, os.kill, (master, signal.SIGKILL))
    thread.start()
    started = time.monotonic()
    with pytest.raises(HostUnreachable, match="was lost while `sleep 30` ran"):
        runner.run(("sleep", "30"), timeout_sec=20)
    assert time.monotonic() - started < SOON_SEC
    with pytest.raises(HostUnreachable, match="has ended"):
        runner.run(("true",), timeout_sec=SOON_SEC)
    runner.close()
    assert list(runtime.iterdir()) == []


HOLDER = """
import sys
from pathlib import Path
from kvmlab.hosts import SshRunner, SshTarget
port, user, key, known = sys.argv[1:]
runner = SshRunner(SshTarget("127.0.0.1", int(port), user, Path(key), Path(known)))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_no_master(
    server: Server, runtime: Path, sign: signal.Signals
) -> None:
    holder = subprocess.Popen(
        _holder(server),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"open\n"
        (master,) = _children("ssh", holder.pid)
        holder.send_signal(sign)
        holder.wait(timeout=SOON_SEC)
        until(
            lambda: not _runs(master), timeout_sec=SOON_SEC, what="The end of the orphaned master"
        )


def test_an_interpreter_that_ends_without_close_leaves_nothing(
    server: Server, runtime: Path
) -> None:
    subprocess.run(
        _holder(server),
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=20,
    )
    assert list(runtime.iterdir()) == []


def test_connection_refused(server: Server, runtime: Path) -> None:
    with pytest.raises(HostUnreachable, match="nothing listens on its ssh port"):
        SshRunner(replace(server.target, port=free_port()))
    assert list(runtime.iterdir()) == []


def test_a_port_that_never_answers(server: Server, runtime: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(HostUnreachable, match=r"did not answer on port \d+ within 1 s"):
            SshRunner(replace(server.target, port=silent.getsockname()[1]), deadline_sec=1.0)
        assert time.monotonic() - started < SOON_SEC


def test_a_port_that_is_no_ssh_server(server: Server, runtime: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=lambda: other.accept()[0].close(), daemon=True)
        thread.start()
        with pytest.raises(HostUnreachable, match="may be no ssh server"):
            SshRunner(replace(server.target, port=other.getsockname()[1]))
        thread.join(timeout=SOON_SEC)


def test_an_unknown_key_is_refused_without_a_question(
    server: Server, runtime: Path, tmp_path: Path
) -> None:
    make_key(tmp_path / "other")
    with pytest.raises(HostRefused, match="never asks for passwords") as caught:
        SshRunner(replace(server.target, key_path=tmp_path / "other"))
    assert "ssh-copy-id" in caught.value.todo


def test_a_changed_host_key(server: Server, runtime: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {make_key(tmp_path / 'other')}")
    with pytest.raises(HostRefused, match="is not the one that is known") as caught:
        SshRunner(replace(server.target, known_hosts=known))
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in caught.value.todo


def test_an_unknown_host_key(server: Server, runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    with pytest.raises(HostRefused, match="is not known on this machine"):
        SshRunner(replace(server.target, known_hosts=tmp_path / "known"))


def test_host_keys_are_checked_whatever_the_user_says(
    server: Server, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that switches the check off, for this host and for localhost."""
    config = tmp_path / "config"
    config.write_text(
        "Host *\n    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n"
        f"    NoHostAuthenticationForLocalhost yes\n    IdentityFile {server.target.key_path}\n"
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{config}" "$@"\n')
    (tools / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    target = replace(server.target, known_hosts=None, key_path=None)
    with pytest.raises(HostRefused, match="is not known on this machine"):
        SshRunner(target)
    monkeypatch.setenv(INSECURE_HOST_KEYS, "yes")
    SshRunner(target).close()


def test_unknown_name(runtime: Path) -> None:
    with pytest.raises(HostUnreachable, match="cannot be resolved"):
        SshRunner(SshTarget("no-such-host.invalid"))


def test_a_host_reads_its_files_in_one_round_trip(server: Server, runtime: Path) -> None:
    with open_host(f"qemu+ssh://127.0.0.1:{server.port}/system", ssh=server.target) as host:
        tree = read_tree(host.runner, "/proc/sys/kernel/os*")
        assert tree["/proc/sys/kernel/ostype"] == "Linux"
        assert host.label == server.target.shown
    assert list(runtime.iterdir()) == []


def _children(name: str, parent: int | None = None) -> set[int]:
    return {
        int(pid)
        for children in Path(f"/proc/{parent or os.getpid()}/task").glob("*/children")
        for pid in children.read_text().split()
        if Path(f"/proc/{pid}/comm").read_text().strip() == name
    }


def _holder(server: Server) -> list[str]:
    """Return a Python that opens a connection and keeps it until its standard input ends."""
    target = server.target
    words = (target.port, target.user, target.key_path, target.known_hosts)
    return [sys.executable, "-c", HOLDER, *map(str, words)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
