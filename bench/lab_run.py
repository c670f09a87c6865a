"""Time of `./lab run` without and with a cache, in a fresh clone and an empty home.

"From nothing" downloads the Python packages and builds the embedded host's image; system packages
are not counted, since they are installed once for the machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench._harness import ROOT, Bench, repeats
from kvmlab.process import run

RUN_SEC = 3000.0


def main(argv: Sequence[str] | None = None) -> None:
    """Time one run from nothing, then ``--count`` runs from cache, and as many of set-up alone."""
    count = repeats(2, argv)
    bench = Bench("lab_run", "wall time of ./lab run in a fresh clone and an empty home")
    with tempfile.TemporaryDirectory(prefix="kvmlab-bench-", dir="/var/tmp") as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        clone = Path(scratch) / "kvmlab"
        run(("git", "clone", "--quiet", ROOT, clone), timeout_sec=120)
        with bench.timed("lab run, from nothing"):
            _lab(clone, home, "run", "--out", Path(scratch) / "first")
        for number in range(count):
            with bench.timed("lab run, from cache"):
                _lab(clone, home, "run", "--out", Path(scratch) / f"again{number}")
            with bench.timed("lab --version, set up already"):
                _lab(clone, home, "--version")
    bench.ratio("from nothing over from cache", "lab run, from nothing", "lab run, from cache")
    bench.finish()


def _lab(clone: Path, home: Path, *words: str | Path) -> None:
    runtime = home / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    # Python's and pip's caches follow HOME.
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    places["XDG_STATE_HOME"] = str(home / ".state")
    places["XDG_RUNTIME_DIR"] = str(runtime)
    path = os.environ["PATH"].split(":")
    places["PATH"] = ":".join(part for part in path if "/.venv/" not in part)
    run((clone / "lab", *words), timeout_sec=RUN_SEC, env=places, cwd=clone)


if __name__ == "__main__":
    main()
