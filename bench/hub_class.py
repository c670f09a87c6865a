"""A class in JupyterHub: several users run a notebook at once, each in a browser of their own.

    python -m bench hub_class --hub http://127.0.0.1:8000 --users anna ben chen --password WORD
    python -m bench hub_class … --notebook 02-vhost-net-and-macvtap.ipynb --board-token TOKEN

Needs a JupyterHub (docs/recipes/jupyterhub_config.py) whose users have that password. Says how long
each user waited from Run All to the last cell, and the memory of all of a user's processes by PSS.
With a token everybody then takes a task of the notebook at once, by its buttons, and the
board behind the Hub (docs/trainer.md) has to show it for each.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from playwright.sync_api import sync_playwright

from bench._harness import Bench
from bench._jupyterlab_page import failed_cells
from kvmlab.course import tasks_of
from tests.conftest import BROWSERS
from tests.notebooks.test_browser import cell, run_all_cells

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_START_SEC: Final = 180
_RUN_SEC: Final = 1800
_TASK_SEC: Final = 300
#: Buttons of a task, and a part of what its card then says.
_TASK: Final = (
    ("Start", "Started."),
    ("Check", "Not yet:"),
    ("Hint", "Hint"),
    ("Solve", "The solution"),
    ("Check", "Passed."),
    ("Reset", "as it was before"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Log in everybody, then run all cells everywhere, then wait for all."""
    parser = argparse.ArgumentParser(prog="python -m bench hub_class", description=__doc__)
    parser.add_argument("--hub", default="http://127.0.0.1:8000")
    parser.add_argument("--users", nargs="+", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--notebook", default="00-packet-path.ipynb")
    parser.add_argument("--board-token", default="", help="of the Hub's service board")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    bench = Bench("hub_class", "users of a JupyterHub who run a notebook at once")
    bench.notes["users"] = str(len(chosen.users))
    bench.notes["notebook"] = chosen.notebook
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        own = next((path for path in map(shutil.which, BROWSERS) if path), None)
        browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
        stack.callback(browser.close)
        pages = {}
        for user in chosen.users:
            page = stack.enter_context(browser.new_context()).new_page()
            pages[user] = page
            with bench.timed("from login to a server"):
                _log_in(page, chosen.hub, user, chosen.password, chosen.notebook)
        begin = time.monotonic()
        for page in pages.values():
            run_all_cells(page)
        waiting = dict(pages)
        while waiting and time.monotonic() - begin < _RUN_SEC:
            for user, page in list(waiting.items()):
                failed = failed_cells(page, _path(user, chosen.notebook))
                if failed is not None:
                    bench.add("from Run All to the last cell", time.monotonic() - begin)
                    bench.add("memory of a user", _pss_mib(user), "MiB")
                    bench.add("cells that failed", failed, "cells")
                    del waiting[user]
                page.wait_for_timeout(1000)
        bench.notes["users who did not come to the end"] = ", ".join(waiting) or "none"
        if chosen.board_token and not waiting:
            # One that asks for an answer is not passed by its solution alone.
            tasks = tasks_of(chosen.notebook[:2])
            task = next(one.id for one in tasks if not one.has_answer)
            for pressed, shown in _TASK:
                with bench.timed(f"task {task}, {pressed}: until everybody's card says so"):
                    for page in pages.values():
                        _card(page, task).get_by_role("button", name=pressed, exact=True).click()
                    for page in pages.values():
                        words = _card(page, task).locator(".widget-html-content").last
                        words.get_by_text(shown).wait_for(timeout=_TASK_SEC * 1000)
            page = stack.enter_context(browser.new_context()).new_page()
            with bench.timed("until the board behind the Hub shows everybody's task"):
                page.goto(f"{chosen.hub}/services/board/?token={chosen.board_token}")
                for user in chosen.users:
                    row = page.locator("tbody tr").filter(has=page.get_by_text(user, exact=True))
                    row.get_by_text(f"{task} ○").wait_for(timeout=_TASK_SEC * 1000)
    bench.finish()


def _card(page: Page, task: str) -> Locator:
    """Return the opened card of a task."""
    tasks = cell(page, "lab.tasks(")
    card = tasks.locator(".jupyter-widget-Collapse").filter(has_text=task)
    if not card.get_by_role("button", name="Start", exact=True).count():
        tasks.locator(".jupyter-widget-Collapse-header").filter(has_text=task).click()
        card.get_by_role("button", name="Start", exact=True).wait_for(timeout=30_000)
    return card


def _log_in(page: Page, hub: str, user: str, password: str, notebook: str) -> None:
    page.goto(f"{hub}/hub/login?next=/hub/user-redirect/lab/tree/{notebook}")
    page.locator("#username_input").fill(user)
    page.locator("#password_input").fill(password)
    with page.expect_websocket(lambda socket: "/channels" in socket.url, timeout=_START_SEC * 1000):
        page.locator("#login_submit").click()


def _path(user: str, notebook: str) -> Path:
    """Return the working copy of a user."""
    return Path(f"~{user}/.local/share/kvmlab/notebooks/en").expanduser() / notebook


def _pss_mib(user: str) -> float:
    total = 0
    for process in psutil.process_iter():
        try:
            if process.username() == user:
                total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20
