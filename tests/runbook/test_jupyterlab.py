"""JupyterLab's command line; that it opens quietly is seen in tests/notebooks/test_browser.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.runbook import jupyterlab_command


def test_a_notebook_is_opened_on_this_machine_only() -> None:
    words = jupyterlab_command(Path("/a/b/00.ipynb"), port=8899, browser=False)
    assert {
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=8899",
        "--ServerApp.root_dir=/a/b",
        "--LabApp.default_url=/lab/tree/00.ipynb",
        "--no-browser",
    } <= set(words)
    assert "--no-browser" not in jupyterlab_command(Path("/a"), port=1, browser=True)


def test_kernels_have_sockets_where_their_names_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_sockets = "--KernelManager.transport=ipc"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/run/j")
    assert by_sockets in jupyterlab_command(Path("/a"), port=1, browser=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", f"/home/{'x' * 60}")
    assert by_sockets not in jupyterlab_command(Path("/a"), port=1, browser=False)
