"""The report is self-contained: a browser without a network shows everything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from plotly.offline import get_plotlyjs

from kvmlab.report import figures, html, page, sentences
from kvmlab.results import compare
from tests.report import builders

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def notebook(title: str) -> nbformat.NotebookNode:
    """Return a notebook as papermill writes it: parameters, figures, a claim, a widget."""
    new_code, new_text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    parameters = new_code('HOST: str = "embedded"  # host to work on\nTRIALS: int = 3  # how often')
    parameters.metadata.tags = ["parameters"]
    injected = new_code("# Parameters\nTRIALS = 5\n")
    injected.metadata.tags = ["injected-parameters"]
    figure, costs = new_code("figures.path(result)"), new_code("figures.costs(result)")
    figure.outputs = [plot(figures.path(builders.virtio()))]
    costs.outputs = [plot(figures.costs(builders.e1000(), builders.virtio()))]
    judged = new_code("claim")
    speed = compare(builders.e1000(), builders.virtio(), "tcp_up_mbps")
    claim = sentences.claim("TCP is faster & <b>better</b>.", speed, at_least=1.0)
    judged.outputs = [output(claim._repr_mimebundle_())]
    panel = new_code("panel")
    panel.outputs = [
        output(
            {
                "application/vnd.jupyter.widget-view+json": {"model_id": "abc"},
                "text/plain": "VBox()",
            }
        )
    ]
    cells = [
        new_text(f"# {title}\n\nSome *words*."),
        parameters,
        injected,
        new_text("## What was `seen`"),
        figure,
        costs,
        judged,
        panel,
    ]
    node = nbformat.v4.new_notebook(cells=cells)
    node.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {"abc": {}}}}
    return node


def output(data: dict[str, Any]) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", data=data)


def plot(figure: Any) -> nbformat.NotebookNode:
    return output({html.PLOTLY: json.loads(figure.to_json())})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    paths = {}
    for name in ("00-first", "01-second"):
        paths[name] = folder / f"{name}.ipynb"
        nbformat.write(notebook(name), paths[name])
    head = page.Head(
        title="A run",
        warning=builders.EMULATED,
        csv="a,b\n1,2\n",
        notebooks=(
            page.NotebookRow("00-first", "First", "complete", 12.6),
            page.NotebookRow("01-second", "Second", "failed", 100.2),
            page.NotebookRow("02-third", "Third", "waiting", 0.0),
        ),
        overview=figures.overview(builders.e1000(), builders.virtio()).to_json(),
        medians=(page.Medians("First", "<table></table>"),),
    )
    return html.write(paths, folder / "report.html", head)


@dataclass
class OpenedPage:
    """Page in a browser without a network, and its errors."""

    page: Page
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda m: self.note(m.text, m.type == "error"))
        self.page.on("request", lambda r: self.note(r.url, r.url.startswith("http")))

    def note(self, text: str, wrong: bool) -> None:
        if wrong:
            self.problems.append(text)


@pytest.fixture(scope="module")
def opened(browser: Browser, report: Path) -> Iterator[OpenedPage]:
    """Yield the report, opened once: a browser takes seconds for five megabytes of plotly."""
    with browser.new_context(offline=True, viewport={"width": 1280, "height": 900}) as context:
        opened = OpenedPage(context.new_page())
        opened.watch()
        opened.page.goto(report.as_uri())
        yield opened


def test_every_figure_is_drawn_without_a_network(opened: OpenedPage) -> None:
    opened.page.wait_for_function("document.querySelectorAll('figure[data-drawn]').length === 5")
    boxes = [
        figure.bounding_box()
        for figure in opened.page.query_selector_all("figure.plot svg.main-svg")
    ]
    assert all(box and box["width"] > 500 and box["height"] > 100 for box in boxes)
    findings, path, *_ = opened.page.locator("figure.plot").all_inner_texts()
    assert "Throughput, latency and cost" in findings
    assert "The path of one ping" in path
    assert "Emulated host" in path
    assert opened.problems == []


def test_code_is_folded_until_it_is_asked_for(opened: OpenedPage) -> None:
    code = opened.page.locator("details.code pre").first
    assert not code.is_visible()
    opened.page.click("#code-toggle")
    assert code.is_visible()


def test_the_contents_lead_to_the_sections(opened: OpenedPage) -> None:
    links = opened.page.locator("nav.contents a")
    assert links.all_inner_texts() == [
        "Findings",
        "00-first",
        "What was seen",
        "01-second",
        "What was seen",
    ]
    targets = [str(link.get_attribute("href")) for link in links.all()]
    assert len(set(targets)) == 5
    assert all(opened.page.query_selector(f"[id='{target[1:]}']") for target in targets)


def test_a_narrow_window_begins_with_the_findings_too(browser: Browser, report: Path) -> None:
    with browser.new_page(viewport={"width": 900, "height": 900}) as page:
        page.goto(report.as_uri())
        heading = page.locator("header.run h1").bounding_box()
        assert heading is not None
        assert heading["y"] < 250
        assert not page.get_by_role("link", name="What was seen").first.is_visible()
        page.locator("nav.contents summary").first.click(position={"x": 3, "y": 8})
        assert page.get_by_role("link", name="What was seen").first.is_visible()


def test_parameters_show_the_values_that_were_used(opened: OpenedPage) -> None:
    rows = opened.page.locator("header.run tbody tr").all_text_contents()
    assert "00-firstTRIALS5how often" in rows
    assert '00-firstHOST"embedded"host to work on' in rows


def test_the_head_lists_the_notebooks_and_leads_there(opened: OpenedPage) -> None:
    rows = opened.page.locator("table.notebooks tbody tr")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        ["00 First", "complete", "13 s"],
        ["01 Second", "failed", "1 min 40 s"],
        ["02 Third", "not reached", ""],
    ]
    targets = [link.get_attribute("href") or "" for link in rows.locator("a").all()]
    titles = [opened.page.inner_text(f"[id='{target[1:]}'] h1") for target in targets]
    assert titles == ["00-first", "01-second"]


def test_the_findings_come_first_and_every_claim_leads_to_its_cell(opened: OpenedPage) -> None:
    order = opened.page.locator("header.run > h2").all_inner_texts()
    assert order == ["All schemes side by side", "Claims of the article", "Host", "Notebooks"]
    rows = opened.page.locator("table.claims tbody tr")
    cells = [row.split("\t") for row in rows.all_inner_texts()]
    assert [row[0].split("\n")[0] for row in cells] == 2 * ["TCP is faster & <b>better</b>."]
    assert [row[1] for row in cells] == 2 * ["confirmed"]
    assert [row[-1] for row in cells] == ["00-first", "01-second"]
    targets = [str(link.get_attribute("href"))[1:] for link in rows.locator("a").all()]
    shown = [opened.page.inner_text(f"[id='{target}'] .markdown-output") for target in targets]
    assert all("TCP is faster" in text for text in shown)
    back = opened.page.locator("p.back a")
    assert [link.get_attribute("href") for link in back.all()] == 2 * ["#findings"]


def test_the_warning_stands_once_in_full_and_short_on_figures(opened: OpenedPage) -> None:
    assert opened.page.inner_text("p.emulated") == builders.EMULATED
    figures_text = " ".join(opened.page.locator("figure.plot").all_inner_texts())
    assert builders.EMULATED not in figures_text
    assert figures_text.count("Emulated host, wall time") == 5


def test_a_dark_page_keeps_its_figures_readable(browser: Browser, report: Path) -> None:
    with browser.new_context(offline=True, color_scheme="dark") as context:
        dark = context.new_page()
        dark.goto(report.as_uri())
        colour = "e => getComputedStyle(e).backgroundColor"
        assert dark.eval_on_selector("body", colour) == "rgb(20, 25, 30)"
        style = "e => getComputedStyle(e).filter"
        assert "invert" in dark.eval_on_selector("figure.plot .plot-area", style)
        # Inverted, dark text on light paper is light text on dark paper.
        text = "e => getComputedStyle(e).color"
        assert dark.eval_on_selector(".highlight pre", text) == "rgb(31, 41, 51)"
        assert dark.eval_on_selector(".highlight pre", colour) == "rgb(246, 247, 249)"


def test_nothing_is_fetched_and_no_widget_is_left(report: Path) -> None:
    text = report.read_text()
    outside_plotly = text.replace(get_plotlyjs(), "")
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?https?:", outside_plotly)
    assert "widget-state" not in outside_plotly
    assert "VBox" not in outside_plotly
    assert text.count("plotly.js v") == get_plotlyjs().count("plotly.js v")
    ids = re.findall(r'<section class="cell \w+" id="([^"]+)"', outside_plotly)
    assert len(ids) == len(set(ids)) == 16


def test_nbconvert_knows_the_exporter_for_one_notebook(tmp_path: Path) -> None:
    body, _ = html.ReportExporter().from_notebook_node(notebook("Alone"))
    assert "Alone" in body
    assert "how often" in body


def test_text_of_a_figure_cannot_break_out_of_its_script() -> None:
    from dataclasses import replace

    bad = replace(builders.virtio(), label="</script><script>alert(1)</script>")
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("f")])
    node.cells[0].outputs = [plot(figures.compare(bad, metric="tcp_up_mbps"))]
    body, _ = html.ReportExporter().from_notebook_node(node)
    assert "<script>alert" not in body
