"""JupyterLab in Chromium, as a person has it: opened, its menu used, its cells looked at."""

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
from typing import TYPE_CHECKING, Final

import nbformat
from nbformat import NotebookNode
from nbformat.reader import NotJSONError

from kvmlab.deadline import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

#: The notebook that `jupyterlab` writes and opens.
NOTEBOOK: Final = "notebook.ipynb"
ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\S+token=\w+")
KERNEL: Final = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
_IDLE: Final = ".jp-Notebook-ExecutionIndicator[data-status=idle]"


def notebook_of(cells: Mapping[str, str]) -> NotebookNode:
    """Return a notebook of these cells of code, by their ids."""
    # Without a kernel's name JupyterLab asks for one.
    node = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    node.cells = [nbformat.v4.new_code_cell(text, id=name) for name, text in cells.items()]
    return node


@contextmanager
def jupyterlab(work: Path, home: Path, notebook: NotebookNode) -> Iterator[tuple[str, Path]]:
    """Start JupyterLab as `./lab` does, without settings, on a notebook; yield its address and log.

    The notebook is `NOTEBOOK` in ``work``.
    """
    nbformat.write(notebook, work / NOTEBOOK)
    places = {"JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data"}
    env = {**os.environ, **{name: str(path) for name, path in places.items()}}
    command = [sys.executable, "-m", "kvmlab", "lab", str(work / NOTEBOOK), "--no-browser"]
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


def menu(page: Page, entry: str) -> None:
    """Use the menu Run once the kernel is at rest: JupyterLab drops what is run sooner."""
    page.wait_for_selector(_IDLE, timeout=240_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()


def run_all_cells(page: Page) -> None:
    """Run all cells by the menu."""
    menu(page, "Run All Cells")


def saved(page: Page, path: Path) -> NotebookNode:
    """Save and read the notebook: JupyterLab renders only cells that are in view."""
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")

    def written() -> NotebookNode | None:
        if path.stat().st_mtime_ns == before:
            return None
        try:
            return nbformat.read(path, as_version=4)
        except NotJSONError:  # Jupyter Server empties the file before it writes the new text
            return None

    return until(written, timeout_sec=30, what="The saved notebook")


def executed(
    page: Page, path: Path, *, timeout_sec: float = 240, every_sec: float = 2
) -> NotebookNode:
    """Wait until every cell has run; return the notebook."""
    return until(
        lambda: executed_now(page, path),
        timeout_sec=timeout_sec,
        every_sec=every_sec,
        what="The run of all cells",
    )


def executed_now(page: Page, path: Path) -> NotebookNode | None:
    """Return the notebook where every cell has run; None while some have not."""
    if not page.locator(_IDLE).count():
        return None
    node = saved(page, path)
    codes = [cell for cell in node.cells if cell.cell_type == "code"]
    return node if all(cell.execution_count for cell in codes) else None


def outputs(node: NotebookNode) -> list[NotebookNode]:
    """Return the outputs of all cells."""
    return [out for cell in node.cells if cell.cell_type == "code" for out in cell.outputs]


def errors_in(node: NotebookNode) -> list[str]:
    """Return the errors with which cells have ended."""
    return [out.evalue for out in outputs(node) if out.output_type == "error"]


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


def is_outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))
