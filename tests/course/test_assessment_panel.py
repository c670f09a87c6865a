"""The assessment as a panel: begun, done, finished, and its certificate shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvmlab.course import ProgressEvent, TaskSession, assessment, find_task, record
from kvmlab.course.assessment_panel import AssessmentPanel
from kvmlab.course.question import find_question
from kvmlab.language import reading


class NoHost:
    """A host that nobody may touch: what is pressed here needs none."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"The panel asked the host for {name}.")


def session_of(task: str) -> TaskSession:
    return TaskSession(NoHost(), find_task(task), find_task)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def panel(tmp_path: Path) -> AssessmentPanel:
    """Return the panel of an assessment that was begun with the seed 7."""
    panel = AssessmentPanel(session_of, tmp_path)
    panel.name.value, panel.seed.value = "Han Meimei", 7
    panel.press("Begin")
    return panel


def do_everything(panel: AssessmentPanel) -> None:
    for item, choices in panel.choices.items():
        choices.value = find_question(item).right
    for item in panel.cards:
        record(item, ProgressEvent.START)
        record(item, ProgressEvent.CHECK, result="passed")


def test_twenty_items_appear_and_a_name_is_wanted(panel: AssessmentPanel, tmp_path: Path) -> None:
    assert panel.items == assessment.draw(7)
    assert (len(panel.cards), len(panel.choices)) == (12, 8)
    titles = [panel.accordion.get_title(number) for number in range(20)]
    assert [title.partition("  ")[0] for title in titles] == list(panel.items)
    assert panel.buttons["Certificate"].disabled
    assessment.result_path().unlink()
    nameless = AssessmentPanel(session_of, tmp_path)
    nameless.press("Begin")
    assert "needs a name" in nameless.message.value
    assert nameless.items == ()


def test_all_right_is_a_certificate(panel: AssessmentPanel, tmp_path: Path) -> None:
    do_everything(panel)
    panel.press("Finish")
    assert "Passed, with 20 of 20 points." in panel.message.value
    assert panel.items == ()
    assert not panel.buttons["Certificate"].disabled
    panel.press("Certificate")
    assert "Han Meimei" in (tmp_path / "certificate.html").read_text()
    assert "<iframe" in panel.message.value
    assert "Han Meimei" in panel.message.value


def test_whoever_finishes_early_is_asked_once_more(panel: AssessmentPanel) -> None:
    question = next(iter(panel.choices))
    panel.choices[question].value = find_question(question).right
    panel.press("Finish")
    assert "19 of 20 items are open" in panel.message.value
    assert not assessment.current().finished
    panel.press("Finish")
    assert "Not passed: 1 of 20 points; 14 are needed." in panel.message.value
    assert panel.buttons["Certificate"].disabled


def test_it_goes_on_where_it_was_left(panel: AssessmentPanel, tmp_path: Path) -> None:
    question = next(iter(panel.choices))
    panel.choices[question].value = 2
    task = next(iter(panel.cards))
    record(task, ProgressEvent.START)
    again = AssessmentPanel(session_of, tmp_path)
    assert again.items == panel.items
    assert again.choices[question].value == 2
    titles = [again.accordion.get_title(number) for number in range(20)]
    assert any(title.startswith(question) and "answered" in title for title in titles)
    assert any(title.startswith(task) and "started" in title for title in titles)
    again.name.value = "Li Lei"
    again.press("Begin")
    assert "Han Meimei has begun one" in again.message.value
    assert assessment.current().name == "Han Meimei"
    again.press("Begin")
    assert assessment.current().name == "Li Lei"


def test_it_is_in_chinese(tmp_path: Path) -> None:
    with reading("zh-CN"):
        panel = AssessmentPanel(session_of, tmp_path)
        panel.press("Begin")
        assert "证书需要一个姓名" in panel.message.value
        assert panel.buttons["Finish"].description == "交卷"


def test_where_nobody_clicks_it_is_a_sentence(
    panel: AssessmentPanel, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVMLAB_HEADLESS", "yes")
    panel._ipython_display_()
    (static,) = displayed
    assert "kvmlab assess begin" in static["text/html"]
    assert "Han Meimei" not in static["text/html"]
