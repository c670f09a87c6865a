"""The panel runs trials and keeps their results outside of the widget."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvmlab.errors import MeasureError, UsageError
from kvmlab.measure import OnProgress, Progress
from kvmlab.results import Result
from kvmlab.widgets import TrialPanel, card
from kvmlab.widgets.panel import Later
from tests.report import made

CARDS = ("e1000", "e1000e", "broken", "interrupted")
asked: list[tuple[str, int]] = []


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    asked.clear()


def trial(model: str, seconds: int, progress: OnProgress | None) -> Result:
    asked.append((model, seconds))
    if progress is not None:
        progress(Progress(0, 2, "tcp_up"))
    if model == "broken":
        raise MeasureError("The peer went away.")
    if model == "interrupted":
        raise KeyboardInterrupt
    return made.result(model, model, (25.0,), (22_000,), 0.4)


def panel(model: str = "e1000e", later: Later | None = None) -> TrialPanel:
    return TrialPanel(trial, CARDS, model=model, seconds=2, later=later)


def test_one_trial_is_run_from_the_parameters_alone() -> None:
    made_panel = panel()
    assert asked == [("e1000e", 2)]
    assert [result.scheme for result in made_panel.results] == ["e1000e"]


def test_the_button_runs_another_one_with_the_chosen_card() -> None:
    made_panel = panel()
    made_panel.choose(model="e1000", seconds=3)
    made_panel.button.click()
    assert asked[-1] == ("e1000", 3)
    assert [result.scheme for result in made_panel.results] == ["e1000e", "e1000"]
    assert not made_panel.button.disabled


def test_a_failed_trial_is_told_in_the_panel() -> None:
    made_panel = panel()
    made_panel.choose(model="broken", seconds=1)
    made_panel.button.click()
    assert "The peer went away." in made_panel.said
    assert len(made_panel.results) == 1
    assert not made_panel.button.disabled


def test_an_unknown_card_is_refused() -> None:
    with pytest.raises(UsageError, match="no card 'ne2000'"):
        panel("ne2000")


def test_cards_escape_what_they_show() -> None:
    assert "&lt;b&gt;" in card("x", {"name": "<b>"})


def test_clicks_made_while_a_trial_ran_are_not_kept_for_later() -> None:
    """In a kernel they wait in line, and arrive when the trial is over."""
    waiting: list[Callable[[], None]] = []
    made_panel = panel(later=lambda _seconds, call: waiting.append(call))
    made_panel.button.click()
    made_panel.button.click()
    assert len(asked) == 2, "the one that it is made with, and one click"
    assert made_panel.button.disabled
    (free,) = waiting
    free()
    assert not made_panel.button.disabled
    made_panel.button.click()
    assert len(asked) == 3


def test_an_interrupted_trial_leaves_a_panel_that_works() -> None:
    made_panel = panel()
    made_panel.choose(model="interrupted", seconds=1)
    made_panel.button.click()
    assert "Interrupted" in made_panel.said
    assert len(made_panel.results) == 1
    made_panel.choose(model="e1000", seconds=1)
    made_panel.button.click()
    assert made_panel.said == ""
    assert len(made_panel.results) == 2


def test_a_panel_may_draw_something_else_and_have_no_length() -> None:
    drawn: list[tuple[Result, ...]] = []
    TrialPanel(
        trial,
        ("e1000",),
        model="e1000",
        seconds=None,
        draw=lambda *results: drawn.append(results),
    )._ipython_display_()
    assert [len(results) for results in drawn] == [1]
