"""Fixtures of the tests of incidents: a state directory of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of journals, locks, progress and incidents."""
    path = tmp_path / "state"
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(path))
    return path
