"""The button and the tile that open a terminal in JupyterLab, without a host behind them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kvmlab.deadline import until
from tests.notebooks.test_browser import (
    executed,
    jupyterlab,
    offline_page,
    open_jupyterlab,
    run_all_cells,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocket

CELLS = {"terminal": 'from kvmlab.widgets import HostTerminal\nHostTerminal(("echo", "the-host"))'}


class Terminals:
    """Collects what the terminals of a page print; xterm draws it on a canvas."""

    def __init__(self, page: Page) -> None:
        self.printed: list[str] = []
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        if "/terminals/" in socket.url:
            socket.on("framereceived", lambda frame: self.printed.append(str(frame)))

    def wait_for(self, page: Page, text: str) -> None:
        """Wait until a terminal has printed ``text``."""

        def seen() -> bool:
            page.wait_for_timeout(100)
            return text in self.text

        until(
            seen,
            timeout_sec=60,
            every_sec=0.1,
            what=f"{text!r} in a terminal",
            evidence=lambda: self.text[-2000:],
        )

    @property
    def text(self) -> str:
        """All that was printed; a line can come in several frames."""
        frames = [json.loads(frame) for frame in self.printed]
        return "".join(words for kind, words, *_ in frames if kind == "stdout")


@pytest.mark.timeout(400)
def test_the_button_and_the_tile_open_a_terminal_beside_the_notebook(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    with (
        jupyterlab(work, home, cells=CELLS) as (address, log),
        offline_page(browser, width=1500, height=900) as page,
    ):
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        terminals = Terminals(page)
        open_jupyterlab(page, address)
        run_all_cells(page)
        executed(page, work / "terminal.ipynb")
        page.get_by_role("button", name="Open a terminal on the host").click()
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
