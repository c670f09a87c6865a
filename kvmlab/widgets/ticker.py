"""A progress line in a notebook: the present step, and in the end how long all took."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Protocol, Self

from kvmlab.language import _
from kvmlab.widgets.elements import line


class ProgressStep(Protocol):
    """The progress of a measurement."""

    @property
    def done(self) -> int:
        """Number of steps that are done."""

    @property
    def total(self) -> int:
        """Number of all steps."""

    @property
    def what(self) -> str:
        """The present step."""


class Ticker:
    """A progress line that is updated in place; outside of Jupyter nothing is shown.

    It is plain HTML and no widget, so that an executed notebook keeps it.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if in_jupyter():
            from IPython.display import HTML, display

            self._handle = display(HTML(line("starting", 0.0)), display_id=True)
        return self

    def show(self, step: ProgressStep) -> None:
        """Show the step that begins."""
        share = step.done / step.total if step.total else 0.0
        self._update(line(f"{step.done}/{step.total}  {_(step.what)}", share))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds = time.monotonic() - self._started
        text = _("done after {seconds} s") if kind is None else _("stopped after {seconds} s")
        self._update(line(text.format(seconds=f"{seconds:.0f}")))

    def _update(self, html: str) -> None:
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(html))


def in_jupyter() -> bool:
    """Return whether this process is a Jupyter kernel."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
