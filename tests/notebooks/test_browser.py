"""A newcomer's afternoon: `kvmlab lab` opens JupyterLab in Chromium, every cell is run by hand.

One JupyterLab and one embedded host serve all of it, in the order a person would go: open, look
for questions, run all cells, use the panel below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
import pytest

from kvmlab.deadline import until
from kvmlab.runbook.notebooks import notebook_folder
from tests.notebooks.jupyterlab import (
    NOTEBOOK,
    cell,
    errors_in,
    executed,
    jupyterlab,
    notebook_of,
    offline_page,
    open_jupyterlab,
    outputs,
    run_all_cells,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.host

# Panels of later notebooks, on the host that this one has opened.
MORE = {
    "trial-panel": 'trials = lab.panel(model="virtio-vhost", seconds=1)\ntrials',
    "advice-panel": "adviser = kvmlab.AdvicePanel(facts)\nadviser",
    "advice-last": "print(adviser.advice.best.scheme, len(trials.results))",
}


@pytest.mark.timeout(600)
def test_a_newcomer_runs_the_first_notebook(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    notebook = nbformat.read(notebook_folder() / "00-packet-path.ipynb", as_version=4)
    notebook.cells += notebook_of(MORE).cells
    with (
        jupyterlab(work, home, notebook) as (address, log),
        offline_page(browser) as page,
    ):
        open_jupyterlab(page, address)
        run_all_cells(page)
        node = executed(page, work / NOTEBOOK)
        assert errors_in(node) == []
        figures = [out for out in outputs(node) if "application/vnd.plotly.v1+json" in str(out)]
        assert len(figures) == 5
        the_path_panel_works(page)
        the_trial_panel_works(page)
        the_adviser_works(page)
        assert page.locator(".jp-Dialog").count() == 0, "JupyterLab asked something"
        assert page.locator(".Toastify__toast").all_inner_texts() == []
        assert "WARNING" not in log.read_text()
        assert "websocket_ping" not in log.read_text()


def the_path_panel_works(page: Page) -> None:
    """Choose another NIC, press the button twice: one run, reported live, then drawn."""
    panel = cell(page, "lab.path_panel")
    button = panel.get_by_role("button", name="Run it")
    button.scroll_into_view_if_needed()
    drawn = panel.locator(".jupyter-widgets .js-plotly-plot")
    assert drawn.count() == 0
    chosen(panel, "scheme", "e1000")
    button.dblclick()
    until(button.is_disabled, timeout_sec=10, what="The button's rest")
    until(lambda: "following one packet" in status(panel), timeout_sec=60, what="What it does now")
    drawn.locator("svg.main-svg").first.wait_for(timeout=120_000)
    assert "The path of one ping: e1000, fully emulated" in drawn.inner_text()
    page.wait_for_timeout(1500)  # in which the second click would have begun another run
    assert button.is_enabled()
    assert status(panel) == ""
    assert drawn.count() == 1


def the_trial_panel_works(page: Page) -> None:
    """Choose a VF by plain hostdev, trusted: its options appear, its trial is reported live."""
    panel = cell(page, "lab.panel")
    button = panel.get_by_role("button", name="Run it")
    chosen(panel, "scheme", "sriov-vf")
    chosen(panel, "how", "hostdev")
    chosen(panel, "trust", "yes")
    scheme = "SR-IOV VF, bare hostdev, trust on"
    until(lambda: scheme in status(panel), timeout_sec=30, what="What would be run")
    panel.get_by_label("max tx rate").fill("none")
    panel.get_by_label("max tx rate").press("Tab")
    until(lambda: "'none' is no value" in status(panel), timeout_sec=30, what="What is wrong")
    panel.get_by_label("max tx rate").fill("500")
    panel.get_by_label("max tx rate").press("Tab")
    until(
        lambda: "at most 500 Mbit/s" in status(panel), timeout_sec=30, what="What would be run then"
    )
    button.click()
    messages: list[str] = []

    def measuring() -> bool:
        messages.append(status(panel))
        return any("latency, trial 1" in words for words in messages)

    until(measuring, timeout_sec=120, every_sec=0.2, what="The trial's progress")
    assert any("tcp_up, trial 1" in words for words in messages), messages
    drawn = panel.locator(".jupyter-widgets .js-plotly-plot")
    drawn.locator("svg.main-svg").first.wait_for(timeout=120_000)
    # Labels are broken into lines.
    rows = "".join(drawn.inner_text().split())
    assert "".join(scheme.split()) in rows
    assert "virtio,vhost" in rows


def the_adviser_works(page: Page) -> None:
    """Change the controls: the advice follows, and the notebook has the latest."""
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


def status(panel: Locator) -> str:
    lines: Locator = panel.locator(".jupyter-widgets .widget-html-content")
    return " ".join(lines.all_inner_texts()).strip()
