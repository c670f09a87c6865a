"""A newcomer's afternoon: `kvmlab lab` opens JupyterLab in Chromium, everything is run by hand.

One JupyterLab and one embedded host serve all of it, in the order a person would go: open, look
for questions, run all cells, use the panel below.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from kvmlab.runbook.notebooks import folder
from kvmlab.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.host

NOTEBOOK = "00-packet-path.ipynb"
# Panels of later notebooks, on the host that this one has opened.
MORE = {
    "trial-panel": 'trials = lab.panel(model="virtio-vhost", seconds=1)\ntrials',
    "advice-panel": "adviser = kvmlab.AdvicePanel(facts)\nadviser",
    "advice-last": "print(adviser.advice.best.scheme, len(trials.results))",
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\S+token=\w+")
RUN_SEC = 240


@contextmanager
def jupyterlab(work: Path, home: Path) -> Iterator[tuple[str, Path]]:
    """JupyterLab as `./lab` starts it, on a copy and with nobody's settings: address and log."""
    book = nbformat.read(folder() / NOTEBOOK, as_version=4)
    book.cells += [nbformat.v4.new_code_cell(text, id=name) for name, text in MORE.items()]
    nbformat.write(book, work / NOTEBOOK)
    places = {"JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data"}
    env = {**os.environ, **{name: str(path) for name, path in places.items()}}
    command = [sys.executable, "-m", "kvmlab", "lab", str(work / NOTEBOOK), "--no-browser"]
    log = home / "log"
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=work, env=env, stdout=out, stderr=out) as process,
    ):
        try:
            found = until(
                lambda: ADDRESS.search(log.read_text()), timeout_sec=60, what="JupyterLab's address"
            )
            yield found[0], log
        finally:
            process.send_signal(signal.SIGTERM)


def run_all_cells(page: Page) -> None:
    """By the menu, when the kernel is connected: what is run sooner JupyterLab forgets."""
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def saved(page: Page, path: Path) -> nbformat.NotebookNode:
    """The notebook as it stands on the page: JupyterLab shows only cells that are in view."""
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    until(lambda: path.stat().st_mtime_ns != before, timeout_sec=30, what="The saved notebook")
    return nbformat.read(path, as_version=4)


def executed(page: Page, path: Path) -> nbformat.NotebookNode:
    """The notebook once every cell of it has run."""

    def when_done() -> nbformat.NotebookNode | None:
        if page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").count() == 0:
            return None
        node = saved(page, path)
        cells = [cell for cell in node.cells if cell.cell_type == "code"]
        return node if all(cell.execution_count for cell in cells) else None

    return until(when_done, timeout_sec=RUN_SEC, every_sec=2, what="The run of all cells")


