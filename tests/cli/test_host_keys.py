"""`kvmlab --insecure-host-keys` as typed, against a real sshd whose host key has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.conftest import Server, make_key, server

__all__ = ["server"]

NOTICE = "Host keys of ssh are checked only as your own configuration says."


@pytest.fixture
def environment(server: Server, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user whose ssh does not check keys, and knows an old one."""
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {make_key(tmp_path / 'old')}")
    config = tmp_path / "config"
    config.write_text(
        f"Host *\n    StrictHostKeyChecking no\n    UserKnownHostsFile {known}\n"
        f"    IdentityFile {server.target.key_path}\n"
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{config}" "$@"\n')
    (tools / "ssh").chmod(0o755)
    own = {f"XDG_{name}_HOME": str(tmp_path) for name in ("CACHE", "STATE", "CONFIG", "DATA")}
    path = f"{tools}:{os.environ['PATH']}"
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KVMLAB_")}
    return {**kept, **own, "PATH": path, "XDG_RUNTIME_DIR": str(tmp_path)}


def kvmlab(
    server: Server, environment: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """Ask for the lock of the host that is behind the sshd: nothing there is changed."""
    host = f"qemu+ssh://{server.target.user}@127.0.0.1:{server.port}/system"
    argv = (sys.executable, "-m", "kvmlab", *options, "unlock", "--host", host)
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_changed_key_is_refused_without_the_option(
    server: Server, environment: dict[str, str]
) -> None:
    done = kvmlab(server, environment)
    assert done.returncode == 1, done.stderr
    assert "is not the one that is known" in " ".join(done.stderr.split())
    assert NOTICE not in done.stderr
    assert done.stdout == ""


def test_a_changed_key_is_accepted_with_it_and_that_is_said(
    server: Server, environment: dict[str, str]
) -> None:
    done = kvmlab(server, environment, "--insecure-host-keys")
    assert NOTICE in done.stderr
    assert "is known" not in done.stderr
    # A user's own sshd leads to that user, who may not have sudo to read the lock.
    if os.geteuid() == 0:
        asked = f"{server.target.user}@127.0.0.1:{server.port}"
        assert (done.returncode, done.stdout) == (0, f"Nobody has the lock of {asked}.\n")
