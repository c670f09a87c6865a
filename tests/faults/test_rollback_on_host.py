"""A stranger's host puts itself back when nobody confirms a change."""

from __future__ import annotations

import pytest

from tests.faults.rollback import CAUSES, ROLLBACKS, roll_back
from tests.faults.scene import Scene

pytestmark = [pytest.mark.host, pytest.mark.minutes(5), pytest.mark.timeout(900)]

#: As those before them: run by hand, and by `python -m bench faults`.
BY_HAND = tuple(CAUSES)[3:]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.series] if n in BY_HAND else []) for n in ROLLBACKS],
)
def test_the_host_puts_itself_back(name: str, scene: Scene) -> None:
    rollback = roll_back(name, scene)
    print(f"{name}: {rollback.seconds:.0f} s; {rollback.case.message}")
    assert not rollback.case.lost, rollback.case
    assert rollback.seconds < 400
