"""Opening a lab: specs that are refused, the embedded host's preparation, kept results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.lab import open_lab, parse_clock, preparation
from kvmlab.lab.result_store import keep
from kvmlab.results import load
from tests.report import builders


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
