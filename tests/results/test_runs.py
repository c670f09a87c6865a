"""Runs: found, listed, and one compared with another."""

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
    RunComparison,
    compare_runs,
    find_run,
    find_runs,
    held,
    load_run,
    save,
)
from tests.results.build import result


def kept(place: Path, name: str, *results: Result) -> Run:
    save(results, place / name)
    return find_run(name, [place])


def notebooks(place: Path, name: str, status: str, **of: Sequence[Result]) -> Run:
    """A folder as `kvmlab run` makes it."""
    folder = place / name
    for notebook, results in of.items():
        save(results, folder / "results" / notebook / "2026-11-22T150000Z")
    entries = [{"name": notebook} for notebook in of]
    record = {"entries": entries, "status": status, "started": "2026-11-22T15:00:00+00:00"}
    (folder / "run.json").write_text(json.dumps(record))
    return find_run(name, [place])


def compared(first: Run, second: Run) -> RunComparison:
    return compare_runs(first, second)


def test_runs_are_listed_the_oldest_first(tmp_path: Path) -> None:
    kept(tmp_path, "2026-11-22T160000Z", result())
    notebooks(tmp_path, "evening", "complete", nb=[result(), result("e1000e")])
    (tmp_path / "something-else").mkdir()
    first, second = find_runs([tmp_path, tmp_path / "missing"])
    assert (first.name, first.trials, first.status) == ("evening", 6, "finished")
    assert first.schemes == ("the virtio-qemu", "the e1000e")
    assert second.started == "2026-11-22T16:00:00+00:00"
    assert (second.hosts, second.clocks) == (("embedded host",), ("wall",))


@pytest.mark.parametrize(
    ("status", "said"),
    [("running", "without a word"), ("interrupted", "interrupted"), ("failed", "interrupted")],
)
def test_a_run_of_notebooks_that_did_not_end(tmp_path: Path, status: str, said: str) -> None:
    run = notebooks(tmp_path, "evening", status, nb=[result()])
    assert run.status == "unfinished"
    assert said in run.said
    with pytest.raises(UsageError, match="not finished"):
        load_run(run)
    assert len(load_run(run, unfinished=True)) == 1


def test_a_run_of_notebooks_that_goes_on(tmp_path: Path) -> None:
    folder = notebooks(tmp_path, "evening", "running", nb=[result()]).folder
    with held(folder):
        assert find_run("evening", [tmp_path]).status == "measuring"
    assert find_run("evening", [tmp_path]).status == "unfinished"


def test_an_unknown_run_tells_those_there_are(tmp_path: Path) -> None:
    kept(tmp_path, "one", result())
    with pytest.raises(UsageError, match="no run `two`") as caught:
        find_run("two", [tmp_path])
    assert caught.value.todo == "There are: one."


def test_a_foreign_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"scripts": []}')
    with pytest.raises(UsageError, match="is no run of kvmlab"):
        find_run(str(tmp_path))


def test_every_shared_metric_of_a_scheme_gets_a_verdict(tmp_path: Path) -> None:
    slow, fast = result(values=(100, 104, 97)), result(values=(310, 290, 305))
    found = compared(kept(tmp_path, "old", slow, result("e1000")), kept(tmp_path, "new", fast))
    (scheme,) = found.schemes
    told = {(v.metric, v.workload): v for v in scheme.verdicts}
    speed = told["tcp_up_mbps", "tcp_up"]
    assert (speed.verdict, speed.baseline_label, speed.current_label) == ("better", "old", "new")
    assert told["vm_exits_per_packet", "tcp_up"].verdict == "no difference shown"
    document = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(document)["schemes"][0]["verdicts"][0]["verdict"] == "better"


def test_a_single_trial_claims_nothing_and_its_open_interval_is_null(tmp_path: Path) -> None:
    found = compared(
        kept(tmp_path, "old", result(values=(100,))), kept(tmp_path, "new", result(values=(900,)))
    )
    (verdict, *_) = found.to_dict()["schemes"][0]["verdicts"]
    assert (verdict["verdict"], verdict["high"]) == ("no difference shown", None)
    assert any("single trial" in note for note in found.notes)


def test_schemes_are_compared_within_the_notebook_of_one_name(tmp_path: Path) -> None:
    first = notebooks(tmp_path, "a", "complete", one=[result()], two=[result(values=(1, 2, 3))])
    second = notebooks(tmp_path, "b", "complete", two=[result(values=(1, 2, 3))])
    (scheme,) = compared(first, second).schemes
    assert scheme.notebook == "two"
    assert scheme.verdicts[0].ratio == 1


def test_a_scheme_measured_twice_in_a_run_is_not_guessed_at(tmp_path: Path) -> None:
    first = notebooks(tmp_path, "a", "complete", one=[result()], two=[result()])
    with pytest.raises(UsageError, match="no scheme in common") as caught:
        compared(first, kept(tmp_path, "b", result()))
    assert "RUN/results/NOTEBOOK/TIME" in caught.value.todo
    folder = first.folder / "results/one/2026-11-22T150000Z"
    assert compared(find_run(str(folder)), find_run("b", [tmp_path])).verdicts


def test_a_result_that_was_kept_twice_counts_once(tmp_path: Path) -> None:
    run = notebooks(tmp_path, "a", "complete", one=[result(), result("e1000")])
    save([result()], run.folder / "results" / "one" / "2026-11-22T160000Z")
    assert [part.result.scheme for part in load_run(run)] == ["virtio-qemu", "e1000"]
    assert compared(run, kept(tmp_path, "b", result())).verdicts


def test_no_scheme_in_common_says_what_each_has(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a has virtio-qemu; b has e1000"):
        compared(kept(tmp_path, "a", result()), kept(tmp_path, "b", result("e1000")))


def test_different_clocks_are_refused(tmp_path: Path) -> None:
    first = kept(tmp_path, "a", result())
    second = kept(tmp_path, "b", result(clock=Clock.VIRTUAL))
    with pytest.raises(UsageError, match="different clocks"):
        compared(first, second)


def test_different_hosts_are_compared_and_said(tmp_path: Path) -> None:
    first = kept(tmp_path, "a", result())
    second = kept(tmp_path, "b", replace(result(), host="kvm1", emulated=None))
    found = compared(first, second)
    assert found.verdicts[0].baseline_label == "a, on embedded host"
    assert found.verdicts[0].current_label == "b, on kvm1"
    assert any("different hosts" in note for note in found.notes)
