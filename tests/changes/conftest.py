"""A state directory of its own for every test of changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.domain import TestVM
from tests.changes.plain_host import PlainRunner, plain_host


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of journals and locks."""
    path = tmp_path / "state"
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(path))
    return path


@pytest.fixture
def plain_vm() -> Iterator[TestVM]:
    """Yield libvirt's "test" domain on a host whose commands run here."""
    with plain_host(PlainRunner()) as host:
        yield TestVM.find(host, "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the "settings" of the plain host: three files that read "0"."""
    path = tmp_path / "settings"
    path.mkdir()
    for name in ("one", "two", "three"):
        (path / name).write_text("0\n")
    return path
