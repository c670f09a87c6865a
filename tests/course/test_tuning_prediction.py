"""Guesses about tunings: none beforehand, and each beside what an atlas has measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lxml.html
import pytest

import kvmlab
from kvmlab.course import read_progress
from kvmlab.course.tuning_prediction import TuningPredictions
from kvmlab.errors import UsageError
from kvmlab.language import reading
from kvmlab.results.atlas import Atlas

TUNINGS = ("guest-tso=off", "mtu=9000", "rx-ring=64")


@pytest.fixture
def guesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TuningPredictions:
    """Return the lists for three tunings; their progress is kept apart."""
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(tmp_path))
    return kvmlab.predict_tunings("08-tour", *TUNINGS)


def bands(figure: Any) -> list[tuple[float, float]]:
    return [(s.x0, s.x1) for s in figure.layout.shapes if s.type == "rect"]


def test_nothing_is_guessed_beforehand(guesses: TuningPredictions) -> None:
    assert [chosen.value for chosen in guesses.lists.values()] == ["", "", ""]
    result = guesses.beside(Atlas.shipped())
    assert [sentence.en for sentence in result.sentences] == ["No guess was made."]
    assert bands(result.figure) == []
    shown = {trace.name for trace in result.figure.data if trace.hovertext}
    assert shown == {"measured, without a guess"}
    assert read_progress() == ()


def test_each_guess_stands_beside_its_result(guesses: TuningPredictions) -> None:
    guesses.lists["guest-tso=off"].value = "worse"
    guesses.lists["mtu=9000"].value = "same"
    result = guesses.beside(Atlas.shipped())
    effect = Atlas.shipped().row("mtu=9000").effect("throughput")
    assert effect is not None
    assert effect.verdict == "better"  # of the atlas that ships
    assert result.sentences[0].en == "1 of 2 guesses are as measured."
    worse, same = bands(result.figure)
    assert worse[1] == 1.0
    assert same[0] < 1 < same[1]
    marks = {trace.name: list(trace.x) for trace in result.figure.data if trace.hovertext}
    assert marks["measured, otherwise"] == [effect.ratio]
    assert set(marks) == {
        "measured, as predicted",
        "measured, otherwise",
        "measured, without a guess",
    }
    assert [entry.detail for entry in read_progress()] == ["guest-tso=off worse", "mtu=9000 same"]


def test_without_a_reader_it_is_the_question_alone(
    guesses: TuningPredictions, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVMLAB_HEADLESS", "yes")
    with reading("zh"):
        guesses._ipython_display_()
    (static,) = displayed
    question = str(lxml.html.fromstring(static["text/html"]).xpath("string()"))
    assert "吞吐量怎样" in question
    assert "虚拟机内的 TSO（guest-tso=off）" in question
    assert "列表" not in question


def test_only_what_there_is_can_be_predicted() -> None:
    with pytest.raises(UsageError, match="no tuning to predict"):
        kvmlab.predict_tunings("08-tour")
    with pytest.raises(UsageError, match="warp-drive"):
        kvmlab.predict_tunings("08-tour", "warp-drive=on")
