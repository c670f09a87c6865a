"""Three seats at once, each on a host of its own, and the board that shows what they do.

Anna is in JupyterLab, in Chromium; Ben and Chen are in terminals. What is asserted is what the
trainer sees on the board, in another browser window.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.classroom import Board, collect
from kvmlab.course import find_task
from kvmlab.deadline import until
from tests.classroom.builders import served
from tests.notebooks.course_page import Card, HostShell, tasks_cell
from tests.notebooks.jupyterlab import (
    NOTEBOOK,
    executed,
    jupyterlab,
    notebook_of,
    open_jupyterlab,
    run_all_cells,
)
from tests.notebooks.test_course_in_browser import do_task

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

CELLS = {
    "imports": "import kvmlab",
    "open-lab": 'lab = kvmlab.open_lab("embedded")',
    "tasks": 'lab.tasks("02")',
}


@dataclass(frozen=True)
class SeatInTerminal:
    """A seat with a state and a runtime directory of its own, as another user has them."""

    name: str
    state: Path
    runtime: Path

    def kvmlab(self, *words: str, code: int = 0) -> str:
        """Run a command of kvmlab at this seat, see how it ends, and return what it prints."""
        places = {"KVMLAB_STATE_HOME": str(self.state), "XDG_RUNTIME_DIR": str(self.runtime)}
        done = subprocess.run(
            [sys.executable, "-m", "kvmlab", *words],
            env={**os.environ, **places},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, f"{self.name}: {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, line: str) -> None:
        """Type a line in a shell on this seat's host."""
        self.kvmlab("host", "ssh", f"sh -c {shlex.quote(line)}")


@pytest.fixture
def seats(tmp_path: Path) -> Iterator[dict[str, SeatInTerminal]]:
    """Yield the three seats; the hosts that they have started end afterwards."""
    # pytest's own folders can be too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="kvmlab-class-", ignore_cleanup_errors=True) as short:
        by_name = {}
        for name in ("anna", "ben", "chen"):
            runtime = Path(short) / name
            runtime.mkdir(mode=0o700)
            by_name[name] = SeatInTerminal(name, tmp_path / name, runtime)
        try:
            yield by_name
        finally:
            for seat in by_name.values():
                seat.kvmlab("host", "down", "--all")


def ben_errs_and_asks_for_help(seat: SeatInTerminal, help_is_there: threading.Event) -> None:
    """Start, fail, ask for help, take a hint, mend, pass, put back."""
    task = find_task("02-2")
    seat.kvmlab("host", "up")
    assert task.text.en in seat.kvmlab("task", "start", task.id)
    assert "has no interface" in seat.kvmlab("task", "check", task.id, code=1)
    seat.kvmlab("class", "hand", task.id)
    assert help_is_there.wait(timeout=300)
    seat.kvmlab("class", "hand", "--over")
    assert "direct attachment" in seat.kvmlab("task", "hint", task.id)
    for line in task.solution:
        seat.shell(line)
    assert "Passed." in seat.kvmlab("task", "check", task.id)
    seat.kvmlab("task", "reset", task.id)


def chen_has_it_solved(seat: SeatInTerminal) -> None:
    """Start another task, look at its solution, and leave it."""
    seat.kvmlab("host", "up")
    seat.kvmlab("task", "start", "02-1")
    assert "The solution" in seat.kvmlab("task", "solve", "02-1")
    assert "Passed." in seat.kvmlab("task", "check", "02-1")
    seat.kvmlab("task", "reset", "02-1")


def test_three_seats_at_once_are_on_the_board(
    browser: Browser,
    seats: dict[str, SeatInTerminal],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    # This process and the JupyterLab below it are Anna's.
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(seats["anna"].state))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(seats["anna"].runtime))
    folder = tmp_path / "class"
    assert collect(folder, {name: seat.state for name, seat in seats.items()}) == ()
    help_is_there = threading.Event()
    with (
        ThreadPoolExecutor(2) as terminals,
        jupyterlab(work, home, notebook_of(CELLS)) as (address, _log),
        browser.new_context(viewport={"width": 1300, "height": 1000}) as context,
        served(Board(folder, following=True)) as board,
    ):
        ben = terminals.submit(ben_errs_and_asks_for_help, seats["ben"], help_is_there)
        chen = terminals.submit(chen_has_it_solved, seats["chen"])
        try:
            trainer = context.new_page()
            trainer.goto(board.url)
            page = context.new_page()
            open_jupyterlab(page, address)
            run_all_cells(page)
            executed(page, work / NOTEBOOK)
            the_board_shows(trainer, "ben", "wants help · 02-2", first=True)
        finally:
            help_is_there.set()
        page.bring_to_front()
        hand(page, "Ask for help", "Help is wanted")
        the_board_shows(trainer, "anna", "wants help")
        hand(page, "Help is wanted", "Ask for help")
        shell = HostShell(page)
        do_task(Card(page, "02-2"), shell, trainer)
        the_board_shows(trainer, "anna", "02-2 ✓")
        ben.result()
        chen.result()
        the_board_shows(trainer, "ben", "02-2 ✓")
        the_board_shows(trainer, "chen", "02-1 ○")
        assert "Nobody wants help." in trainer.inner_text("header")


def the_board_shows(trainer: Page, name: str, words: str, *, first: bool = False) -> None:
    """Load the board until it shows these words at the seat, as it loads itself by the second."""
    row = trainer.locator("tbody tr").filter(has=trainer.locator("th", has_text=name))

    def shown() -> bool:
        trainer.reload()
        return words in row.inner_text()

    until(
        shown,
        timeout_sec=240,
        every_sec=1,
        what=f"{words!r} at the seat {name}",
        evidence=lambda: trainer.inner_text("body"),
    )
    if first:
        assert words in trainer.locator("tbody tr").first.inner_text()


def hand(page: Page, pressed: str, then: str) -> None:
    """Press the button for help, and see that it says so."""
    tasks = tasks_cell(page)
    press(tasks, pressed)
    tasks.get_by_role("button", name=then, exact=True).wait_for(timeout=60_000)


def press(panel: Locator, name: str) -> None:
    panel.get_by_role("button", name=name, exact=True).click()
