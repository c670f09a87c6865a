"""Plotting libraries, imported in the background while a notebook waits for a measurement."""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from typing import Final

from kvmlab.widgets.ticker import in_jupyter

#: Together two seconds, for which a notebook's first figures and tables would stand still.
_SLOW_LIBRARIES: Final = ("plotly.io", "scipy.stats", "pandas")


@functools.cache
def start_plotting_imports() -> None:
    """Import in the background what figures and tables need, once; outside of Jupyter do nothing.

    Call it before waiting for a host: while the import runs, Python code here is slower.
    """
    if in_jupyter():
        threading.Thread(target=_import_all, name="kvmlab-imports", daemon=True).start()


def _import_all() -> None:
    for name in _SLOW_LIBRARIES:
        # A missing library is reported where it is used.
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            # plotly looks for its renderers at the first access.
            getattr(module, "renderers", None)
