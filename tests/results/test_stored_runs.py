"""Runs that earlier versions stored stay readable."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.clock import Clock
from kvmlab.results import Condition, Result, Share, find_run, find_runs, load, load_run
from tests.results.builders import result


@pytest.fixture
def stored(repository: Path, tmp_path: Path) -> Path:
    """Return a copy of the stored runs; git keeps their names, not their locks."""
    return Path(shutil.copytree(repository / "tests/data/results", tmp_path / "runs"))


def complete() -> Result:
    """Return the result of 0.1.0's measurements; their trials carry conditions and shares."""
    plain = result(values=(100.0, 110.0, 90.0, 95.0))
    conditions = (Condition("load_count", "host", 0.5, ""),)
    shares = (Share("worker_us", 1, 700.0, "µs"),)
    trials = (replace(trial, conditions=conditions, shares=shares) for trial in plain.trials)
    return replace(plain, trials=tuple(trials))


def test_the_first_store_loads_as_it_was(stored: Path) -> None:
    assert load(stored / "2026-11-22T123921Z") == (
        result(),
        result("e1000e", clock=Clock.VIRTUAL),
    )


def test_a_finished_measurement_loads_as_it_was(stored: Path) -> None:
    assert load(stored / "2026-11-27T100000Z") == (complete(),)


def test_a_killed_measurement_keeps_its_two_trials(stored: Path) -> None:
    run = find_run("2026-11-27T110000Z", [stored])
    assert (run.status, run.trials) == ("unfinished", 2)
    (part,) = load_run(run, unfinished=True)
    assert part.result.trials == complete().trials[:2]
    assert part.result.path == complete().path


def test_all_of_them_are_listed(stored: Path) -> None:
    listed = {run.name: (run.status, run.trials, run.started) for run in find_runs([stored])}
    assert listed == {
        "2026-11-22T123921Z": ("finished", 6, "2026-11-22T12:39:21+00:00"),
        "2026-11-27T100000Z": ("finished", 4, "2026-11-27T10:00:00+00:00"),
        "2026-11-27T110000Z": ("unfinished", 2, "2026-11-27T10:00:00+00:00"),
        "2026-11-27-101000": ("finished", 6, "2026-11-27T10:10:00+00:00"),
    }
    parts = load_run(find_run("2026-11-27-101000", [stored]))
    assert {part.notebook for part in parts} == {"01-full-emulation-and-virtio"}
