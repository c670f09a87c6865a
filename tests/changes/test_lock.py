"""One lab at a time on one host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvmlab.changes import locked
from kvmlab.changes.lock import is_locked
from kvmlab.changes.state_dir import host_key, state_dir
from kvmlab.domain import TestVM
from kvmlab.errors import HostBusy

HOLD = """
import sys
from kvmlab.changes import locked
from tests.changes.plain_host import PlainRunner, plain_host
with locked(plain_host(PlainRunner()), purpose="a long run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_nested(plain_vm: TestVM) -> None:
    assert not is_locked(plain_vm.host)
    with locked(plain_vm.host, purpose="one"):
        with locked(plain_vm.host, purpose="two"):
            pass
        assert is_locked(plain_vm.host)
    assert not is_locked(plain_vm.host)


def test_the_second_is_told_who_holds_it(plain_vm: TestVM, repository: Path) -> None:
    holder = subprocess.Popen(
        (sys.executable, "-c", HOLD),
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(plain_vm.host)
        with (
            pytest.raises(HostBusy, match=f"process {holder.pid}, since 20.*, a long run"),
            locked(plain_vm.host, purpose="mine"),
        ):
            pass
        holder.kill()
    with locked(plain_vm.host, purpose="a dead holder holds nothing"):
        pass


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("qemu:///system", "qemu-system"),
        ("qemu+ssh://root@kvm1:22/system", "qemu+ssh-root@kvm1-22-system"),
        ("../../etc", "etc"),
        ("", "host"),
    ],
)
def test_a_host_has_a_file_name(spec: str, key: str) -> None:
    assert host_key(spec) == key


def test_where_state_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KVMLAB_STATE_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert state_dir() == tmp_path / "home" / ".local" / "state" / "kvmlab"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_dir() == tmp_path / "kvmlab"
