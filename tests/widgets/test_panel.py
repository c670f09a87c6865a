"""The panel runs trials and keeps their results outside of the widget."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvmlab.errors import MeasureError, UsageError
from kvmlab.measure import OnProgress, Progress
from kvmlab.results import Result
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.schemes.knobs import knobs_of
from kvmlab.widgets import TrialPanel, card
from kvmlab.widgets.knobs import KnobControls
from kvmlab.widgets.panel import Later
from tests.report import made

CARDS: dict[str, Scheme] = {
    "e1000": FullEmulation("e1000"),
    "e1000e": FullEmulation("e1000e"),
    "vf": SriovVf(),
    "macvtap": Macvtap(),
    "broken": Macvtap(mode="vepa"),
    "interrupted": Macvtap(mode="private"),
}
asked: list[tuple[Scheme, int]] = []


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    asked.clear()


def trial(scheme: Scheme, seconds: int, progress: OnProgress | None) -> Result:
    asked.append((scheme, seconds))
    if progress is not None:
        progress(Progress(0, 2, "tcp_up"))
    if scheme == CARDS["broken"]:
        raise MeasureError("The peer went away.")
    if scheme == CARDS["interrupted"]:
        raise KeyboardInterrupt
    return made.result(scheme.id, scheme.label, (25.0,), (22_000,), 0.4)


def panel(model: str = "e1000e", later: Later | None = None) -> TrialPanel:
    return TrialPanel(trial, CARDS, model=model, seconds=2, later=later)


def test_one_trial_is_run_from_the_parameters_alone() -> None:
    made_panel = panel()
    assert asked == [(CARDS["e1000e"], 2)]
    assert [result.scheme for result in made_panel.results] == ["e1000e"]


def test_what_was_measured_before_takes_the_place_of_the_first_trial() -> None:
    before = made.result("a", "a", (25.0,), (22_000,), 0.4)
    made_panel = TrialPanel(trial, CARDS, model="vf", seconds=1, measured=[before])
    assert asked == []
    made_panel.button.click()
    assert [result.scheme for result in made_panel.results] == ["a", "sriov-vf"]


def test_the_button_runs_another_one_with_the_chosen_card() -> None:
    made_panel = panel()
    made_panel.choose(model="e1000", seconds=3)
    made_panel.button.click()
    assert asked[-1] == (CARDS["e1000"], 3)
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
        CARDS,
        model="e1000",
        seconds=None,
        draw=lambda *results: drawn.append(results),
    )._ipython_display_()
    assert [len(results) for results in drawn] == [1]


def test_every_knob_that_a_scheme_declares_can_be_chosen() -> None:
    made_panel = panel("vf")
    made_panel.knobs.controls["how"].value = "hostdev"
    made_panel.knobs.controls["vlan"].value = "7"
    made_panel.knobs.controls["trust"].value = "yes"
    assert "SR-IOV VF, bare hostdev, VLAN 7, trust on" in made_panel.said
    made_panel.button.click()
    assert asked[-1][0] == SriovVf(how="hostdev", vlan=7, trust=True)


def test_another_card_shows_its_own_knobs() -> None:
    made_panel = panel("vf")
    made_panel.choose(model="macvtap", seconds=1)
    assert set(made_panel.knobs.controls) == {knob.name for knob in knobs_of(Macvtap)}
    made_panel.knobs.controls["trust_guest_rx_filters"].value = True
    made_panel.button.click()
    assert asked[-1][0] == Macvtap(trust_guest_rx_filters=True)


def test_knobs_that_do_not_go_together_are_told_and_nothing_is_run() -> None:
    made_panel = panel("vf")
    made_panel.knobs.controls["vf"].value = "9"
    assert "VF 9 of 7 was asked for" in made_panel.said
    made_panel.button.click()
    assert "VF 9 of 7 was asked for" in made_panel.said
    made_panel.knobs.controls["vf"].value = "first"
    assert "is no value of the knob vf" in made_panel.said
    assert len(asked) == 1


SCHEMES = (FullEmulation(), Virtio(), Macvtap(), PciPassthrough(), SriovVf())


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.id)
def test_knobs_left_alone_are_the_scheme_itself(scheme: Scheme) -> None:
    assert KnobControls(scheme, lambda: None).scheme == scheme
