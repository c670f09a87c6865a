"""A timeout at every command of applying and reverting: what was before is put back each time."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from kvmlab.changes.change import AppliedSteps
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from tests.changes.plain_host import make_step, write_step
from tests.faults.timeouts import WAYS, Way, settle, timed_out


def state(folder: Path) -> dict[str, str]:
    return {
        path.name: "folder" if path.is_dir() else path.read_text()
        for path in sorted(folder.iterdir())
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_timeout_at_every_command(folder: Path, plain_vm: TestVM, way: Way) -> None:
    steps = (
        write_step(folder / "one", "0", "1"),
        make_step(folder / "new"),
        write_step(folder / "two", "0", "2"),
    )
    before = state(folder)
    outcomes: list[bool] = []
    while True:
        change = AppliedSteps(plain_vm, steps, scheme="x")
        failed = False
        with timed_out(plain_vm.host.runner, len(outcomes), way) as commands:
            try:
                change.apply()
                assert state(folder) != before
                change.revert()
            except KvmlabError:
                failed = True
        if not commands.hit:
            break
        assert settle(plain_vm.host) == (), commands.hit
        assert state(folder) == before, commands.hit
        outcomes.append(failed)
        with suppress(KvmlabError):
            change.revert()
    # Reading and changing settings, both ways; an undo that was cut short is made again.
    assert len(outcomes) >= 6
    assert any(outcomes)
    assert state(folder) == before
