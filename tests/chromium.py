"""Chromium without a window, for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PROGRAMS: Final = ("chromium", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser: the machine's own, or the one that Playwright keeps."""
    from playwright.sync_api import sync_playwright

    own = next((path for path in map(shutil.which, _PROGRAMS) if path), None)
    # Chromium's sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=own, args=arguments)
        yield browser
        browser.close()
