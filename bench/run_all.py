"""A notebook in JupyterLab: seconds from Run All to the end of its last cell, in a browser.

    python -m bench run_all [NOTEBOOK] [--count N]

`kvmlab lab` opens it as for a user, with a host that is restored from its saved state.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from playwright.sync_api import sync_playwright

from bench._harness import Bench
from bench._jupyterlab_page import failed_cells
from kvmlab.runbook.notebooks import find_notebooks
from tests.conftest import BROWSERS
from tests.notebooks.test_browser import ADDRESS, run_all_cells

if TYPE_CHECKING:
    from playwright.sync_api import Page

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
    program = next((path for path in map(shutil.which, BROWSERS) if path), None)
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
            sync_playwright() as playwright,
        ):
            try:
                path = Path(data) / "kvmlab" / "notebooks" / "en" / notebook.path.name
                browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
                page = browser.new_page()
                with page.expect_websocket(lambda socket: "/channels" in socket.url):
                    page.goto(_address(process))
                begin = time.monotonic()
                run_all_cells(page)
                failed = _failed(page, path)
                bench.add("from Run All to the last cell", time.monotonic() - begin)
                bench.add("cells that failed", failed, "cells")
                browser.close()
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


def _failed(page: Page, path: Path) -> int:
    """Wait until all cells have run; return how many failed."""
    end = time.monotonic() + _RUN_SEC
    while time.monotonic() < end:
        failed = failed_cells(page, path)
        if failed is not None:
            return failed
        page.wait_for_timeout(500)
    raise RuntimeError(f"It did not end within {_RUN_SEC} s.")
