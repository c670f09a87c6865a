"""Through a real sshd: with a silent lab's lock ends all that it runs on the host."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kvmlab.changes.host_lock import HostLock, read_lab_state
from kvmlab.deadline import until
from kvmlab.errors import HostError
from kvmlab.hosts import Host, HostKind, SshRunner
from tests.hosts.conftest import Server, server

__all__ = ["server"]


@pytest.mark.parametrize("silent", [True, False])
def test_programs_of_a_silent_lab_end_with_its_lock(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    folder = str(tmp_path / "on the host")
    host = Host(
        spec="x",
        kind=HostKind.RECORDED,
        label="x",
        runner=SshRunner(server.target),
        libvirt_uri="test:///default",
    )
    with host:
        # A beat may come seconds late on a busy machine; 6 s end before the 8 s waited below.
        silence_sec = 2 if silent else 6
        host_lock = HostLock.take(host, "x", folder=folder, silence_sec=silence_sec)
        # It reads its input, as meters do, and would wait for as long as the connection stands.
        meter = host.runner.spawn(("sh", "-c", "echo $$; cat; exit 0"))
        pid = meter.next_line(timeout_sec=10)
        if silent:
            host_lock._closed.set()  # no more beats
        began = time.monotonic()
        until(
            lambda: not Path(f"/proc/{pid}").exists() or time.monotonic() - began > 8,
            timeout_sec=30,
            what="the end of the lab's programs",
        )
        assert Path(f"/proc/{pid}").exists() is not silent
        assert bool(read_state(host, folder)) is not silent
        meter.kill()
        host_lock.close()


def read_state(host: Host, folder: str) -> str:
    """Return the lock's holder; "" also where the connection has ended with the lock."""
    try:
        return read_lab_state(host, folder=folder).holder
    except HostError:
        return ""
