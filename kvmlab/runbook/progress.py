"""How far a run is: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from kvmlab.runbook.notebooks import Notebook


class RunProgress:
    """Tells a person what a run is doing. Use it as a context manager.

    On a terminal one line per notebook lives until the notebook ends; elsewhere a line is
    printed for every section, so that a log shows where time went.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Progress(
                SpinnerColumn(),
                TextColumn("{task.fields[name]}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[section]}[/dim]"),
                console=console,
                transient=True,
            )
            if console.is_terminal
            else None
        )
        self._task: TaskID | None = None
        self._section = ""
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"[dim]{self._clock()}[/dim]  {escape(text)}", highlight=False)

    def begin(self, notebook: Notebook) -> None:
        """A notebook starts."""
        self._section = ""
        if self._live is not None:
            self._task = self._live.add_task("", name=notebook.name, section="", total=None)
        else:
            self.say(f"{notebook.name}: {notebook.title}")

    def cell(self, index: int, total: int, section: str, source: str) -> None:
        """A cell of the notebook starts."""
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=index, total=total, section=escape(section))
        elif section != self._section:
            self.say(f"  {index + 1}/{total}  {section}")
        self._section = section

    def end(self, notebook: Notebook, elapsed_sec: float, *, ok: bool) -> None:
        """The notebook came to its end, or failed."""
        if self._live is not None and self._task is not None:
            self._live.remove_task(self._task)
            self._task = None
        sign = "[green]✓[/green]" if ok else "[red]✗[/red]"
        self._console.print(
            f"[dim]{self._clock()}[/dim]  {sign} {escape(notebook.name)}  {elapsed_sec:.0f} s",
            highlight=False,
        )

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes:2d}:{seconds:02d}"
