"""Loading what draws while a notebook waits for what it measures."""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from typing import Final

from kvmlab.widgets.ticker import in_jupyter

#: Two seconds, in which the first figures and tables of a notebook would else stand still.
_SLOW: Final = ("plotly.io", "scipy.stats", "pandas")


@functools.cache
def load_ahead() -> None:
    """In a notebook, import in the background what its figures and tables will need; once.

    For those who are about to wait for a host: what runs beside it here is slower meanwhile.
    """
    if in_jupyter():
        threading.Thread(target=_load, name="kvmlab-load", daemon=True).start()


def _load() -> None:
    for name in _SLOW:
        # Who needs it is told that it is missing, where it is needed.
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            # plotly looks for its ways to display only when it is asked for them.
            getattr(module, "renderers", None)
