"""The cards of a notebook's tasks, without a host: what they show, and the hand for help."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from kvmlab.classroom.seats import seat_of
from kvmlab.course import TaskSession, find_task, read_progress, tasks_of
from kvmlab.course.assessment_panel import AssessmentPanel
from kvmlab.course.card import TaskCard, TaskList, tasks_html
from kvmlab.errors import UsageError
from kvmlab.language import reading
from kvmlab.widgets import HostTerminal
from tests.course.test_assessment_panel import session_of


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(tmp_path))


def cards() -> TaskList:
    return TaskList([session_of(task.id) for task in tasks_of("02")])


@pytest.mark.parametrize("headless", [False, True])
def test_a_terminal_is_offered_above_tasks_a_card_and_the_assessment(
    headless: bool, tmp_path: Path, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a headless run nobody presses its button."""
    if headless:
        monkeypatch.setenv("KVMLAB_HEADLESS", "yes")
    terminal = HostTerminal(("kvmlab", "host", "ssh"))
    TaskList([session_of("02-1")], terminal)._ipython_display_()
    TaskCard(session_of("02-1"), terminal=terminal)._ipython_display_()
    AssessmentPanel(session_of, tmp_path, terminal)._ipython_display_()
    places = [place for place, one in enumerate(displayed) if one is terminal]
    assert places == ([] if headless else [0, 2, 4])


def test_a_card_says_what_its_task_trains() -> None:
    page = html.document_fromstring(tasks_html(tasks_of("02")))
    assert "What it trains: macvtap and its modes" in str(page.xpath("string()"))
    with reading("zh-CN"):
        assert "练习内容：macvtap 及其模式" in tasks_html(tasks_of("02"))


def test_the_hand_is_on_the_board_and_stays_up_for_another_kernel() -> None:
    tasks = cards()
    tasks.accordion.selected_index = 1
    tasks.hand.value = True
    assert tasks.hand.description == "Help is wanted"
    seat = seat_of("anna", read_progress(), datetime.now(UTC))
    assert (seat.help_with, seat.help_since is None) == ("02-2", False)
    again = cards()
    assert again.hand.value
    again.hand.value = False
    assert seat_of("anna", read_progress(), datetime.now(UTC)).help_since is None


def test_an_error_is_shown_in_the_language_of_the_card() -> None:
    class Refusing(TaskSession):
        def reset(self, *, note: bool = True) -> None:
            raise UsageError("The task 02-1 was not started on embedded.")

    with reading("zh-CN"):
        card = TaskCard(Refusing(session_of("02-1").lab, find_task("02-1"), find_task))
        card.press("Reset")
        assert "任务 02-1 没有在 embedded 上开始" in card.message.value
