"""The adviser's panel: the same advice with and without a browser."""

from __future__ import annotations

import pytest

from kvmlab.advice import advise
from kvmlab.doctor import Diagnosis
from kvmlab.errors import UsageError
from kvmlab.widgets import AdvicePanel
from tests.advice.builders import embedded
from tests.advice.test_tuning_evidence import SLOW


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


def test_what_the_doctor_found_stands_beside_the_atlas_whatever_is_asked() -> None:
    panel = AdvicePanel(embedded(), diagnosis=Diagnosis("kvm1", None, (SLOW,)))
    assert any("The atlas says of offloads=off" in note for note in panel.advice.notes)
    panel.load.value = "latency"
    assert any("The atlas says of offloads=off" in note for note in panel.advice.notes)


def test_the_panel_refuses_as_the_adviser_does() -> None:
    with pytest.raises(UsageError):
        AdvicePanel(embedded(), load="heavy")
