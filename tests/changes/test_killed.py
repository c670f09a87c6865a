"""A process that dies at any of its commands leaves a journal that undoes everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kvmlab.changes import leftovers, restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.journal import journal_dir
from kvmlab.domain import TestVM
from kvmlab.errors import Refused
from kvmlab.hosts import HostKind
from tests.changes.killed_lab import the_steps

# Read, 4 commands, read back; then read, 4 commands, read back while reverting.
COMMANDS = 12


def die(folder: Path, number: int, when: str, repository: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "tests.changes.killed_lab", str(folder), str(number), when),
        cwd=repository,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def tree(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text() if path.is_file() else "directory"
        for path in sorted(folder.iterdir())
    }


def test_every_command_is_tried(folder: Path, repository: Path) -> None:
    done = die(folder, 10_000, "before", repository)
    assert done.stdout.split() == ["made", "commands", str(COMMANDS)], done.stderr


# Dying after a command is dying before the next one, but for the last.
@pytest.mark.parametrize(
    ("number", "when"), [*((n, "before") for n in range(COMMANDS)), (COMMANDS - 1, "after")]
)
def test_killed_at_a_command(
    folder: Path, number: int, when: str, repository: Path, plain_vm: TestVM
) -> None:
    before = tree(folder)
    done = die(folder, number, when, repository)
    assert done.returncode == -9, done.stderr
    changed = tree(folder) != before
    assert bool(leftovers(plain_vm.host)) or not changed
    undone = restore(plain_vm.host)
    assert tree(folder) == before
    assert bool(undone) == changed
    assert restore(plain_vm.host) == ()
    assert leftovers(plain_vm.host) == ()
    assert not list(journal_dir(plain_vm.host).glob("*"))


def test_the_embedded_host_is_restored_without_asking(
    folder: Path, repository: Path, plain_vm: TestVM
) -> None:
    before = tree(folder)
    die(folder, 3, "after", repository)
    plain_vm.host.kind = HostKind.EMBEDDED
    change = AppliedSteps(plain_vm, the_steps(folder), scheme="next")
    change.apply()
    change.revert()
    assert tree(folder) == before


def test_the_next_change_asks_for_a_restore_first(
    folder: Path, repository: Path, plain_vm: TestVM
) -> None:
    die(folder, 3, "after", repository)
    with pytest.raises(Refused, match="left changes behind") as caught:
        AppliedSteps(plain_vm, the_steps(folder), scheme="next").apply()
    assert caught.value.rule == "leftovers"
    restore(plain_vm.host)
    change = AppliedSteps(plain_vm, the_steps(folder), scheme="next")
    change.apply()
    change.revert()
