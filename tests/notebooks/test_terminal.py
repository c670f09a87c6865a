"""The button and the tile that open a terminal in JupyterLab, without a host behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notebooks.course_page import BUTTON, Terminals
from tests.notebooks.jupyterlab import (
    NOTEBOOK,
    executed,
    jupyterlab,
    notebook_of,
    offline_page,
    open_jupyterlab,
    run_all_cells,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CELLS = {"terminal": 'from kvmlab.widgets import HostTerminal\nHostTerminal(("echo", "the-host"))'}


@pytest.mark.timeout(400)
def test_the_button_and_the_tile_open_a_terminal_beside_the_notebook(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    with (
        jupyterlab(work, home, notebook_of(CELLS)) as (address, log),
        offline_page(browser, width=1500, height=900) as page,
    ):
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        terminals = Terminals(page)
        open_jupyterlab(page, address)
        run_all_cells(page)
        executed(page, work / NOTEBOOK)
        page.get_by_role("button", name=BUTTON).click()
        terminals.wait_for(page, "echo the-host")
        # The notebook is still in view, at its left.
        notebook = page.locator(".jp-Notebook").bounding_box()
        terminal = page.locator(".jp-Terminal").bounding_box()
        assert notebook is not None
        assert terminal is not None
        assert notebook["x"] + notebook["width"] <= terminal["x"] + 1
        the_tile_opens_another(page)
        terminals.wait_for(page, "kvmlab host ssh")
        assert errors == []
        assert "WARNING" not in log.read_text()


def the_tile_opens_another(page: Page) -> None:
    page.keyboard.press("Control+Shift+L")
    tile = page.locator(".jp-LauncherCard").filter(has_text="Terminal on the host")
    tile.click(timeout=30_000)
    page.wait_for_function("document.querySelectorAll('.jp-Terminal').length === 2", timeout=30_000)


def test_without_a_browser_the_command_is_shown() -> None:
    from kvmlab.widgets import HostTerminal

    terminal = HostTerminal(("kvmlab", "host", "ssh", "--run-dir", "/run/a b"))
    bundle = terminal._repr_mimebundle_()
    assert bundle["text/plain"] == "A shell on the host: kvmlab host ssh --run-dir '/run/a b'"
