"""Progress of a run: live lines on a terminal, plain lines in a log."""

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

from kvmlab.language import translate
from kvmlab.runbook.notebooks import Notebook


class RunProgress:
    """The progress of a run on a console; a context manager.

    On a terminal a line for each running notebook is updated in place; elsewhere a line is
    printed for every section, so that a log shows where time was spent.
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
        """Print a line that stays, in the reader's language."""
        self.print_line(translate(text))

    def print_line(self, text: str) -> None:
        """Print a line that stays, as it is."""
        self._console.print(f"[dim]{self._clock()}[/dim]  {escape(text)}", highlight=False)

    def begin(self, notebook: Notebook, *, is_alone: bool = True) -> NotebookProgress:
        """Note that a notebook starts; where others run beside it, each line names it."""
        if self._live is not None:
            task = self._live.add_task("", name=notebook.name, section="", total=None)
            return NotebookProgress(self, notebook, live=self._live, task=task)
        self.print_line(f"{notebook.name}: {notebook.title}")
        return NotebookProgress(self, notebook, prefix="" if is_alone else f"{notebook.name}  ")

    def print_end(self, notebook: Notebook, elapsed_sec: float, *, ok: bool) -> None:
        """Print that a notebook came to its end, or failed."""
        sign = "[green]✓[/green]" if ok else "[red]✗[/red]"
        self._console.print(
            f"[dim]{self._clock()}[/dim]  {sign} {escape(notebook.name)}  {elapsed_sec:.0f} s",
            highlight=False,
        )

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes:2d}:{seconds:02d}"


class NotebookProgress:
    """The progress of one notebook, a listener of its cells."""

    def __init__(
        self,
        run: RunProgress,
        notebook: Notebook,
        *,
        live: Progress | None = None,
        task: TaskID | None = None,
        prefix: str = "",
    ) -> None:
        self._run = run
        self._notebook = notebook
        self._live = live
        self._task = task
        self._prefix = prefix
        self._section = ""
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line about this notebook, in the reader's language."""
        self._run.print_line(f"{self._prefix}{translate(text)}")

    def cell(self, index: int, total: int, section: str, source: str) -> None:
        """Note that a cell of the notebook starts."""
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=index, total=total, section=escape(section))
        elif section != self._section:
            self._run.print_line(f"{self._prefix}  {index + 1}/{total}  {section}")
        self._section = section

    def end(self, *, ok: bool) -> None:
        """Print that the notebook came to its end, or failed."""
        if self._live is not None and self._task is not None:
            self._live.remove_task(self._task)
        self._run.print_end(self._notebook, time.monotonic() - self._started, ok=ok)
