"""Figures, table, folds and page of the tuning atlas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from kvmlab.errors import UsageError
from kvmlab.language import reading
from kvmlab.report import figures, html, tables
from kvmlab.report.atlas_table import markdown
from kvmlab.report.page import Head
from kvmlab.results.atlas import Atlas, interaction_of
from kvmlab.tunings import TUNINGS
from tests.report.test_html import output, plot
from tests.results.test_atlas import ATLAS, row

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_figure_has_a_row_for_each_tuning_by_effect() -> None:
    figure = figures.atlas(ATLAS)
    assert list(figure.layout.yaxis.ticktext) == ["guest-tso=off", "rx-ring=64", "event-idx=off"]
    worse = next(t for t in figure.data if t.name == "worse" and t.xaxis == "x")
    assert next(iter(worse.x)) == pytest.approx(0.25)
    assert "guest: 5,000 → 20,000 instructions/MB" in worse.hovertext[0]
    assert "Emulated host, virtual time" in figure.layout.meta["notice"] + str(
        figure.layout.annotations
    )
    with pytest.raises(UsageError, match="no row that was measured"):
        figures.atlas(replace(ATLAS, rows=ATLAS.refused))


def test_pairs_are_a_matrix_with_what_differs_in_bold() -> None:
    first, second = ATLAS.row("guest-tso=off"), ATLAS.row("rx-ring=64")
    pair = interaction_of(first, second, row("both", 450), "throughput")
    assert pair is not None
    figure = figures.interactions(replace(ATLAS, interactions=(pair,)))
    assert "<b>2.00</b>" in str(figure.data[0].text)
    with pytest.raises(UsageError, match="no tunings in pairs"):
        figures.interactions(ATLAS)


def test_the_table_says_what_each_does_in_both_languages() -> None:
    english = tables.atlas(ATLAS)
    assert str(english.loc["guest-tso=off", "throughput"]) == "0.250"
    assert str(english.loc["event-idx=off", "throughput"]).startswith("(")
    assert "libvirt has no word" in str(english.loc["in-order=on", "what it does"])
    assert "365 Mb/s" in str(english.loc["guest-tso=off", "published"])
    assert "siag.nu" in str(english.loc["guest-tso=off", "published"])
    assert str(english.loc["rx-ring=64", "published"]) == "–"
    chinese = tables.atlas(ATLAS, language="zh-CN")
    assert str(chinese.loc["guest-tso=off", "吞吐量"]) == "0.250"


def test_a_fold_shows_who_paid_and_escapes_what_it_shows() -> None:
    odd = replace(ATLAS, rows=(replace(ATLAS.rows[1], tuning="<b>"),))
    text = tables.folds(odd)._repr_html_()
    assert "<details data-tuning=" in text
    assert "&lt;b&gt;" in text
    assert "<td>guest</td><td>10.0 → 40.0</td><td>5,000 → 20,000</td>" in text


def test_the_folds_are_in_the_readers_language() -> None:
    with reading("zh-CN"):
        text = tables.folds(ATLAS)._repr_html_()
    assert "<th>从虚拟机发出的 TCP</th><th>条指令/包</th><th>条指令/MB</th>" in text
    assert "tcp_up" not in text
    assert " · 吞吐量 0.250 · " in text


def test_a_click_on_a_row_opens_who_paid(browser: Browser, tmp_path: Path) -> None:
    figure, folds = nbformat.v4.new_code_cell("figure"), nbformat.v4.new_code_cell("folds")
    figure.outputs = [plot(figures.atlas(ATLAS))]
    folds.outputs = [output({"text/html": tables.folds(ATLAS)._repr_html_()})]
    nbformat.write(nbformat.v4.new_notebook(cells=[figure, folds]), tmp_path / "08.ipynb")
    page = html.write({"08": tmp_path / "08.ipynb"}, tmp_path / "page.html", Head(title="A run"))
    with browser.new_context(offline=True, viewport={"width": 1200, "height": 900}) as context:
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector("figure[data-drawn]")
        fold = tab.locator("details[data-tuning='guest-tso=off']")
        assert not fold.locator("table").is_visible()
        # The largest effect is the first row; its mark in the first panel is the first one "worse".
        mark = tab.locator(".scatterlayer .trace:has(.points path) .points path").first
        box = mark.bounding_box()
        assert box is not None
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.mouse.move(*middle)
        tab.wait_for_selector(".hoverlayer .hovertext")
        hover = tab.locator(".hoverlayer .hovertext").first
        tuning = (hover.text_content() or "").split(":")[0].strip()
        tab.mouse.click(*middle)
        table = tab.locator(f"details[data-tuning='{tuning}'] table")
        table.wait_for(state="visible")
        assert "guest" in table.inner_text()


def test_the_legend_covers_no_label_of_an_axis(browser: Browser, tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("figure", outputs=[plot(figures.atlas(ATLAS))])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "08.ipynb")
    page = html.write({"08": tmp_path / "08.ipynb"}, tmp_path / "page.html", Head(title="A run"))
    with browser.new_context(offline=True, viewport={"width": 1200, "height": 900}) as context:
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector("figure[data-drawn]")
        legend = tab.locator("g.legend").bounding_box()
        labels = tab.locator("g.xtick text, g.x2tick text, g.x3tick text, g.x4tick text").all()
        assert len(labels) >= 4
        for label in labels:
            box = label.bounding_box()
            assert box is not None
            assert legend is not None
            assert box["y"] + box["height"] <= legend["y"], label.text_content()


def test_atlases_of_two_hosts_stand_side_by_side() -> None:
    other = replace(ATLAS, host="kvm1", rows=ATLAS.rows[:2])
    frame = tables.atlases(other, ATLAS)
    assert list(frame.index) == ["guest-tso=off", "event-idx=off"]
    assert str(frame.loc["guest-tso=off", "throughput, kvm1"]) == "0.250"


def test_the_page_has_all_of_it() -> None:
    text = markdown(ATLAS, command="kvmlab atlas")
    assert "| `guest-tso=off` | guest | 0.250 |" in text
    assert "`tcp_up`, instructions/packet: guest 10.0 → 40.0; softirq" in text
    assert "| `rx-ring=64` | 0.900 | 0.900 |" in text
    assert "| `in-order=on` | libvirt has no word for it. |" in text
    assert "QEMU: 10.0.13" in text


def test_the_page_in_docs_is_that_of_the_atlas_that_ships(repository: Path) -> None:
    shipped = Atlas.shipped()
    page = (repository / "docs" / "atlas.md").read_text("utf-8")
    command = next(line.strip() for line in page.splitlines() if line.startswith("    kvmlab"))
    assert page == markdown(shipped, command=command)
    assert (repository / "docs" / "atlas.csv").read_text("utf-8") == shipped.csv()
    assert {row.tuning.partition("=")[0] for row in shipped.rows} <= set(TUNINGS)
