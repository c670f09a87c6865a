"""A shared host is not changed without a yes, nor without a journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.changes import ConfigFile, install, leftovers, restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.journal import dead_journals
from kvmlab.directories import state_dir
from kvmlab.domain import TestVM
from kvmlab.errors import ChangeError, Refused, UsageError
from kvmlab.hosts import Host, HostKind
from tests.changes.killed_lab import the_steps
from tests.changes.plain_host import PlainRunner, plain_host
from tests.changes.test_killed import tree
from tests.faults.broken_connection import disk_full


@pytest.fixture
def strangers() -> Iterator[TestVM]:
    """Yield libvirt's "test" domain on a host like the plain one, reached by ssh."""
    plain = plain_host(PlainRunner())
    with Host(
        spec=plain.spec,
        kind=HostKind.SSH,
        label="kvm1",
        runner=plain.runner,
        libvirt_uri=plain.libvirt_uri,
    ) as host:
        yield TestVM.find(host, "test")


def test_a_yes_is_needed(folder: Path, strangers: TestVM) -> None:
    before = tree(folder)
    change = AppliedSteps(strangers, the_steps(folder), scheme="x")
    with pytest.raises(Refused, match="Nobody said yes to the scheme x on kvm1") as caught:
        change.apply()
    assert caught.value.rule == "no-consent"
    for option in ("APPLY", "--yes", "allow_changes=True"):
        assert option in caught.value.todo
    assert tree(folder) == before
    assert dead_journals(strangers.host) == ()
    runner = strangers.host.runner
    assert isinstance(runner, PlainRunner)
    assert runner.ran == [], "not even a lock was taken"


def test_files_need_a_yes_too(folder: Path, strangers: TestVM) -> None:
    with pytest.raises(Refused, match="Nobody said yes"):
        install(strangers.host, ConfigFile(str(folder / "new"), "x\n", "at once"))
    assert not (folder / "new").exists()


@pytest.mark.parametrize("kind", list(HostKind))
def test_only_shared_hosts_need_a_yes(kind: HostKind) -> None:
    plain = plain_host(PlainRunner())
    host = Host(spec="x", kind=kind, label="x", runner=plain.runner, libvirt_uri="test:///default")
    assert host.allows_changes is (kind not in (HostKind.SSH, HostKind.LOCAL))


@pytest.mark.parametrize("size", [0, 100, 400, 1000])
def test_without_a_journal_nothing_is_applied(folder: Path, plain_vm: TestVM, size: int) -> None:
    before = tree(folder)
    with disk_full(size), pytest.raises(ChangeError) as caught:
        AppliedSteps(plain_vm, the_steps(folder), scheme="x").apply()
    message = str(caught.value)
    assert "cannot" in message
    assert "KVMLAB_STATE_HOME" in message
    assert tree(folder) == before
    restore(plain_vm.host)
    assert leftovers(plain_vm.host) == ()
    assert tree(folder) == before


def test_a_disk_that_fills_up_does_not_stop_an_undo(folder: Path, plain_vm: TestVM) -> None:
    before = tree(folder)
    change = AppliedSteps(plain_vm, the_steps(folder), scheme="x")
    change.apply()
    # The files of the test itself are smaller than the journal.
    with disk_full(100):
        change.revert()
    assert tree(folder) == before
    assert leftovers(plain_vm.host) == ()


def test_a_state_folder_that_cannot_be_made(
    folder: Path, plain_vm: TestVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(folder / "one" / "below a file"))
    with pytest.raises(UsageError, match="cannot be used"):
        AppliedSteps(plain_vm, the_steps(folder), scheme="x").apply()
    assert state_dir() == folder / "one" / "below a file"
