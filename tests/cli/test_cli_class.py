"""`kvmlab class` and `kvmlab incident` where no host runs: lists, files, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.cli import answer
from kvmlab.course import progress
from kvmlab.course.progress import ProgressEvent, read_progress

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the state directory of one seat."""
    path = tmp_path / "state"
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(path))
    return path


def test_faults_are_listed_for_a_trainer(capsys: Out) -> None:
    assert answer(["incident", "faults", "--level", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["level"] for row in rows} == {1}
    assert "Since Tuesday" in next(row for row in rows if row["name"] == "tap-shaper")["symptom"]
    assert answer(["--language", "zh-CN", "incident", "faults"]) == 0
    assert "从周二开始" in capsys.readouterr().out


def test_a_hand_goes_up_and_down(capsys: Out) -> None:
    assert answer(["class", "hand", "02-3"]) == 0
    assert answer(["class", "hand", "--over"]) == 0
    assert [entry.event for entry in read_progress()] == [
        ProgressEvent.HELP,
        ProgressEvent.HELP_OVER,
    ]


def test_a_class_from_export_to_reset(tmp_path: Path, state: Path, capsys: Out) -> None:
    assert answer(["class", "export", str(tmp_path / "anna.jsonl")]) == 2
    assert "no progress yet" in capsys.readouterr().err
    progress.record("02-1", ProgressEvent.START)
    assert answer(["class", "export", str(tmp_path / "anna.jsonl")]) == 0
    folder = ["--class", str(tmp_path / "class")]
    sources = [str(tmp_path / "anna.jsonl"), f"ben={state}"]
    assert answer(["class", "collect", *sources, *folder]) == 0
    assert "2 of 2 seats" in capsys.readouterr().out
    target = tmp_path / "class.json"
    assert answer(["class", "export", str(target), "--whole-class", *folder]) == 0
    assert [row["name"] for row in json.loads(target.read_text())] == ["anna", "ben"]
    assert answer(["class", "reset", "anna", *folder]) == 0
    assert answer(["class", "reset"]) == 0
    assert read_progress() == ()
    capsys.readouterr()
    assert answer(["class", "board", "--class", str(tmp_path / "none")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_the_check_of_a_class_fails_where_too_little_is_there(capsys: Out) -> None:
    assert answer(["class", "check", "--seats", "5000", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {row["name"] for row in checks if not row["ready"]} >= {"memory", "cores"}
