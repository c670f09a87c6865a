"""A terminal on the host beside the notebook, as a person opens it in JupyterLab."""

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
    from playwright.sync_api import Browser

pytestmark = pytest.mark.host

CELLS = {
    "imports": "import kvmlab",
    "open-lab": 'lab = kvmlab.open_lab("embedded")',
    "vm": "lab.vm.name",
    "terminal": "lab.terminal()",
}


@pytest.mark.timeout(400)
def test_the_button_opens_a_shell_on_the_host(
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
        terminals.wait_for(page, "root@")
        terminals.wait_for(page, "kvmlab host ssh --run-dir")
        page.locator(".jp-Terminal").click()
        page.keyboard.type("virsh list --name | sed s/^/the-vm-is-/")
        page.keyboard.press("Enter")
        terminals.wait_for(page, "the-vm-is-kvmlab-vm")
        page.screenshot(path=str(home / "terminal.png"))
        assert errors == []
        assert "WARNING" not in log.read_text()
