"""The state folder under an odd umask, and one that belongs to somebody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kvmlab.changes.change import AppliedSteps
from kvmlab.directories import private_dir
from kvmlab.domain import TestVM
from kvmlab.errors import UsageError
from tests.changes.killed_lab import the_steps
from tests.changes.test_killed import tree


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_any_umask(folder: Path, state: Path, plain_vm: TestVM, umask: int) -> None:
    before = tree(folder)
    mask = os.umask(umask)
    try:
        change = AppliedSteps(plain_vm, the_steps(folder)[:1], scheme="x")
        change.apply()
        modes = {path: path.stat().st_mode & 0o777 for path in (state, *state.rglob("*"))}
        change.revert()
    finally:
        os.umask(mask)
    assert tree(folder) == before
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert all(mode & 0o077 == 0 for mode in modes.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    """Root may use it where it has to undo what that user has left; nobody else may."""
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, 12345, 12345)
    with pytest.raises(UsageError, match="belongs to user 12345"):
        private_dir(path)
    assert private_dir(path, must_own=False) == path
