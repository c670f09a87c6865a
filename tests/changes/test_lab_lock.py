"""One lab at a time on one host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kvmlab.changes import locked
from kvmlab.changes.lab_lock import is_locked
from kvmlab.directories import state_dir
from kvmlab.domain import TestVM
from kvmlab.errors import HostBusy
from kvmlab.hosts.uri import host_key

HOLD = """
import sys
from kvmlab.changes import locked
from tests.changes.plain_host import PlainRunner, plain_host
with locked(plain_host(PlainRunner()), purpose="a long run"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_nested(plain_vm: TestVM) -> None:
    assert not is_locked(plain_vm.host)
    with locked(plain_vm.host, purpose="one"):
        with locked(plain_vm.host, purpose="two"):
            pass
        assert is_locked(plain_vm.host)
    assert not is_locked(plain_vm.host)


def test_the_second_learns_of_the_holder(plain_vm: TestVM, repository: Path) -> None:
    holder = subprocess.Popen(
        (sys.executable, "-c", HOLD),
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert is_locked(plain_vm.host)
        with (
            pytest.raises(HostBusy, match=f"process {holder.pid}, since 20.*, a long run"),
            locked(plain_vm.host, purpose="mine"),
        ):
            pass
        holder.kill()
    with locked(plain_vm.host, purpose="a dead holder has no lock"):
        pass


@pytest.mark.parametrize("spec", ["qemu:///system", "../../etc", "", "x" * 300, "qemu+ssh://ä/"])
def test_a_host_has_a_file_name(spec: str) -> None:
    key = host_key(spec)
    assert re.fullmatch(r"[A-Za-z0-9_+@][A-Za-z0-9_.+@-]{0,100}", key)


def test_each_host_has_a_folder_of_its_own() -> None:
    """Else one host's journals would be another one's."""
    specs = ("qemu+ssh://kvm:2222/system", "qemu+ssh://kvm-2222/system", "qemu+ssh://kvm/2222")
    assert len({host_key(spec) for spec in specs}) == len(specs)


def test_where_state_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KVMLAB_STATE_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert state_dir() == tmp_path / "home" / ".local" / "state" / "kvmlab"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_dir() == tmp_path / "kvmlab"
