"""A bundle of this clone, used in a network namespace that has nothing but a loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.slow, pytest.mark.timeout(3000)]

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")
def test_a_notebook_runs_where_no_network_is(repository: Path, tmp_path: Path) -> None:
    if not (repository / ".venv" / ".lab-base").exists():
        pytest.skip("this clone was not set up by ./lab")
    bundle, clone, home = (tmp_path / name for name in ("b.kvmlab", "clone", "home"))
    subprocess.run([repository / "lab", "bundle", bundle], check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
    home.mkdir()
    script = (
        "ip link set lo up && ! getent hosts deb.debian.org && "
        f"./lab --bundle {bundle} run 00 --out {tmp_path / 'run'}"
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script],
        cwd=clone,
        env={"PATH": SYSTEM_PATH, "HOME": str(home), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    # Lines are wrapped.
    assert "restored from the state saved" in " ".join(printed.split()), "it came with the bundle"
    assert (tmp_path / "run" / "report.html").exists()
    shutil.rmtree(clone)
