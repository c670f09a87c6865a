"""The gate over two runs, its files for other programs, and the history of a metric."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from kvmlab.cli import answer
from kvmlab.errors import UsageError
from kvmlab.report.gate_formats import junit_xml, openmetrics_text
from kvmlab.report.history_figure import history as draw
from kvmlab.results import Run, find_run, find_runs, history_of, judge_runs, save
from kvmlab.results.history import change_points
from tests.results.builders import result

STEADY = (100.0, 101.0, 99.0, 100.5)
SLOWER = (80.0, 81.0, 79.0, 80.5)


def stored(place: Path, name: str, *values: tuple[str, tuple[float, ...]]) -> Run:
    save([result(scheme, mbps) for scheme, mbps in values], place / name)
    return find_run(name, [place])


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run]:
    """Return a baseline of two schemes, and a run in which one of them is a fifth slower."""
    before = stored(tmp_path, "before", ("virtio-qemu", STEADY), ("virtio-vhost", STEADY))
    after = stored(tmp_path, "after", ("virtio-qemu", SLOWER), ("virtio-vhost", STEADY))
    return before, after


def test_what_is_worse_by_more_than_the_tolerance_fails(runs: tuple[Run, Run]) -> None:
    report = judge_runs(*runs, tolerance_percent=5, metrics=["tcp_*"])
    (failure,) = report.failed
    assert (failure.scheme, failure.name) == ("virtio-qemu", "tcp_up_mbps, tcp_up")
    assert failure.worse_percent == pytest.approx(20, abs=1)
    assert not report.passed
    assert judge_runs(*runs, tolerance_percent=30, metrics=["tcp_*"]).passed
    assert judge_runs(runs[1], runs[0], metrics=["tcp_*"]).passed, "faster is no regression"


def test_a_scheme_that_is_missing_fails_unless_it_may(tmp_path: Path) -> None:
    before = stored(tmp_path, "before", ("virtio-qemu", STEADY), ("macvtap", STEADY))
    after = stored(tmp_path, "after", ("virtio-qemu", STEADY))
    assert judge_runs(before, after).missing == ("macvtap",)
    assert judge_runs(before, after, allow_missing=True).passed


def test_a_wide_interval_decides_nothing(tmp_path: Path) -> None:
    before = stored(tmp_path, "before", ("virtio-qemu", (100.0, 140.0, 60.0)))
    after = stored(tmp_path, "after", ("virtio-qemu", (80.0, 130.0, 50.0)))
    (check,) = judge_runs(before, after, metrics=["tcp_up_mbps"]).checks
    assert check.verdict == "not decided"


def test_numbers_and_patterns_that_fit_nothing(runs: tuple[Run, Run]) -> None:
    with pytest.raises(UsageError, match="tolerance of -1"):
        judge_runs(*runs, tolerance_percent=-1)
    with pytest.raises(UsageError, match="No metric of the two runs fits 'rtt_"):
        judge_runs(*runs, metrics=["rtt_*"])


def test_junit_has_a_case_for_each_metric(runs: tuple[Run, Run]) -> None:
    root = etree.fromstring(junit_xml(judge_runs(*runs, metrics=["tcp_*"])).encode())
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    (case,) = (case for case in root.iterfind(".//testcase") if case.find("failure") is not None)
    assert case.get("classname") == "kvmlab.virtio-qemu"
    assert "20 % worse" in (case.findtext("failure") or "")


def test_openmetrics_is_read_by_prometheus_own_parser(runs: tuple[Run, Run]) -> None:
    text = openmetrics_text(judge_runs(*runs, metrics=["tcp_*"]))
    samples = {
        (sample.name, sample.labels.get("scheme", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["kvmlab_gate_passed", ""] == 0
    assert samples["kvmlab_gate_failed", "virtio-qemu"] == 1
    assert samples["kvmlab_median", "virtio-vhost"] == pytest.approx(100.25)


def test_the_command_fails_and_writes_its_files(
    runs: tuple[Run, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit, metrics = tmp_path / "junit.xml", tmp_path / "kvmlab.prom"
    words = ["gate", "before", "after", "--in", str(tmp_path), "--metric", "tcp_*"]
    assert answer([*words, "--junit", str(junit), "--openmetrics", str(metrics)]) == 1
    assert "virtio-qemu: tcp_up_mbps, tcp_up is 20 % worse" in capsys.readouterr().out
    assert junit.read_text().startswith("<?xml")
    assert metrics.read_text().endswith("# EOF\n")
    assert answer([*words, "--tolerance", "30", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    assert answer([*words, "--junit", str(tmp_path / "no" / "folder.xml")]) == 2


@pytest.mark.parametrize("change", [-0.2, 0.05])
def test_a_step_in_a_noisy_series_is_found_where_it_is(change: float) -> None:
    noise = (0.0, 0.4, -0.3, 0.2, -0.4, 0.1, 0.3, -0.2, 0.0, -0.1, 0.2, -0.3)
    values = [100 + wobble for wobble in noise]
    assert change_points(values) == ()
    assert change_points([v * (1 + change * (i >= 7)) for i, v in enumerate(values)]) == (7,)


def test_history_follows_a_scheme_over_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    levels = [STEADY] * 4 + [SLOWER] * 3
    for number, mbps in enumerate(levels):
        stored(tmp_path, f"2026-11-{number + 10}T120000Z", ("virtio-qemu", mbps))
    (history,) = history_of(find_runs([tmp_path]), "tcp_up_mbps")
    assert [point.run for point in history.points][:2] == [
        "2026-11-10T120000Z",
        "2026-11-11T120000Z",
    ]
    assert history.changes == (4,)
    assert [round(level) for _, _, level in history.levels] == [100, 80]
    assert len(draw([history]).data) == 3  # the medians and two levels
    page = tmp_path / "history.html"
    assert answer(["history", "tcp_up_mbps", "--in", str(tmp_path), "--html", str(page)]) == 0
    assert "level changes here" in capsys.readouterr().out
    assert "https://" not in page.read_text().partition("<body>")[0]
    with pytest.raises(UsageError, match="None of the 7 runs has the metric"):
        history_of(find_runs([tmp_path]), "rtt_p50_us")
    with pytest.raises(UsageError, match="There is no finished run"):
        history_of((), "tcp_up_mbps")
