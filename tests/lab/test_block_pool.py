"""Blocks of a comparison on several hosts: put together as if one host had measured them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from kvmlab import errors
from kvmlab.changes import Plan
from kvmlab.clock import Clock
from kvmlab.embedded import Settings
from kvmlab.errors import EmbeddedError, KvmlabError, MeasureError, UsageError
from kvmlab.facts import inspect
from kvmlab.hosts import Host, HostKind, LocalRunner
from kvmlab.lab import EMBEDDED_CABLE, block_pool
from kvmlab.lab.block_pool import BlockResults, BlockTask, compare_in_blocks
from kvmlab.lab.parallelism import JOBS_VARIABLE, default_jobs, jobs_that_fit
from kvmlab.lab.result_store import ResultStore
from kvmlab.measure import Progress, Trials
from kvmlab.process import Completed
from kvmlab.results import Raw, Result, find_runs, load
from kvmlab.schemes import FullEmulation, Virtio
from tests.facts.recorded_host import load as recorded_host
from tests.report import builders

RATES = (25.0, 27.5, 22.0, 26.0, 24.0)
TRIALS = Trials(count=5, workloads=("tcp_up", "latency"))


def whole(scheme: str, exits: float) -> Result:
    """Return what one host would have measured in five rounds."""
    return builders.result(
        scheme, scheme, RATES, [1000 * rate for rate in RATES], exits, clock=Clock.VIRTUAL
    )


def measured(block: BlockTask) -> BlockResults:
    """Return the part of the results that belongs to a block, in place of a host."""
    results = []
    for plan, exits in zip(block.plans, (38.0, 0.4), strict=True):
        result = whole(plan.scheme, exits)
        trials = tuple(trial for trial in result.trials if trial.number == block.number)
        raw = [Raw(f"{trial.workload}-{trial.number:02d}-client.json", "{}") for trial in trials]
        raw += [Raw("path-trace.txt", "")] if block.trials.trace_path else []
        order = [each.label for each in block.plans]
        results.append(replace(result, trials=trials, raw=tuple(raw), meta={"order": order}))
    return BlockResults(block.number, f"host {block.number % 2}", tuple(results))


def failing(block: BlockTask) -> BlockResults:
    raise MeasureError("The client failed.", todo="Look at it.", evidence="no route")


@pytest.fixture(scope="module")
def plans(data: Path) -> tuple[Plan, ...]:
    facts = inspect(recorded_host(data / "facts" / "embedded.json"), prove_kvm=False)
    schemes = (FullEmulation(), Virtio())
    return tuple(scheme.plan(facts, cable=EMBEDDED_CABLE) for scheme in schemes)


@pytest.fixture
def host() -> Host:
    return Host(
        spec="embedded",
        kind=HostKind.EMBEDDED,
        label="embedded host",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
        clock=Clock.VIRTUAL,
    )


def compared(
    plans: Sequence[Plan], host: Host, folder: Path, *, jobs: int, trials: Trials = TRIALS
) -> tuple[tuple[Result, ...], list[Progress], Path]:
    steps: list[Progress] = []
    store = ResultStore(folder)
    with store.journal(host, [plan.label for plan in plans], trials, None) as journal:
        results = compare_in_blocks(
            plans,
            trials,
            jobs=jobs,
            settings=Settings(),
            progress=steps.append,
            journal=journal,
            work=measured,
        )
        return store.measured(journal, *results), steps, journal.folder


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_blocks_are_one_result_for_each_scheme(
    plans: tuple[Plan, ...], host: Host, tmp_path: Path, jobs: int
) -> None:
    results, steps, folder = compared(plans, host, tmp_path, jobs=jobs)
    for result, exits in zip(results, (38.0, 0.4), strict=True):
        expected = whole(result.scheme, exits)
        assert [trial.metrics for trial in result.trials] == [t.metrics for t in expected.trials]
        assert result.meta["hosts"]["2"] == "host 0"
        assert [raw.name for raw in result.raw].count("path-trace.txt") == 1
        assert len(result.raw) == 11
    assert (steps[-1].done, steps[-1].total) == (5, 5)
    assert [result.scheme for result in load(folder)] == ["e1000", "virtio-qemu"]


def test_blocks_go_on_until_the_interval_is_narrow(
    plans: tuple[Plan, ...], host: Host, tmp_path: Path
) -> None:
    trials = replace(TRIALS, count=1, until_percent=100)
    results, *_ = compared(plans, host, tmp_path, jobs=2, trials=trials)
    assert len(results[0].of("tcp_up")) == 4  # two waves of two: at least three are needed
    assert "narrow enough" in results[0].meta["ended"]["tcp_up"]["why"]


def test_a_block_that_fails_ends_the_comparison(
    plans: tuple[Plan, ...], host: Host, tmp_path: Path
) -> None:
    store = ResultStore(tmp_path)
    with (
        pytest.raises(MeasureError, match="The client failed") as caught,
        store.journal(host, ["a", "b"], TRIALS, None) as journal,
    ):
        compare_in_blocks(
            plans,
            TRIALS,
            jobs=2,
            settings=Settings(),
            progress=list[Progress]().append,
            journal=journal,
            work=failing,
        )
    assert (caught.value.todo, caught.value.evidence) == ("Look at it.", "no route")
    assert [*tmp_path.iterdir()] == []


def test_blocks_that_are_done_stay_when_the_comparison_is_interrupted(
    plans: tuple[Plan, ...], host: Host, tmp_path: Path
) -> None:
    def interrupt(step: Progress) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    store = ResultStore(tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        store.journal(host, ["a", "b"], TRIALS, None) as journal,
    ):
        compare_in_blocks(
            plans,
            TRIALS,
            jobs=2,
            settings=Settings(),
            progress=interrupt,
            journal=journal,
            work=measured,
        )
    (run,) = find_runs([tmp_path])
    assert (run.status, run.trials) == ("unfinished", 8)


def test_a_host_that_comes_up_when_all_has_ended_is_closed(
    plans: tuple[Plan, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    session = SimpleNamespace(
        host=SimpleNamespace(label="embedded host"),
        lease=SimpleNamespace(run_dir=Path("own-1")),
        close=lambda: closed.append("own-1"),
    )

    def restored(_: Settings) -> SimpleNamespace:
        block_pool.end_hosts("late")  # the comparison is interrupted meanwhile
        return session

    monkeypatch.setattr(block_pool, "_restored", restored)
    with pytest.raises(EmbeddedError, match="The measurement was ended"):
        block_pool.run_block(BlockTask("late", 1, plans, TRIALS, Settings()))
    assert closed == ["own-1"]


def test_errors_travel_between_processes() -> None:
    completed = Completed(("ip", "link"), 1, "", "no", "kvm1", 0.1)
    error = errors.CommandFailed(completed, todo="Look.")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.completed, type(copy)) == (str(error), completed, type(error))
    plain = pickle.loads(pickle.dumps(errors.Unavailable("No.", rule="iommu-off")))
    assert (plain.message, plain.rule, isinstance(plain, KvmlabError)) == ("No.", "iommu-off", True)


def test_jobs_are_several_only_under_the_virtual_clock_of_an_embedded_host(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOBS_VARIABLE, "3")
    assert default_jobs(host, TRIALS) == 3
    assert default_jobs(host, replace(TRIALS, count=2)) == 2
    host.clock = Clock.WALL
    assert default_jobs(host, TRIALS) == 1
    host.clock, host.kind = Clock.VIRTUAL, HostKind.SSH
    assert default_jobs(host, TRIALS) == 1
    monkeypatch.setenv(JOBS_VARIABLE, "many")
    host.kind = HostKind.EMBEDDED
    with pytest.raises(UsageError, match="KVMLAB_JOBS=many"):
        default_jobs(host, TRIALS)
    monkeypatch.delenv(JOBS_VARIABLE)
    monkeypatch.setattr("kvmlab.lab.parallelism.idle_cpus", lambda: 64)
    assert default_jobs(host, TRIALS) == min(jobs_that_fit(), TRIALS.count)
    monkeypatch.setattr("kvmlab.lab.parallelism.jobs_that_fit", lambda: 12)
    monkeypatch.setattr("kvmlab.lab.parallelism.idle_cpus", lambda: 2)
    assert default_jobs(host, TRIALS) == 3, "three hosts keep two CPUs busy"
    monkeypatch.setattr("kvmlab.lab.parallelism.idle_cpus", lambda: 1)
    assert default_jobs(host, TRIALS) == 1
    monkeypatch.setattr("kvmlab.lab.parallelism.idle_cpus", lambda: 0)
    assert default_jobs(host, TRIALS) == 1, "a busy machine gains nothing by a further host"
