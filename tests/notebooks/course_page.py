"""The course in JupyterLab as a person handles it: cards of tasks, and a shell on the host."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from kvmlab.course import find_task
from kvmlab.deadline import until
from tests.notebooks.jupyterlab import cell

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, WebSocket

BUTTON = "Open a terminal on the host"
#: What a terminal draws and nobody reads: colours, and how it is to paste.
_DRAWN: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminals:
    """Collects what the terminals of a page print; xterm draws it on a canvas."""

    def __init__(self, page: Page) -> None:
        self.printed: list[str] = []
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        if "/terminals/" in socket.url:
            socket.on("framereceived", lambda frame: self.printed.append(str(frame)))

    def wait_for(self, page: Page, text: str, *, after: int = 0) -> None:
        """Wait until a terminal has printed ``text`` beyond its first ``after`` characters."""

        def seen() -> bool:
            page.wait_for_timeout(100)
            return text in self.text[after:]

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


class HostShell:
    """A shell on the host in a terminal beside the notebook, opened by the button of its tasks."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._terminals = Terminals(page)
        self._typed = 0
        tasks_cell(page).get_by_role("button", name=BUTTON).click()
        # What is typed from here on waits for the host's shell.
        self._terminals.wait_for(page, "kvmlab host ssh")
        assert "root@kvmlab" in self.type("echo root@$(hostname)")

    def type(self, *lines: str) -> str:
        """Type lines; return what they have printed once the shell is through with them."""
        self._typed += 1
        begin = len(self._terminals.text)
        self._page.locator(".jp-Terminal").click()
        # The sum is in what the shell prints, and not in the echo of what was typed.
        for line in (*"\n".join(lines).splitlines(), f"echo typed-$((1000 + {self._typed}))"):
            self._page.keyboard.type(line)
            self._page.keyboard.press("Enter")
        self._terminals.wait_for(self._page, f"typed-{1000 + self._typed}", after=begin)
        return _DRAWN.sub("", self._terminals.text[begin:])


def tasks_cell(page: Page) -> Locator:
    """Return the cell with the tasks of the notebook."""
    return cell(page, "lab.tasks(")


class Card:
    """The card of a task, opened by a click on its title where it is closed."""

    def __init__(self, page: Page, task: str) -> None:
        self.page = page
        self.task = find_task(task)
        tasks = tasks_cell(page)
        self._card = tasks.locator(".jupyter-widget-Collapse").filter(has_text=task)
        start = self._button("Start")
        if not start.count():
            tasks.locator(".jupyter-widget-Collapse-header").filter(has_text=task).click()
            start.wait_for(timeout=30_000)

    @property
    def title(self) -> str:
        """The line above it, which says what was made of the task."""
        return self._card.locator(".jupyter-widget-Collapse-header").inner_text()

    def press(self, name: str, shown: str) -> None:
        """Press a button and wait for what the card then says."""
        self.click(name)
        self.wait_for(shown)

    def click(self, name: str) -> None:
        """Press a button."""
        self._button(name).click()

    def wait_for(self, shown: str, *, timeout_sec: float = 120) -> None:
        """Wait until the card says ``shown`` below its buttons."""
        words = self._card.locator(".widget-html-content").last
        until(
            lambda: shown in words.inner_text(),
            timeout_sec=timeout_sec,
            what=f"The card's {shown!r}",
            evidence=words.inner_text,
        )

    def check(self, answer: str, shown: str) -> None:
        """Enter an answer, press Check, and wait for what the card then says."""
        self._card.get_by_role("textbox").fill(answer)
        self._card.get_by_role("textbox").press("Tab")
        self.press("Check", shown)

    def _button(self, name: str) -> Locator:
        return self._card.get_by_role("button", name=name, exact=True)
