"""Opening a lab: specs that are refused, the embedded host's preparation, kept results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.facts import inspect
from kvmlab.hosts import Cable
from kvmlab.lab import open_lab, parse_clock, preparation
from kvmlab.lab.result_store import keep
from kvmlab.measure import Trials
from kvmlab.results import load
from kvmlab.schemes import SriovVf
from tests.facts.recorded_host import load as load_host
from tests.report import builders

CABLE = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", "peer", "p2p2")


@pytest.mark.parametrize("spec", ["", "embeded", "xen:///", "qemu+tcp://a/system"])
def test_an_unknown_kind_of_host_is_refused_with_those_there_are(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_lab(spec)
    assert "embedded" in caught.value.todo


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(UsageError, match="no clock 'lunar'") as caught:
        open_lab(clock="lunar")
    assert "wall, virtual" in caught.value.todo
    assert parse_clock("virtual") is Clock.VIRTUAL


def test_the_preparation_is_the_same_every_time() -> None:
    assert preparation().key == preparation().key


def test_a_local_lab_needs_a_cable_before_it_plans(tmp_path: Path) -> None:
    with (
        open_lab("qemu:///system", out=tmp_path) as lab,
        pytest.raises(UsageError, match="which port"),
    ):
        _ = lab.cable


def test_what_is_no_scheme_plan_or_number_of_trials_is_refused(tmp_path: Path, data: Path) -> None:
    facts = inspect(load_host(data / "facts" / "embedded.json"), prove_kvm=False)
    first, second = (SriovVf(vfs=2, vf=number).plan(facts, cable=CABLE) for number in (0, 1))
    trials: Any = Trials(1)
    with open_lab("qemu:///system", out=tmp_path) as opened:
        lab: Any = opened
        for wrong, needed in (
            (lambda: lab.plan("virtio"), "Scheme"),
            (lambda: lab.plan(first), "Scheme"),
            (lambda: lab.compare(SriovVf(), trials=trials), "Plan"),
            (lambda: lab.compare(first, trials=3), "Trials"),
            (lambda: lab.compare_channels(SriovVf(), trials=trials), "Plan"),
            (lambda: lab.baseline(3), "Trials"),
            (lambda: lab.measure(None, 3), "Trials"),
        ):
            with pytest.raises(UsageError, match=f"not what is needed here: {needed}") as caught:
                wrong()
            assert caught.value.todo
        with pytest.raises(UsageError, match=f"named “{first.label}”"):
            lab.compare(first, second, trials=trials)


@pytest.mark.parametrize("consent", ["no", "yes", 1, None])
def test_consent_is_no_text(consent: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not what is needed here: bool"):
        open_lab("qemu:///system", out=tmp_path, allow_changes=consent)


def test_results_are_kept_in_a_new_folder_each_time(tmp_path: Path) -> None:
    first = keep([builders.e1000(), builders.virtio()], tmp_path, None)
    second = keep([builders.e1000()], tmp_path, None)
    assert first.folder != second.folder
    assert load(first.folder) == (builders.e1000(), builders.virtio())
    assert str(first).startswith("Kept 2 results (12 trials) in ")
    assert json.loads((first.folder / "results.json").read_text())["format"]


def test_nothing_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no result to keep"):
        keep([], tmp_path, None)