def outputs(node: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [out for cell in node.cells if cell.cell_type == "code" for out in cell.outputs]


@pytest.mark.timeout(600)
def test_a_newcomer_runs_the_first_notebook(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    with (
        jupyterlab(work, home) as (address, log),
        browser.new_context(viewport={"width": 1300, "height": 1000}) as context,
    ):
        page = context.new_page()
        outside: list[str] = []
        page.on("request", lambda r: outside.append(r.url) if is_outside(r.url) else None)
        with page.expect_websocket(lambda socket: "/channels" in socket.url, timeout=90_000):
            page.goto(address)
        run_all_cells(page)
        node = executed(page, work / NOTEBOOK)
        assert [out.get("evalue") for out in outputs(node) if out.output_type == "error"] == []
        figures = [out for out in outputs(node) if "application/vnd.plotly.v1+json" in str(out)]
        assert len(figures) == 3
        the_path_panel_works(page)
        the_trial_panel_works(page)
        the_adviser_works(page)
        assert page.locator(".jp-Dialog").count() == 0, "JupyterLab asked something"
        assert page.locator(".Toastify__toast").all_inner_texts() == []
        assert outside == []
        assert "WARNING" not in log.read_text()
        assert "websocket_ping" not in log.read_text()


def cell(page: Page, text: str) -> Locator:
    """The cell with that code, brought into view: JupyterLab keeps no others on the page."""
    found = page.locator(".jp-Notebook .jp-CodeCell").filter(has_text=text)
    page.locator(".jp-Notebook").hover()

    def in_view(step: int) -> bool:
        page.mouse.wheel(0, step)
        return found.count() == 1

    page.mouse.wheel(0, -100_000)
    until(lambda: in_view(300), timeout_sec=60, every_sec=0.1, what=f"The cell {text}")
    found.scroll_into_view_if_needed()
    return found


def the_path_panel_works(page: Page) -> None:
    """Another card is chosen, the button pressed twice: one run, told as it goes, then drawn."""
    panel = cell(page, "lab.path_panel")
    button = panel.get_by_role("button", name="Run it")
    button.scroll_into_view_if_needed()
    drawn = panel.locator(".jupyter-widgets .js-plotly-plot")
    assert drawn.count() == 0
    chosen(panel, "card", "e1000")
    button.dblclick()
    until(button.is_disabled, timeout_sec=10, what="The button's rest")
    until(lambda: "following one packet" in said(panel), timeout_sec=60, what="What it does now")
    drawn.locator("svg.main-svg").first.wait_for(timeout=120_000)
    assert "The way of one ping: e1000, fully emulated" in drawn.inner_text()
    page.wait_for_timeout(1500)  # in which the second click would have begun another run
    assert button.is_enabled()
    assert said(panel) == ""
    assert drawn.count() == 1


def the_trial_panel_works(page: Page) -> None:
    """A VF, handed over bare and trusted: its knobs come with the card, its trial is told live."""
    panel = cell(page, "lab.panel")
    button = panel.get_by_role("button", name="Run it")
    chosen(panel, "card", "sriov-vf")
    chosen(panel, "how", "hostdev")
    chosen(panel, "trust", "yes")
    wanted = "SR-IOV VF, bare hostdev, trust on"
    until(lambda: wanted in said(panel), timeout_sec=30, what="What would be run")
    panel.get_by_label("max tx rate").fill("none")
    panel.get_by_label("max tx rate").press("Tab")
    until(lambda: "'none' is no value" in said(panel), timeout_sec=30, what="What is wrong")
    panel.get_by_label("max tx rate").fill("500")
    panel.get_by_label("max tx rate").press("Tab")
    until(
        lambda: "at most 500 Mbit/s" in said(panel), timeout_sec=30, what="What would be run then"
    )
    button.click()
    seen: list[str] = []

    def told() -> bool:
        seen.append(said(panel))
        return any("latency, trial 1" in words for words in seen)

    until(told, timeout_sec=120, every_sec=0.2, what="The trial's progress")
    assert any("tcp_up, trial 1" in words for words in seen), seen
    drawn = panel.locator(".jupyter-widgets .js-plotly-plot")
    drawn.locator("svg.main-svg").first.wait_for(timeout=120_000)
    # Labels are broken into lines.
    rows = "".join(drawn.inner_text().split())
    assert "".join(wanted.split()) in rows
    assert "virtio,vhost" in rows


def the_adviser_works(page: Page) -> None:
    """Its advice follows its controls, and what it says last is what the notebook has."""
    panel = cell(page, "adviser = kvmlab")
    chosen(panel, "load", "latency")
    panel.get_by_label("must migrate").check()
    words = panel.locator(".jupyter-widgets .widget-html-content").last
    until(
        lambda: "VF and virtio standby, teamed" in words.inner_text(), timeout_sec=60, what="Advice"
    )
    last = cell(page, "print(adviser")
    last.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    until(lambda: "vf-teaming 2" in last.inner_text(), timeout_sec=60, what="The panels' results")


def chosen(panel: Locator, label: str, value: str) -> None:
    panel.get_by_label(label, exact=True).select_option(value)


def said(panel: Locator) -> str:
    lines: Locator = panel.locator(".jupyter-widgets .widget-html-content")
    return " ".join(lines.all_inner_texts()).strip()


def is_outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))
