"""Runs: search, list and comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.results import (
    Result,
    Run,
    compare_runs,
    find_run,
    find_runs,
    load_run,
    locked,
    save,
)
from tests.results.builders import result


def stored(place: Path, name: str, *results: Result) -> Run:
    save(results, place / name)
    return find_run(name, [place])


def notebooks(place: Path, name: str, status: str, **of: Sequence[Result]) -> Run:
    """Write a folder as `kvmlab run` does."""
    folder = place / name
    for notebook, results in of.items():
        save(results, folder / "results" / notebook / "2026-11-22T150000Z")
    entries = [{"name": notebook} for notebook in of]
    record = {"entries": entries, "status": status, "started": "2026-11-22T15:00:00+00:00"}
    (folder / "run.json").write_text(json.dumps(record))
    return find_run(name, [place])


def test_runs_are_listed_the_oldest_first(tmp_path: Path) -> None:
    stored(tmp_path, "2026-11-22T160000Z", result())
    notebooks(tmp_path, "evening", "complete", nb=[result(), result("e1000e")])
    (tmp_path / "something-else").mkdir()
    first, second = find_runs([tmp_path, tmp_path / "missing"])
    assert (first.name, first.trials, first.status) == ("evening", 6, "finished")
    assert first.schemes == ("the virtio-qemu", "the e1000e")
    assert second.started == "2026-11-22T16:00:00+00:00"
    assert (second.hosts, second.clocks) == (("embedded host",), ("wall",))


@pytest.mark.parametrize(
    ("status", "detail"),
    [("running", "without a word"), ("interrupted", "interrupted"), ("failed", "interrupted")],
)
def test_a_run_of_notebooks_that_was_cut_short(tmp_path: Path, status: str, detail: str) -> None:
    run = notebooks(tmp_path, "evening", status, nb=[result()])
    assert run.status == "unfinished"
    assert detail in run.detail
    with pytest.raises(UsageError, match="not finished"):
        load_run(run)
    assert len(load_run(run, unfinished=True)) == 1


def test_a_run_of_notebooks_in_progress(tmp_path: Path) -> None:
    folder = notebooks(tmp_path, "evening", "running", nb=[result()]).folder
    with locked(folder):
        assert find_run("evening", [tmp_path]).status == "measuring"
    assert find_run("evening", [tmp_path]).status == "unfinished"


def test_an_error_about_an_unknown_run_lists_the_others(tmp_path: Path) -> None:
    stored(tmp_path, "one", result())
    with pytest.raises(UsageError, match="no run `two`") as caught:
        find_run("two", [tmp_path])
    assert caught.value.todo == "There are: one."


def test_a_foreign_folder_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"scripts": []}')
    with pytest.raises(UsageError, match="is no run of kvmlab"):
        find_run(str(tmp_path))


def test_every_shared_metric_of_a_scheme_gets_a_verdict(tmp_path: Path) -> None:
    slow, fast = result(values=(100, 104, 97)), result(values=(310, 290, 305))
    comparison = compare_runs(
        stored(tmp_path, "old", slow, result("e1000")), stored(tmp_path, "new", fast)
    )
    (scheme,) = comparison.schemes
    verdicts = {(v.metric, v.workload): v for v in scheme.verdicts}
    speed = verdicts["tcp_up_mbps", "tcp_up"]
    assert (speed.verdict, speed.baseline_label, speed.current_label) == ("better", "old", "new")
    assert verdicts["vm_exits_per_packet", "tcp_up"].verdict == "no difference shown"
    document = json.dumps(comparison.to_dict(), allow_nan=False)
    assert json.loads(document)["schemes"][0]["verdicts"][0]["verdict"] == "better"


def test_a_single_trial_claims_nothing_and_its_open_interval_is_null(tmp_path: Path) -> None:
    comparison = compare_runs(
        stored(tmp_path, "old", result(values=(100,))),
        stored(tmp_path, "new", result(values=(900,))),
    )
    (verdict, *_) = comparison.to_dict()["schemes"][0]["verdicts"]
    assert (verdict["verdict"], verdict["high"]) == ("no difference shown", None)
    assert any("single trial" in note for note in comparison.notes)


def test_schemes_are_compared_within_the_notebook_of_one_name(tmp_path: Path) -> None:
    first = notebooks(tmp_path, "a", "complete", one=[result()], two=[result(values=(1, 2, 3))])
    second = notebooks(tmp_path, "b", "complete", two=[result(values=(1, 2, 3))])
    (scheme,) = compare_runs(first, second).schemes
    assert scheme.notebook == "two"
    assert scheme.verdicts[0].ratio == 1


def test_a_scheme_measured_twice_in_a_run_is_ambiguous(tmp_path: Path) -> None:
    first = notebooks(tmp_path, "a", "complete", one=[result()], two=[result()])
    with pytest.raises(UsageError, match="no scheme in common") as caught:
        compare_runs(first, stored(tmp_path, "b", result()))
    assert "RUN/results/NOTEBOOK/TIME" in caught.value.todo
    folder = first.folder / "results/one/2026-11-22T150000Z"
    assert compare_runs(find_run(str(folder)), find_run("b", [tmp_path])).verdicts


def test_a_result_stored_twice_counts_once(tmp_path: Path) -> None:
    run = notebooks(tmp_path, "a", "complete", one=[result(), result("e1000")])
    save([result()], run.folder / "results" / "one" / "2026-11-22T160000Z")
    assert [part.result.scheme for part in load_run(run)] == ["virtio-qemu", "e1000"]
    assert compare_runs(run, stored(tmp_path, "b", result())).verdicts


def test_an_error_about_no_common_scheme_lists_those_of_each(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a has virtio-qemu; b has e1000"):
        compare_runs(stored(tmp_path, "a", result()), stored(tmp_path, "b", result("e1000")))


def test_different_clocks_are_refused(tmp_path: Path) -> None:
    first = stored(tmp_path, "a", result())
    second = stored(tmp_path, "b", result(clock=Clock.VIRTUAL))
    with pytest.raises(UsageError, match="different clocks"):
        compare_runs(first, second)


def test_different_hosts_are_compared_with_a_note(tmp_path: Path) -> None:
    first = stored(tmp_path, "a", result())
    second = stored(tmp_path, "b", replace(result(), host="kvm1", emulated=None))
    comparison = compare_runs(first, second)
    assert comparison.verdicts[0].baseline_label == "a, on embedded host"
    assert comparison.verdicts[0].current_label == "b, on kvm1"
    assert any("different hosts" in note for note in comparison.notes)
