"""A host that answers a command of a change with nonsense: no traceback, no value of its choice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kvmlab.changes import leftovers, restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from tests.changes.plain_host import make_step, write_step
from tests.faults.hostile_replies import hostile

QUICK, ALL = 100, 1000


@pytest.mark.parametrize(
    "count", [QUICK, pytest.param(ALL, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_no_reply_to_a_command_makes_a_traceback(
    folder: Path, plain_vm: TestVM, count: int
) -> None:
    steps = (
        write_step(folder / "one", "0", "1"),
        make_step(folder / "new"),
        write_step(folder / "two", "0", "2"),
    )
    allowed = {"one": {"0\n", "1\n"}, "two": {"0\n", "2\n"}, "three": {"0\n"}}
    hits, failures = set(), 0
    for seed in range(count):
        chance = random.Random(seed)
        with hostile(plain_vm.host.runner, chance.randrange(12), chance) as replies:
            try:
                change = AppliedSteps(plain_vm, steps, scheme="x")
                change.apply()
                change.revert()
                restore(plain_vm.host)
            except KvmlabError as error:
                failures += 1
                str(error).encode()
            except Exception as error:
                raise AssertionError(f"seed {seed}, {replies.hit}: {error!r}") from error
        hits.add(replies.hit.partition(" ")[0])
        restore(plain_vm.host)
        assert leftovers(plain_vm.host) == ()
        # What the host said wrongly of a setting can leave it; another value is never written.
        for path in folder.iterdir():
            assert path.is_dir() or path.read_text() in allowed[path.name], f"seed {seed}"
        for name in allowed:
            (folder / name).write_text("0\n")
        if (folder / "new").exists():
            (folder / "new").rmdir()
    assert failures > count / 10
    assert len(hits) > 2, hits
