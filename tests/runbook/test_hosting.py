"""A run puts its host back in order, also where another lab is at it."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kvmlab.changes.lock import _path
from kvmlab.clock import Clock
from kvmlab.errors import RevertFailed
from kvmlab.hosts import open_host
from kvmlab.runbook import hosting
from kvmlab.runbook.hosting import Hosting, Wanted

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
def ours() -> Iterator[Hosting]:
    with Hosting(lambda text: None) as found:
        found.want(Wanted(HERE, Clock.WALL))
        yield found


def test_another_lab_that_ends_soon_is_waited_for(ours: Hosting) -> None:
    with another_lab() as ended:
        threading.Timer(1.0, ended.set).start()
        assert ours.restore() == ()


def test_another_lab_that_stays_is_named(ours: Hosting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "_BUSY_SEC", 1.0)
    with another_lab(), pytest.raises(RevertFailed, match="another lab works on it") as caught:
        ours.restore()
    assert "Another lab works on" in str(caught.value)
    assert f"kvmlab restore --host {HERE}" in caught.value.todo
