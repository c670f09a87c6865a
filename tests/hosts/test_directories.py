"""Directories of kvmlab, atomic writes and file locks, on real files."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import pytest

from kvmlab import directories
from kvmlab.directories import check_writable, private_dir, write_atomically, write_named
from kvmlab.errors import UsageError
from kvmlab.file_locks import FileLock, is_locked


def test_variables_and_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert directories.cache_dir() == tmp_path / ".cache" / "kvmlab"
    assert directories.runtime_dir() == tmp_path / ".cache" / "kvmlab" / "run"
    assert directories.data_dir() == tmp_path / ".local" / "share" / "kvmlab"
    (tmp_path / "r").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))
    assert directories.images_dir() == tmp_path / "c" / "kvmlab" / "images"
    assert directories.runtime_dir() == tmp_path / "r" / "kvmlab"


def test_a_private_directory(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("open", "new/below"):
        assert private_dir(tmp_path / name).stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be used"):
        private_dir(tmp_path / "file" / "below")


def test_a_file_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "a"
    umask = os.umask(0o022)
    try:
        write_atomically(path, "ä\n")
        assert path.stat().st_mode & 0o777 == 0o644
        write_atomically(path, b"\xff", mode=0o600)
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b"\xff"
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_file_that_a_user_named(tmp_path: Path) -> None:
    check_writable(tmp_path / "a")
    assert not list(tmp_path.iterdir())
    write_named(tmp_path / "a", "of a host: \udcff\n", mode=0o600)
    assert (tmp_path / "a").read_text("utf-8") == "of a host: \\udcff\n"
    check_writable(tmp_path / "a")  # it stays as it is
    assert (tmp_path / "a").read_text("utf-8") == "of a host: \\udcff\n"
    for path in (tmp_path / "a" / "below", tmp_path / "missing" / "below", tmp_path):
        for write in (check_writable, partial(write_named, data="")):
            with pytest.raises(UsageError, match=f"^{re.escape(str(path))} cannot be written: "):
                write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_locks_on_files_and_directories(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert is_locked(tmp_path / "lock", missing=True)
    assert not (tmp_path / "lock").exists()
    for path in (tmp_path / "lock", tmp_path):
        lock = FileLock.take(path)
        assert lock is not None
        with lock:
            assert is_locked(path)
            assert FileLock.take(path) is None
        assert not is_locked(path)
        lock.close()
