"""The private directory of a connection."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kvmlab.hosts.runtime_dir import RuntimeDir


def test_is_private_and_is_removed(runtime: Path) -> None:
    directory = RuntimeDir()
    assert directory.path.parent == runtime
    assert directory.path.stat().st_mode & 0o777 == 0o700
    (directory.path / "x").touch()
    directory.close()
    directory.close()
    assert list(runtime.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed(runtime: Path) -> None:
    living = RuntimeDir()
    left = runtime / "ssh-left"
    left.mkdir()
    (left / "lock").touch()
    long_ago = time.time() - 3600
    for path in (left, living.path):
        os.utime(path, (long_ago, long_ago))
    just_made = runtime / "ssh-new"
    just_made.mkdir()
    RuntimeDir().close()
    assert sorted(path.name for path in runtime.iterdir()) == sorted(
        [living.path.name, just_made.name]
    )
    living.close()


def test_paths_stay_short_enough_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 80)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("y" * 80)))
    directory = RuntimeDir()
    assert directory.path.parent == Path(f"/tmp/kvmlab-{os.getuid()}")
    directory.close()


def test_a_directory_of_somebody_else_is_not_used(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path_factory.mktemp("r")
    (short / "elsewhere").mkdir()
    (short / "kvmlab").symlink_to(short / "elsewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    monkeypatch.setenv("XDG_CACHE_HOME", str(short / "cache"))
    directory = RuntimeDir()
    assert directory.path.parent == short / "cache" / "kvmlab" / "run"
    directory.close()
