"""The adviser's panel: the same advice with and without a browser."""

from __future__ import annotations

import pytest

from kvmlab.advice import advise
from kvmlab.errors import UsageError
from kvmlab.widgets import AdvicePanel
from tests.advice.made import embedded


def test_parameters_alone_give_the_advice() -> None:
    panel = AdvicePanel(embedded(), load="latency", density=3)
    assert panel.advice == advise(embedded(), load="latency", density=3, results=())


def test_moving_a_control_advises_anew() -> None:
    panel = AdvicePanel(embedded(), load="latency")
    panel.migration.value = True
    assert panel.advice.best.scheme == "vf-teaming"
    panel.guest_os.value = "legacy"
    assert panel.advice.best.scheme == "e1000e"
    panel.density.value = 9
    assert panel.advice.need.density == 9
    panel.load.value = "light"
    assert panel.advice.need.load == "light"


def test_what_the_adviser_refuses_the_panel_refuses() -> None:
    with pytest.raises(UsageError):
        AdvicePanel(embedded(), load="heavy")
