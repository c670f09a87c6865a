"""Two runs compared: text for a terminal, one page for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.report import figures, run_comparison_page, run_comparison_table
from kvmlab.results import Result, RunComparison, compare, compare_runs, find_run, save
from tests.report import builders

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SLOW, FAST = (100.0, 101.0, 99.0), (130.0, 131.0, 129.0)


def measured(up_mbps: Sequence[float]) -> Result:
    return builders.result("virtio-qemu", "virtio <b>*QEMU*</b>", up_mbps, (20.0, 21.0, 22.0), 0.4)


@pytest.fixture
def comparison(tmp_path: Path) -> RunComparison:
    for name, values in (("old", SLOW), ("new", FAST)):
        save([measured(values)], tmp_path / name)
    return compare_runs(find_run("old", [tmp_path]), find_run("new", [tmp_path]))


def test_the_table_has_a_row_for_each_verdict(comparison: RunComparison) -> None:
    (scheme,) = comparison.schemes
    assert run_comparison_table.columns(scheme)[-2:] == ("old", "new")
    table = {row[0]: row[1:] for row in run_comparison_table.rows(scheme)}
    assert table["TCP from the VM"][:2] == ("better", "1.30")
    assert len(table) == len(scheme.verdicts)
    assert any("not interleaved" in note for note in comparison.notes)


def test_the_page_shows_figures_and_verdicts_without_a_network(
    comparison: RunComparison, tmp_path: Path, browser: Browser
) -> None:
    path = run_comparison_page.write(comparison, tmp_path / "page.html")
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri())
    tab.wait_for_selector("figure.plot[data-drawn] >> nth=1")
    assert tab.locator("h1").inner_text() == "new against old"
    assert "virtio <b>*QEMU*</b>" in tab.locator("h2").inner_text()
    assert tab.locator("table td", has_text="better").count() == 1
    assert tab.locator("#code-toggle").is_hidden()
    assert builders.EMULATED in tab.locator(".emulated").inner_text()
    tab.close()
    assert complaints == []


def test_an_error_names_a_page_that_cannot_be_written(
    comparison: RunComparison, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        run_comparison_page.write(comparison, tmp_path / "missing" / "page.html")


def test_a_ratio_is_drawn_with_its_interval_and_by_its_verdict() -> None:
    slow, fast = measured(SLOW), measured(FAST)
    verdicts = [compare(slow, fast, "tcp_up_mbps"), compare(slow, fast, "rtt_p50_us")]
    figure = figures.ratios(slow, fast, comparisons=verdicts)
    marks = {trace.name: trace for trace in figure.data if trace.mode == "markers"}
    assert list(marks["better"].x) == [pytest.approx(1.3)]
    assert list(marks["no difference shown"].y) == [1]
    line = next(trace for trace in figure.data if trace.mode == "lines" and trace.y[0] == 0)
    assert line.x[0] == pytest.approx(verdicts[0].low)
    assert figure.layout.meta["notice"].startswith(builders.EMULATED)


def test_ratios_without_an_end_stay_in_the_figure() -> None:
    one, none = measured(SLOW), builders.result("x", "x", SLOW, SLOW, 0.0)
    verdict = compare(one, none, "vm_exits_per_packet", "tcp_up")
    assert verdict.ratio == 0
    figure = figures.ratios(one, none, comparisons=[verdict])
    (mark,) = (trace for trace in figure.data if trace.mode == "markers")
    assert 10 ** figure.layout.xaxis.range[0] <= mark.x[0] < 1


def test_ratios_of_nothing_or_of_two_clocks_are_refused() -> None:
    one = measured(SLOW)
    other = builders.result("x", "x", SLOW, SLOW, 1.0, clock=Clock.VIRTUAL)
    with pytest.raises(UsageError, match="no comparison"):
        figures.ratios(one, comparisons=[])
    with pytest.raises(UsageError, match="clocks"):
        figures.ratios(one, other, comparisons=[compare(one, one, "tcp_up_mbps")])
