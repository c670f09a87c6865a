"""One line in a notebook that says what is being measured now, and in the end how long it took."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Protocol, Self

from kvmlab.widgets.cards import line


class Step(Protocol):
    """How far something is."""

    @property
    def done(self) -> int:
        """Steps that are done."""

    @property
    def total(self) -> int:
        """All steps."""

    @property
    def what(self) -> str:
        """What is done now."""


class Ticker:
    """Shows steps in place, in one output of the cell; outside of Jupyter it shows nothing.

    It is plain HTML and no widget, so that it survives a run without a browser.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if in_jupyter():
            from IPython.display import HTML, display

            self._handle = display(HTML(line("starting", 0.0)), display_id=True)
        return self

    def show(self, step: Step) -> None:
        """Tell the step that begins."""
        share = step.done / step.total if step.total else 0.0
        self._update(line(f"{step.done}/{step.total}  {step.what}", share))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took = time.monotonic() - self._started
        self._update(line(f"{'done' if kind is None else 'broken off'} after {took:.0f} s"))

    def _update(self, html: str) -> None:
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(html))


def in_jupyter() -> bool:
    """Is this process a Jupyter kernel?"""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
