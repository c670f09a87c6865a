"""`kvmlab host …` where no host runs. With one it is tested in test_real_host.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kvmlab.cli_host import app
from kvmlab.errors import HostUnreachable


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_status_says_that_there_is_none() -> None:
    told = CliRunner().invoke(app, ["status"])
    assert (told.exit_code, told.stdout) == (0, "No embedded host runs.\n")


def test_status_as_json() -> None:
    told = CliRunner().invoke(app, ["status", "--json"])
    assert json.loads(told.stdout) == {"image": None, "hosts": []}


@pytest.mark.parametrize("words", [["down"], ["down", "--all"], ["down", "--json"]])
def test_down_without_a_host_is_no_failure(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 0


@pytest.mark.parametrize("words", [["console"], ["ssh", "true"], ["console", "--run-dir", "/x"]])
def test_what_needs_a_host_says_how_to_get_one(words: list[str]) -> None:
    told = CliRunner().invoke(app, words)
    assert isinstance(told.exception, HostUnreachable)
    assert "kvmlab host up" in told.exception.todo


def test_an_unknown_clock_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["up", "--clock", "sun"]).exit_code == 2
