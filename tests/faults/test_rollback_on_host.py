"""A stranger's host puts itself back when nobody confirms a change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rollback import CAUSES, ROLLBACKS, roll_back
from tests.faults.scene import Scene
from tests.faults.stranger import stranger

pytestmark = [pytest.mark.host, pytest.mark.minutes(5), pytest.mark.timeout(900)]

#: As those before them: run by hand, and by `python -m bench faults`.
BY_HAND = tuple(CAUSES)[3:]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Scene]:
    """One stranger's host for all tests of this file; each leaves it as it was."""
    folder = tmp_path_factory.mktemp("stranger")
    with stranger(folder) as host:
        opened = Scene.on(host, folder, repository)
        yield opened
        opened.host.close()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.series] if n in BY_HAND else []) for n in ROLLBACKS],
)
def test_the_host_puts_itself_back(name: str, scene: Scene) -> None:
    rollback = roll_back(name, scene)
    print(f"{name}: {rollback.seconds:.0f} s; {rollback.case.message}")
    assert not rollback.case.lost, rollback.case
    assert rollback.seconds < 400
