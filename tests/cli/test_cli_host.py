"""`kvmlab host …` where no host runs. With one it is tested in tests/embedded/test_real_host.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.cli import answer

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    # This machine may have an image for all of its users.
    monkeypatch.setenv("KVMLAB_SHARED_CACHE", str(tmp_path / "shared"))


def test_status_says_that_there_is_none(capsys: Out) -> None:
    assert answer(["host", "status"]) == 0
    assert capsys.readouterr().out == "No embedded host runs.\n"


def test_status_as_json(capsys: Out) -> None:
    assert answer(["host", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"image": None, "hosts": []}


@pytest.mark.parametrize("words", [["down"], ["down", "--all"], ["down", "--json"]])
def test_down_without_a_host_is_no_failure(words: list[str]) -> None:
    assert answer(["host", *words]) == 0


@pytest.mark.parametrize("words", [["console"], ["ssh", "true"], ["console", "--run-dir", "/x"]])
def test_what_needs_a_host_says_how_to_get_one(words: list[str], capsys: Out) -> None:
    assert answer(["host", *words]) == 1
    assert "kvmlab host up" in capsys.readouterr().err


def test_an_unknown_clock_is_a_usage_error() -> None:
    assert answer(["host", "up", "--clock", "sun"]) == 2
