"""JupyterLab asks for a token, whatever a person's own configuration says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from kvmlab.deadline import until
from kvmlab.runbook.jupyterlab import jupyterlab_command
from tests.hosts.conftest import free_port


@pytest.mark.parametrize("where", ["jupyter_server_config.json", "jupyter_lab_config.json"])
def test_an_empty_token_of_a_persons_own_is_not_followed(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / where).write_text(
        json.dumps(
            {"IdentityProvider": {"token": ""}, "ServerApp": {"allow_unauthenticated_access": True}}
        )
    )
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(config))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    port = free_port()
    argv = jupyterlab_command(tmp_path / "x.ipynb", port=port, browser=False)
    (written,) = (word.partition("=")[2] for word in argv if word.startswith("--config="))
    assert Path(written).stat().st_mode & 0o777 == 0o600
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=dict(os.environ))
    try:
        status = until(
            lambda: _status(f"http://127.0.0.1:{port}/api/contents"),
            timeout_sec=90,
            every_sec=0.5,
            what="an answer of JupyterLab",
            evidence=log.read_text,
        )
        assert status == 403
        until(
            lambda: re.search(r"/lab/tree/x\.ipynb\?token=[0-9a-f]{48}", log.read_text()),
            timeout_sec=30,
            what="an address that opens the notebook",
            evidence=log.read_text,
        )
    finally:
        process.terminate()
        process.wait(30)


def _status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None
