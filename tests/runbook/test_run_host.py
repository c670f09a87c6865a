"""A run restores its host, also where another lab has it."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kvmlab.changes.lab_lock import _path
from kvmlab.clock import Clock
from kvmlab.errors import RevertFailed
from kvmlab.hosts import open_host
from kvmlab.runbook import run_host
from kvmlab.runbook.run_host import HostRequest, RunHost

HERE = "qemu:///system"


@contextmanager
def another_lab() -> Iterator[threading.Event]:
    """Somebody else's lock on this machine; it goes when the event is set."""
    with open_host(HERE) as host:
        path = _path(host)
    ended, locked = threading.Event(), threading.Event()

    def hold() -> None:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            locked.set()
            ended.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(30)
        yield ended
    finally:
        ended.set()
        holder.join()


@pytest.fixture
def ours() -> Iterator[RunHost]:
    with RunHost(lambda text: None) as run_host:
        run_host.switch_to(HostRequest(HERE, Clock.WALL))
        yield run_host


def test_another_lab_that_ends_soon_is_waited_for(ours: RunHost) -> None:
    with another_lab() as ended:
        threading.Timer(1.0, ended.set).start()
        assert ours.restore() == ()


def test_another_lab_that_stays_is_named(ours: RunHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_host, "_BUSY_SEC", 1.0)
    with another_lab(), pytest.raises(RevertFailed, match="another lab works on it") as caught:
        ours.restore()
    assert "Another lab works on" in str(caught.value)
    assert f"kvmlab restore --host {HERE}" in caught.value.todo
