"""The report is complete in itself: opened in a browser without a network, it shows everything."""

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
from tests.report import made

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def notebook(title: str) -> nbformat.NotebookNode:
    """A notebook as papermill leaves it behind: parameters, figures, a widget."""
    new_code, new_text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    parameters = new_code('HOST: str = "embedded"  # host to work on\nTRIALS: int = 3  # how often')
    parameters.metadata.tags = ["parameters"]
    injected = new_code("# Parameters\nTRIALS = 5\n")
    injected.metadata.tags = ["injected-parameters"]
    figure, costs = new_code("figures.path(result)"), new_code("figures.costs(result)")
    figure.outputs = [plot(figures.path(made.virtio()))]
    costs.outputs = [plot(figures.costs(made.e1000(), made.virtio()))]
    said = new_code("seen")
    seen = sentences.seen(compare(made.e1000(), made.virtio(), "tcp_up_mbps"))
    said.outputs = [output({"text/markdown": str(seen)})]
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
        said,
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
        warning=made.EMULATED,
        csv="a,b\n1,2\n",
        stops=(
            page.Stop("00-first", "First", "complete", 12.6),
            page.Stop("01-second", "Second", "failed", 100.2),
            page.Stop("02-third", "Third", "waiting", 0.0),
        ),
        medians=(page.Medians("First", "<table></table>"),),
    )
    return html.write(paths, folder / "report.html", head)


@dataclass
class Opened:
    """A page in a browser without a network, and what went wrong on it."""

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
def opened(browser: Browser, report: Path) -> Iterator[Opened]:
    """The report, opened once: reading five megabytes of plotly takes a browser seconds."""
    with browser.new_context(offline=True, viewport={"width": 1280, "height": 900}) as context:
        opened = Opened(context.new_page())
        opened.watch()
        opened.page.goto(report.as_uri())
        yield opened


def test_every_figure_is_drawn_without_a_network(opened: Opened) -> None:
    opened.page.wait_for_function("document.querySelectorAll('figure[data-drawn]').length === 4")
    boxes = [
        figure.bounding_box()
        for figure in opened.page.query_selector_all("figure.plot svg.main-svg")
    ]
    assert all(box and box["width"] > 500 and box["height"] > 100 for box in boxes)
    words = opened.page.inner_text("figure.plot >> nth=0")
    assert "The way of one ping" in words
    assert "Embedded host" in words
    assert opened.problems == []


def test_code_is_folded_until_it_is_asked_for(opened: Opened) -> None:
    code = opened.page.locator("details.code pre").first
    assert not code.is_visible()
    opened.page.click("#code-toggle")
    assert code.is_visible()


def test_the_contents_lead_to_the_sections(opened: Opened) -> None:
    links = opened.page.locator("nav.contents a")
    assert links.all_inner_texts() == ["00-first", "What was seen", "01-second", "What was seen"]
    targets = [str(link.get_attribute("href")) for link in links.all()]
    assert len(set(targets)) == 4
    assert all(opened.page.query_selector(f"[id='{target[1:]}']") for target in targets)


def test_parameters_show_the_values_that_were_used(opened: Opened) -> None:
    rows = opened.page.locator("header.run tbody tr").all_text_contents()
    assert "00-firstTRIALS5how often" in rows
    assert '00-firstHOST"embedded"host to work on' in rows


def test_the_head_tells_how_far_the_run_came_and_leads_there(opened: Opened) -> None:
    rows = opened.page.locator("table.stops tbody tr")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        ["00 First", "complete", "13 s"],
        ["01 Second", "failed", "1 min 40 s"],
        ["02 Third", "not reached", ""],
    ]
    targets = [link.get_attribute("href") or "" for link in rows.locator("a").all()]
    titles = [opened.page.inner_text(f"[id='{target[1:]}'] h1") for target in targets]
    assert titles == ["00-first", "01-second"]


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

    bad = replace(made.virtio(), label="</script><script>alert(1)</script>")
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("f")])
    node.cells[0].outputs = [plot(figures.compare(bad, metric="tcp_up_mbps"))]
    body, _ = html.ReportExporter().from_notebook_node(node)
    assert "<script>alert" not in body
