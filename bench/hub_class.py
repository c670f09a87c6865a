"""A class in JupyterHub: several users run a notebook at once, each in a browser of their own.

    python -m bench hub_class --hub http://127.0.0.1:8000 --users anna ben chen --password WORD
    python -m bench hub_class … --notebook 02-vhost-net-and-macvtap.ipynb --board-token TOKEN

Needs a JupyterHub (docs/recipes/jupyterhub_config.py) whose users have that password. Says how long
each user waited from Run All to the last cell, and the memory of all of a user's processes by PSS.
With a token everybody then does a task of the notebook at once: by the buttons of its card, and by
hand in the terminal on the host that stands beside the notebook. The board behind the Hub
(docs/trainer.md) has to show it for each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from bench._harness import Bench
from kvmlab.course import Task, tasks_of
from tests.chromium import chromium
from tests.notebooks.course_page import Card, HostShell
from tests.notebooks.jupyterlab import errors_in, executed_now, run_all_cells

if TYPE_CHECKING:
    from playwright.sync_api import Page

_START_SEC: Final = 180
_RUN_SEC: Final = 1800
_TASK_SEC: Final = 300
#: Before and after the lines of a solution: a button, and a part of what the card then says.
_BEFORE: Final = (("Start", "Started."), ("Check", "Not yet:"), ("Hint", "Hint"))
_AFTER: Final = (("Check", "Passed."), ("Reset", "as it was before"))


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
        browser = stack.enter_context(chromium())
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
                node = executed_now(page, _path(user, chosen.notebook))
                if node is not None:
                    bench.add("from Run All to the last cell", time.monotonic() - begin)
                    bench.add("memory of a user", _pss_mib(user), "MiB")
                    bench.add("cells that failed", len(errors_in(node)), "cells")
                    del waiting[user]
                page.wait_for_timeout(1000)
        bench.notes["users who did not come to the end"] = ", ".join(waiting) or "none"
        if chosen.board_token and not waiting:
            # One that asks for an answer is not passed by the lines of its solution alone.
            task = next(one for one in tasks_of(chosen.notebook[:2]) if not one.has_answer)
            _do_task(bench, list(pages.values()), task)
            page = stack.enter_context(browser.new_context()).new_page()
            with bench.timed("until the board behind the Hub shows everybody's task"):
                page.goto(f"{chosen.hub}/services/board/?token={chosen.board_token}")
                for user in chosen.users:
                    row = page.locator("tbody tr").filter(has=page.get_by_text(user, exact=True))
                    row.get_by_text(f"{task.id} ✓").wait_for(timeout=_TASK_SEC * 1000)
    bench.finish()


def _do_task(bench: Bench, pages: Sequence[Page], task: Task) -> None:
    """Have everybody do a task: press at once, and type its solution into their terminals."""
    with bench.timed("until everybody has a terminal on the host"):
        shells = [HostShell(page) for page in pages]
    cards = [Card(page, task.id) for page in pages]

    def press(name: str, shown: str) -> None:
        with bench.timed(f"task {task.id}, {name}: until everybody's card says {shown!r}"):
            for card in cards:
                card.click(name)
            for card in cards:
                card.wait_for(shown, timeout_sec=_TASK_SEC)

    for name, shown in _BEFORE:
        press(name, shown)
    with bench.timed(f"task {task.id}: until everybody has typed it"):
        for shell in shells:
            shell.type(*task.solution)
    for name, shown in _AFTER:
        press(name, shown)


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
