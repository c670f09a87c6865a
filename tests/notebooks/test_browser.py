"""A newcomer's afternoon: `kvmlab lab` opens JupyterLab in Chromium, every cell is run by hand.

One JupyterLab and one embedded host serve all of it, in the order a person would go: open, look
for questions, run all cells, use the panel below.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat.reader import NotJSONError

from kvmlab.deadline import until
from kvmlab.runbook.notebooks import notebook_folder

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
def jupyterlab(
    work: Path,
    home: Path,
    *,
    cells: Mapping[str, str] | None = None,
    whole: nbformat.NotebookNode | None = None,
) -> Iterator[tuple[str, Path]]:
    """Start JupyterLab as `./lab` does, on a copy, without settings; yield its address and log.

    With ``cells`` (name -> code) it opens `terminal.ipynb` of these in place of the copy, with a
    ``whole`` notebook `whole.ipynb` of that.
    """
    book = nbformat.read(notebook_folder() / NOTEBOOK, as_version=4)
    more = MORE if cells is None else cells
    added = [nbformat.v4.new_code_cell(text, id=name) for name, text in more.items()]
    book.cells = [*(book.cells if cells is None else []), *added]
    name = NOTEBOOK if cells is None else "terminal.ipynb"
    if whole is not None:
        book, name = whole, "whole.ipynb"
    nbformat.write(book, work / name)
    places = {"JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data"}
    env = {**os.environ, **{name: str(path) for name, path in places.items()}}
    command = [sys.executable, "-m", "kvmlab", "lab", str(work / name), "--no-browser"]
    log = home / "log"
    with (
        log.open("w") as out,
        # pytest's own folders can be too long for the path of a kernel's socket.
        tempfile.TemporaryDirectory(prefix="kvmlab-", ignore_cleanup_errors=True) as runtime,
        subprocess.Popen(
            command,
            cwd=work,
            env={**env, "JUPYTER_RUNTIME_DIR": runtime},
            stdout=out,
            stderr=out,
        ) as process,
    ):
        try:
            address = until(
                lambda: ADDRESS.search(log.read_text()), timeout_sec=60, what="JupyterLab's address"
            )
            yield address[0], log
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def offline_page(browser: Browser, *, width: int = 1300, height: int = 1000) -> Iterator[Page]:
    """Yield a page of that size in pixels; nothing it asks for may lie outside of this machine."""
    outside: list[str] = []
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.on("request", lambda r: outside.append(r.url) if is_outside(r.url) else None)
        yield page
    assert outside == []


def open_jupyterlab(page: Page, address: str) -> None:
    """Open JupyterLab and wait until the notebook has asked for its kernel."""
    with page.expect_websocket(lambda socket: "/channels" in socket.url, timeout=90_000):
        page.goto(address)


def run_all_cells(page: Page) -> None:
    """Use the menu once the kernel is connected: JupyterLab drops what is run sooner."""
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def saved(page: Page, path: Path) -> nbformat.NotebookNode:
    """Save and read the notebook: JupyterLab renders only cells that are in view."""
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")

    def written() -> nbformat.NotebookNode | None:
        if path.stat().st_mtime_ns == before:
            return None
        try:
            return nbformat.read(path, as_version=4)
        except NotJSONError:  # Jupyter Server empties the file before it writes the new text
            return None

    return until(written, timeout_sec=30, what="The saved notebook")


def executed(page: Page, path: Path) -> nbformat.NotebookNode:
    """Wait until every cell has run; return the notebook."""

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
        offline_page(browser) as page,
    ):
        open_jupyterlab(page, address)
        run_all_cells(page)
        node = executed(page, work / NOTEBOOK)
        assert [out.get("evalue") for out in outputs(node) if out.output_type == "error"] == []
        figures = [out for out in outputs(node) if "application/vnd.plotly.v1+json" in str(out)]
        assert len(figures) == 5
        the_path_panel_works(page)
        the_trial_panel_works(page)
        the_adviser_works(page)
        assert page.locator(".jp-Dialog").count() == 0, "JupyterLab asked something"
        assert page.locator(".Toastify__toast").all_inner_texts() == []
        assert "WARNING" not in log.read_text()
        assert "websocket_ping" not in log.read_text()


def cell(page: Page, text: str) -> Locator:
    """Return the cell with that code, scrolled into view and at rest there.

    What is out of view JupyterLab may leave out of the page; what is in the page but out of view
    it does not draw, and such a cell has no text.
    """
    code_cell = page.locator(".jp-Notebook .jp-CodeCell").filter(has_text=text)
    page.locator(".jp-Notebook").hover()

    def in_the_page(step: int) -> bool:
        if code_cell.count() == 1:
            return True
        page.mouse.wheel(0, step)
        return False

    if not in_the_page(-100_000):
        until(lambda: in_the_page(300), timeout_sec=60, what=f"The cell {text}")
    until(lambda: at_rest(code_cell), timeout_sec=60, what=f"The cell {text} in view")
    return code_cell


def at_rest(code_cell: Locator) -> bool:
    """Scroll to a cell; tell whether it is in view and stays where it is.

    A turn of the wheel or a figure that is drawn above it moves it later on.
    """
    code_cell.scroll_into_view_if_needed()
    before = code_cell.bounding_box()
    code_cell.page.wait_for_timeout(300)
    view = code_cell.page.viewport_size
    now = code_cell.bounding_box()
    return (
        now is not None
        and view is not None
        and now == before
        and now["y"] < view["height"]
        and now["y"] + now["height"] > 0
    )


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


def is_outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))
