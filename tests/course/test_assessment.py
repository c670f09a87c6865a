"""The assessment: drawn by a seed, answered at a seat, scored, and its certificate."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from lxml import html

from kvmlab.cli.app import answer as cli
from kvmlab.course import Practice, ProgressEvent, assessment, find_task, record
from kvmlab.course.certificate import certificate
from kvmlab.course.question import find_question
from kvmlab.errors import UsageError
from kvmlab.language import reading


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(tmp_path))
    return tmp_path


def do_everything(*, hints: int = 0) -> None:
    for item in assessment.current().items:
        if assessment.is_question(item):
            assessment.answer(item, find_question(item).right)
        else:
            record(item, ProgressEvent.START)
            record(item, ProgressEvent.CHECK, hints=hints, result="passed")


@pytest.mark.parametrize("seed", [1, 2, 2026])
def test_a_seed_draws_the_same_twenty_and_some_of_each_notebook(seed: int) -> None:
    items = assessment.draw(seed)
    assert items == assessment.draw(seed)
    assert len(set(items)) == 20
    assert items != assessment.draw(seed + 1)
    tasks = [find_task(item) for item in items if not assessment.is_question(item)]
    assert len(tasks) == 12
    assert sum(task.practice is Practice.MEASUREMENT for task in tasks) == 3
    assert min(Counter(item[:2] for item in items).values()) >= 1
    assert len({item[:2] for item in items}) == 9


def test_everything_right_is_twenty_points_and_a_certificate() -> None:
    assessment.begin("Li Lei <b>", seed=7)
    do_everything()
    done = assessment.finish()
    assert (done.score, done.passed) == (20.0, True)
    assert assessment.result_path().stat().st_mode & 0o777 == 0o600
    page = certificate(done)
    text = " ".join("".join(map(str, html.fromstring(page).itertext())).split())
    assert "Li Lei <b>" in text
    assert "20 points" in text
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page
    with reading("zh-CN"):
        chinese = certificate(done)
    assert 'lang="zh-CN"' in chinese
    assert "结业证书" in chinese
    assert "points" not in str(html.fromstring(chinese).xpath("string(//main)"))


def test_hints_and_shown_solutions_cost_points() -> None:
    items = [item for item in assessment.begin("A", 3).items if not assessment.is_question(item)]
    for item in items[:3]:
        record(item, ProgressEvent.START)
    record(items[0], ProgressEvent.CHECK, hints=2, result="passed")
    record(items[1], ProgressEvent.SOLVE)
    record(items[1], ProgressEvent.CHECK, result="passed")
    record(items[2], ProgressEvent.CHECK, result="failed")
    with pytest.raises(UsageError, match="is not finished") as unfinished:
        certificate(assessment.current())
    assert "kvmlab assess finish" in unfinished.value.todo
    done = assessment.finish()
    assert [done.points[item] for item in items[:3]] == [0.5, 0, 0]
    assert done.score == 0.5
    with pytest.raises(UsageError, match=r"was not passed: 0\.5 of 20") as failed:
        certificate(done)
    assert "another" in failed.value.todo
    with pytest.raises(UsageError, match="was finished at"):
        assessment.finish()


def test_what_was_done_before_does_not_count() -> None:
    item = next(i for i in assessment.draw(3) if not assessment.is_question(i))
    path = assessment.result_path().with_name("progress.jsonl")
    record(item, ProgressEvent.START)
    record(item, ProgressEvent.CHECK, result="passed")
    lines = [
        json.loads(line) | {"time": "2020-01-01T00:00:00+00:00"}
        for line in path.read_text().splitlines()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assessment.begin("A", 3)
    assert assessment.finish().points[item] == 0


def test_the_command_line_takes_it_from_beginning_to_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli(["assess", "show"]) == 2
    assert "No assessment was begun" in capsys.readouterr().err
    assert cli(["assess", "begin", "--name", "Han Meimei", "--seed", "5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 21
    question = next(i for i in assessment.draw(5) if assessment.is_question(i))
    assert cli(["assess", "answer", question]) == 0
    assert "  1. " in capsys.readouterr().out
    assert cli(["assess", "answer", question, "9"]) == 2
    assert "has no option 9" in capsys.readouterr().err
    assert cli(["assess", "answer", "99-none", "1"]) == 2
    do_everything()
    assert cli(["assess", "finish"]) == 0
    assert "20 of 20 points." in capsys.readouterr().out
    assert cli(["assess", "certificate", "--out", str(tmp_path / "c.html")]) == 0
    assert "Han Meimei" in (tmp_path / "c.html").read_text()
    unwritable = "/proc/c.html" if os.geteuid() == 0 else "/c.html"
    assert cli(["assess", "certificate", "--out", unwritable]) == 2
