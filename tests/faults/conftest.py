"""One stranger's host for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kvmlab.changes import leftovers, restore
from kvmlab.deadline import until
from kvmlab.errors import KvmlabError
from tests.faults.scene import Scene


@pytest.fixture(scope="module")
def shared_scene(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Scene]:
    with Scene.opened(tmp_path_factory.mktemp("stranger"), repository) as scene:
        yield scene


@pytest.fixture
def scene(shared_scene: Scene) -> Iterator[Scene]:
    """Return the host as it was at first: a test that fails leaves no change to the next."""
    yield shared_scene
    until(
        lambda: _at_rest(shared_scene),
        timeout_sec=400,  # the host's own timer, and the time in which it undoes a scheme
        every_sec=1,
        what="the end of what this test left",
    )


def _at_rest(scene: Scene) -> bool:
    try:
        if not leftovers(scene.host):
            return True
        restore(scene.host)
    except KvmlabError:
        with suppress(KvmlabError):
            scene.reopen()
    return False
