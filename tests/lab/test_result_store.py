"""The folders of a lab: one for each measurement, put together by `keep`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import MeasureError, UsageError
from kvmlab.hosts import Host, HostKind, LocalRunner
from kvmlab.lab.result_store import ResultStore
from kvmlab.measure import Trials
from kvmlab.results import Result, find_runs, load
from tests.report import builders

TRIALS = Trials(count=3, seed=9, workloads=("tcp_up", "latency"))


@pytest.fixture
def host() -> Host:
    return Host(
        spec="qemu:///system",
        kind=HostKind.LOCAL,
        label="this machine",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
        clock=Clock.WALL,
    )


def measured(store: ResultStore, host: Host, result: Result, trials: int | None = None) -> Result:
    """As the lab measures: each trial goes to the journal, at the end the result."""
    with store.journal(host, [result.label], TRIALS, None) as journal:
        journal.begin(0, result)
        for trial in result.trials[:trials]:
            journal.add(0, result.scheme, trial, ())
        if trials is not None:
            raise MeasureError("The client failed.")
        return store.measured(journal, result)[0]


def test_a_measurement_is_a_run_before_it_is_kept(host: Host, tmp_path: Path) -> None:
    measured(ResultStore(tmp_path), host, builders.e1000())
    (run,) = find_runs([tmp_path])
    assert (run.status, run.hosts, run.trials) == ("finished", ("embedded host",), 6)
    about = json.loads((run.folder / "measurement.json").read_text())
    assert about["settings"]["seed"] == 9
    assert about["settings"]["warmup_sec"] == 1  # as it was run, on wall time
    assert about["versions"]["kvmlab"]
    assert about["machine"]["cpus"]


def test_a_measurement_that_fails_leaves_its_trials_and_its_reason(
    host: Host, tmp_path: Path
) -> None:
    with pytest.raises(MeasureError):
        measured(ResultStore(tmp_path), host, builders.e1000(), trials=2)
    (run,) = find_runs([tmp_path])
    assert (run.status, run.trials, run.detail) == ("unfinished", 2, "The client failed.")


def test_a_measurement_that_fails_before_its_first_trial_leaves_nothing(
    host: Host, tmp_path: Path
) -> None:
    with pytest.raises(MeasureError):
        measured(ResultStore(tmp_path), host, builders.e1000(), trials=0)
    assert find_runs([tmp_path]) == ()


def test_what_is_kept_together_is_one_run(host: Host, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    slow, fast = (measured(store, host, one) for one in (builders.e1000(), builders.virtio()))
    other = measured(store, host, builders.virtio())
    kept = store.keep([slow, fast], None)
    assert load(kept.folder) == (slow, fast)
    together, alone = sorted(find_runs([tmp_path]), key=lambda run: -len(run.schemes))
    assert (together.folder, together.trials) == (kept.folder, 12)
    assert load(alone.folder) == (other,)


def test_one_measurement_is_kept_where_it_is(host: Host, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    only = measured(store, host, builders.e1000())
    (run,) = find_runs([tmp_path])
    assert store.keep([only], None).folder.resolve() == run.folder


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written to"):
        measured(ResultStore(tmp_path / "file"), host, builders.e1000())
