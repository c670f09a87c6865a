"""Fixtures of every room, and the order of a test run.

Tests marked `host` need an embedded host; those of one worker share one. They run last, so that
tests of seconds report before tests of minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.chromium import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host
    from kvmlab.lab import Lab

HOST_TEST_TIMEOUT_SEC = 900

# No test is a stopwatch: on a busy machine any example may take long.
settings.register_profile("kvmlab", deadline=None)
settings.load_profile("kvmlab")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--regenerate-golden` writes golden files anew; without it a missing one fails."""
    parser.addoption("--regenerate-golden", action="store_true", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Keep journals, locks and progress of the tests away from those of the user who runs them."""
    if not hasattr(config, "workerinput"):  # a worker inherits it
        folder = TemporaryDirectory(prefix="kvmlab-tests-", ignore_cleanup_errors=True)
        os.environ["XDG_STATE_HOME"] = folder.name
        config.add_cleanup(folder.cleanup)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests that need the embedded host last, those of long files first among them.

    They have time for the host's first start. Slow tests are left out where those that need a host
    are.
    """
    if config.getoption("markexpr") == "not host":
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    for item in items:
        if item.get_closest_marker("host") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(HOST_TEST_TIMEOUT_SEC))
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, float]:
    """Return the sort key of a test: without a host first, then by falling length of its file.

    A long file that started last would keep one worker busy while the others have nothing left.
    """
    minutes = item.get_closest_marker("minutes")
    return item.get_closest_marker("host") is not None, -(minutes.args[0] if minutes else 1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the directory that holds pyproject.toml."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """Return recorded tool output and golden XML; a room's own are in `data / "<room>"`."""
    return Path(__file__).resolve().parent / "data"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """`golden(path, text)`: the text must be what stands in the golden file."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--regenerate-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; look at what --regenerate-golden makes of it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Yield the embedded host, opened once for all tests marked `host`."""
    from kvmlab import open_lab

    with open_lab("embedded", out=tmp_path_factory.mktemp("results")) as opened:
        yield opened


@pytest.fixture
def host(lab: Lab) -> Host:
    """Return the embedded host's door: libvirt and a command runner."""
    return lab.host


@pytest.fixture
def vm(lab: Lab) -> TestVM:
    """Return the test VM on the embedded host, running, its agent answering."""
    return lab.vm


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what a cell shows of controls: bundles of MIME types, and buttons of terminals."""
    shown: list[Any] = []
    monkeypatch.setattr("kvmlab.widgets.elements.display", lambda one, **_raw: shown.append(one))
    return shown


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Yield one Chromium for all tests of a worker."""
    with chromium() as started:
        yield started
