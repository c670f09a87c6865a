"""Notebook 08: the tour is measured, and says of what is mechanical what must be so."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kvmlab.runbook import Outcome, run
from tests.notebooks.executed import figures_of, page, text

pytestmark = [pytest.mark.host, pytest.mark.minutes(4), pytest.mark.timeout(1200)]

TUNING = "08-tuning"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run the notebook once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(["08"], out=out, console=Console(file=io.StringIO()))


def test_the_tour_judges_every_prediction(done: Outcome) -> None:
    (drawn,) = figures_of(done, TUNING, "measure")
    marks = [mark for trace in drawn["data"] for mark in trace.get("hovertext", ())]
    assert len(marks) == 8
    judged = {mark.partition(":")[0]: mark.rpartition(", ")[2] for mark in marks}
    assert judged["guest-tso=off"] == "worse"
    assert judged["mtu=9000"] == "better"
    assert "No guess was made." in page(done, TUNING, "measure")


def test_a_packed_ring_is_refused_with_its_reason(done: Outcome) -> None:
    assert "vhost-net in the kernel offers no packed ring" in text(done, TUNING, "refused")


def test_the_folds_say_who_paid(done: Outcome) -> None:
    assert "instructions/MB" in page(done, TUNING, "paid")


def test_the_atlas_that_ships_is_shown(done: Outcome) -> None:
    assert "in-order=on" in page(done, TUNING, "refused-rows")
