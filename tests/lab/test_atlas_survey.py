"""A survey: resumed from its folder, refused where a host cannot, ended by its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kvmlab.changes import Plan
from kvmlab.errors import MeasureError, UsageError
from kvmlab.facts import HostFacts, inspect
from kvmlab.hosts import Cable
from kvmlab.lab.atlas_survey import Survey
from kvmlab.measure import Trials
from kvmlab.results import Result
from kvmlab.schemes import Scheme, Virtio
from kvmlab.tunings import tuning_from_text
from tests.facts.recorded_host import load
from tests.results.test_atlas import measured

VHOST = Virtio(backend="vhost")
CABLE = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", "peer", "p2p2")
SPEEDS = {"guest-tso=off": 250.0, "rx-ring=64": 900.0, "mtu=9000": 1500.0}
SPEEDS |= {"viommu=off": 800.0, "viommu=strict": 200.0}


class RecordedLab:
    """A lab of a recorded host whose measurements are given."""

    can_be_copied = False

    def __init__(self, facts: HostFacts, fail: str = "") -> None:
        self.facts = facts
        self.host = SimpleNamespace(label="recorded host")
        self.compared: list[str] = []
        self._fail = fail

    def plan(self, scheme: Scheme) -> Plan:
        return scheme.plan(self.facts, cable=CABLE)

    def compare(self, plan: Plan, **_settings: Any) -> tuple[Result, ...]:
        self.compared.append(plan.scheme)
        if self._fail and self._fail in plan.scheme:
            raise MeasureError("The peer went away.")
        speed = 1000.0
        for name in plan.scheme.split("+")[1:]:
            speed *= SPEEDS[name] / 1000
        return (measured(plan.scheme, speed, 100, 5000),)


@pytest.fixture(scope="module")
def facts(data: Path) -> HostFacts:
    recorded = inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)
    return replace(recorded, emulated="Embedded host.")


@pytest.fixture
def survey(facts: HostFacts, tmp_path: Path) -> Callable[..., tuple[Survey, RecordedLab]]:
    def build(*names: str, fail: str = "", **settings: Any) -> tuple[Survey, RecordedLab]:
        lab: Any = RecordedLab(facts, fail)
        tunings = [tuning_from_text(name) for name in names]
        settings = {"trials": Trials(), "baselines": 2, **settings}
        return Survey(lab, VHOST, tunings, folder=tmp_path, **settings), lab

    return build


def test_a_second_run_measures_only_what_is_missing(survey: Callable[..., Any]) -> None:
    first, lab = survey("guest-tso=off", "rx-ring=64")
    first.run()
    ids = ["virtio-vhost+guest-tso=off", "virtio-vhost+rx-ring=64"]
    assert lab.compared == ["virtio-vhost", *ids, "virtio-vhost"]
    again, lab = survey("guest-tso=off", "rx-ring=64", "mtu=9000")
    atlas = again.run()
    assert lab.compared == ["virtio-vhost+mtu=9000"]
    assert [row.tuning for row in atlas.measured] == ["guest-tso=off", "mtu=9000", "rx-ring=64"]
    slow = atlas.row("guest-tso=off").effect("throughput")
    assert slow is not None
    assert slow.ratio == pytest.approx(0.25)


def test_what_cannot_be_done_or_fails_is_a_row_with_its_reason(survey: Callable[..., Any]) -> None:
    run, _ = survey("in-order=on", "guest-tso=off", "rx-ring=64", fail="rx-ring=64")
    atlas = run.run()
    refused = {row.tuning: row.refused for row in atlas.refused}
    assert refused["in-order=on"].startswith("libvirt has no attribute")
    assert refused["rx-ring=64"] == "It failed: The peer went away."
    assert [row.tuning for row in atlas.measured] == ["guest-tso=off"]


def test_a_scheme_that_cannot_be_measured_ends_it(survey: Callable[..., Any]) -> None:
    run, _ = survey("guest-tso=off", fail="virtio-vhost")
    with pytest.raises(MeasureError):
        run.run()


def test_nothing_begins_after_the_budget(survey: Callable[..., Any]) -> None:
    run, lab = survey("guest-tso=off", "rx-ring=64", budget_sec=0)
    atlas = run.run()
    assert lab.compared == ["virtio-vhost", "virtio-vhost"]
    assert {row.refused for row in atlas.rows} == {"The budget was spent before its turn."}


def test_the_strongest_are_measured_in_pairs(survey: Callable[..., Any]) -> None:
    run, lab = survey("guest-tso=off", "rx-ring=64", "mtu=9000")
    atlas = run.run(pairs=2)
    assert lab.compared[-1] == "virtio-vhost+guest-tso=off+mtu=9000"
    (pair,) = atlas.interactions
    assert pair.factor == pytest.approx(1.0)
    assert not pair.shown


def test_a_vm_that_starts_anew_is_compared_with_one_that_did(survey: Callable[..., Any]) -> None:
    run, lab = survey("viommu=strict", "guest-tso=off", baselines=1)
    atlas = run.run()
    # What starts the VM anew comes last: it leaves another VM.
    assert lab.compared == [
        "virtio-vhost",
        "virtio-vhost+guest-tso=off",
        "virtio-vhost+viommu=off",
        "virtio-vhost+viommu=strict",
    ]
    assert atlas.row("viommu=strict").against == "viommu=off"
    strict = atlas.row("viommu=strict").effect("throughput")
    assert strict is not None
    assert strict.baseline == pytest.approx(800)
    assert atlas.row("guest-tso=off").against == ""
    assert [row.tuning for row in atlas.rows] == ["viommu=strict", "guest-tso=off"]


def test_baselines_lie_first_last_and_between(survey: Callable[..., Any]) -> None:
    run, lab = survey("guest-tso=off", "rx-ring=64", baselines=3)
    run.run()
    first, _, middle, _, last = lab.compared
    assert {first, middle, last} == {"virtio-vhost"}


def test_what_failed_is_tried_again(survey: Callable[..., Any]) -> None:
    run, _ = survey("guest-tso=off", fail="guest-tso=off")
    assert run.run().row("guest-tso=off").refused == "It failed: The peer went away."
    again, lab = survey("guest-tso=off")
    assert not again.run().row("guest-tso=off").refused
    assert lab.compared == ["virtio-vhost+guest-tso=off"]


def test_a_folder_of_other_settings_is_not_mixed_with_these(survey: Callable[..., Any]) -> None:
    survey("guest-tso=off")[0].run()
    other, lab = survey("guest-tso=off", trials=Trials(count=7))
    with pytest.raises(UsageError, match="with other settings: count"):
        other.run()
    assert not lab.compared
