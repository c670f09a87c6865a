"""The trial panel: runs at the push of a button, results kept outside of the widget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmlab.errors import MeasureError, UsageError
from kvmlab.measure import OnProgress, Progress
from kvmlab.report.html import WIDGET
from kvmlab.results import Result
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.schemes.options import options_of
from kvmlab.tunings import tuned
from kvmlab.widgets import TrialPanel, card
from kvmlab.widgets.option_controls import OptionControls
from kvmlab.widgets.trial_panel import Later
from tests.report import builders

PRESETS: dict[str, Scheme] = {
    "e1000": FullEmulation("e1000"),
    "e1000e": FullEmulation("e1000e"),
    "vf": SriovVf(),
    "macvtap": Macvtap(),
    "broken": Macvtap(mode="vepa"),
    "interrupted": Macvtap(mode="private"),
}
runs: list[tuple[Scheme, int]] = []


@pytest.fixture(autouse=True)
def _no_runs() -> None:
    runs.clear()


def trial(scheme: Scheme, seconds: int, progress: OnProgress | None) -> Result:
    runs.append((scheme, seconds))
    if progress is not None:
        progress(Progress(0, 2, "tcp_up"))
    if scheme == PRESETS["broken"]:
        raise MeasureError("The peer went away.")
    if scheme == PRESETS["interrupted"]:
        raise KeyboardInterrupt
    return builders.result(scheme.id, scheme.label, (25.0,), (22_000,), 0.4)


def panel(model: str = "e1000e", later: Later | None = None) -> TrialPanel:
    return TrialPanel(trial, PRESETS, model=model, seconds=2, later=later)


def test_one_trial_is_run_from_the_parameters_alone() -> None:
    trial_panel = panel()
    assert runs == [(PRESETS["e1000e"], 2)]
    assert [result.scheme for result in trial_panel.results] == ["e1000e"]


def test_what_was_measured_before_takes_the_place_of_the_first_trial() -> None:
    before = builders.result("a", "a", (25.0,), (22_000,), 0.4)
    trial_panel = TrialPanel(trial, PRESETS, model="vf", seconds=1, measured=[before])
    assert runs == []
    trial_panel.button.click()
    assert [result.scheme for result in trial_panel.results] == ["a", "sriov-vf"]


def test_the_button_runs_another_one_with_the_chosen_scheme() -> None:
    trial_panel = panel()
    trial_panel.choose(model="e1000", seconds=3)
    trial_panel.button.click()
    assert runs[-1] == (PRESETS["e1000"], 3)
    assert [result.scheme for result in trial_panel.results] == ["e1000e", "e1000"]
    assert not trial_panel.button.disabled


def test_the_chosen_tuning_is_run_with_the_scheme() -> None:
    trial_panel = panel("macvtap")
    trial_panel.choose(model="macvtap", seconds=1, tuning="rx-ring=256")
    assert "rx-ring=256" in trial_panel.message
    trial_panel.button.click()
    assert runs[-1] == (tuned(PRESETS["macvtap"], "rx-ring=256"), 1)
    trial_panel.choose(model="macvtap", seconds=1)
    trial_panel.button.click()
    assert runs[-1] == (PRESETS["macvtap"], 1)


def test_a_failed_trial_is_shown_in_the_panel() -> None:
    trial_panel = panel()
    trial_panel.choose(model="broken", seconds=1)
    trial_panel.button.click()
    assert "The peer went away." in trial_panel.message
    assert len(trial_panel.results) == 1
    assert not trial_panel.button.disabled


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="no scheme 'ne2000'"):
        panel("ne2000")


def test_cards_escape_what_they_show() -> None:
    assert "&lt;b&gt;" in card("x", {"name": "<b>"})


def test_clicks_made_while_a_trial_ran_are_ignored() -> None:
    """In a kernel they are queued, and arrive when the trial is over."""
    waiting: list[Callable[[], None]] = []
    trial_panel = panel(later=lambda _seconds, call: waiting.append(call))
    trial_panel.button.click()
    trial_panel.button.click()
    assert len(runs) == 2, "the one that it is made with, and one click"
    assert trial_panel.button.disabled
    (free,) = waiting
    free()
    assert not trial_panel.button.disabled
    trial_panel.button.click()
    assert len(runs) == 3


def test_an_interrupted_trial_leaves_a_panel_that_works() -> None:
    trial_panel = panel()
    trial_panel.choose(model="interrupted", seconds=1)
    trial_panel.button.click()
    assert "Interrupted" in trial_panel.message
    assert len(trial_panel.results) == 1
    trial_panel.choose(model="e1000", seconds=1)
    trial_panel.button.click()
    assert trial_panel.message == ""
    assert len(trial_panel.results) == 2


def test_a_panel_may_draw_something_else_and_have_no_length() -> None:
    drawn: list[tuple[Result, ...]] = []
    TrialPanel(
        trial,
        PRESETS,
        model="e1000",
        seconds=None,
        draw=lambda *results: drawn.append(results),
    )._ipython_display_()
    assert [len(results) for results in drawn] == [1]


def test_every_option_that_a_scheme_declares_can_be_chosen() -> None:
    trial_panel = panel("vf")
    trial_panel.options.controls["how"].value = "hostdev"
    trial_panel.options.controls["vlan"].value = "7"
    trial_panel.options.controls["trust"].value = "yes"
    assert "SR-IOV VF, bare hostdev, VLAN 7, trust on" in trial_panel.message
    trial_panel.button.click()
    assert runs[-1][0] == SriovVf(how="hostdev", vlan=7, trust=True)


def test_another_scheme_shows_its_own_options() -> None:
    trial_panel = panel("vf")
    trial_panel.choose(model="macvtap", seconds=1)
    assert set(trial_panel.options.controls) == {option.name for option in options_of(Macvtap)}
    trial_panel.options.controls["trust_guest_rx_filters"].value = True
    trial_panel.button.click()
    assert runs[-1][0] == Macvtap(trust_guest_rx_filters=True)


def test_options_that_do_not_go_together_are_refused_and_nothing_is_run() -> None:
    trial_panel = panel("vf")
    trial_panel.options.controls["vfs"].value = "7"
    trial_panel.options.controls["vf"].value = "9"
    assert "VF 9 of 7 was asked for" in trial_panel.message
    trial_panel.button.click()
    assert "VF 9 of 7 was asked for" in trial_panel.message
    trial_panel.options.controls["vf"].value = "first"
    assert "is no value of the option vf" in trial_panel.message
    assert len(runs) == 1


SCHEMES = (FullEmulation(), Virtio(), Macvtap(), PciPassthrough(), SriovVf())


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.id)
def test_options_left_alone_are_the_scheme_itself(scheme: Scheme) -> None:
    assert OptionControls(scheme, lambda: None).scheme == scheme


@pytest.mark.parametrize("headless", [True, False])
def test_nobody_gets_a_widget_that_does_nothing(
    headless: bool, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a headless run a sentence stands where the controls would be."""
    if headless:
        monkeypatch.setenv("KVMLAB_HEADLESS", "yes")
    panel()._ipython_display_()
    (controls,) = displayed
    assert (WIDGET in controls) is not headless
    assert "The panel works where a kernel runs." in controls["text/html"]
