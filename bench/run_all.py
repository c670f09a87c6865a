"""A notebook in JupyterLab: seconds from Run All to the end of its last cell, in a browser.

    python -m bench run_all [NOTEBOOK] [--count N]

`kvmlab lab` opens it as for a user, with a host that is restored from its saved state.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench._harness import Bench
from kvmlab.runbook.notebooks import find_notebooks
from tests.chromium import chromium
from tests.notebooks.jupyterlab import ADDRESS, errors_in, executed, open_jupyterlab, run_all_cells

_RUN_SEC: Final = 900


def main(argv: Sequence[str] | None = None) -> None:
    """Run all cells of a fresh copy, ``--count`` times."""
    parser = argparse.ArgumentParser(prog="python -m bench run_all", description=__doc__)
    parser.add_argument("notebook", nargs="?", default="02")
    parser.add_argument("--count", type=int, default=1)
    chosen = parser.parse_args(argv)
    bench = Bench("run_all", f"notebook {chosen.notebook} in JupyterLab")
    bench.notes["goal"] = "60 s or less for notebook 02 on two idle cores"
    command = [sys.executable, "-m", "kvmlab", "lab", chosen.notebook, "--no-browser"]
    (notebook,) = find_notebooks([chosen.notebook])
    for _ in range(chosen.count):
        with (
            TemporaryDirectory(dir="/var/tmp") as data,
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "XDG_DATA_HOME": data},
                text=True,
            ) as process,
            chromium() as browser,
        ):
            try:
                path = Path(data) / "kvmlab" / "notebooks" / "en" / notebook.path.name
                page = browser.new_page()
                open_jupyterlab(page, _address(process))
                begin = time.monotonic()
                run_all_cells(page)
                node = executed(page, path, timeout_sec=_RUN_SEC, every_sec=0.5)
                bench.add("from Run All to the last cell", time.monotonic() - begin)
                bench.add("cells that failed", len(errors_in(node)), "cells")
            finally:
                process.send_signal(signal.SIGTERM)
    bench.finish()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        match = re.search(ADDRESS, line)
        if match:
            return match[0]
    raise RuntimeError("JupyterLab ended without an address.")
