"""A real sshd on loopback, on a free port, with keys of its own, run by the user of the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvmlab.deadline import until
from kvmlab.hosts import SshTarget

# sshd insists on being started by its whole path.
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Server:
    """A running sshd and how to reach it."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def target(self) -> SshTarget:
        return SshTarget(
            address="127.0.0.1",
            port=self.port,
            user=getpass.getuser(),
            key_path=self.directory / "key",
            known_hosts=self.directory / "known_hosts",
        )


def make_key(path: Path) -> str:
    """Make a key pair at ``path``; return the public half."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True
    )
    return path.with_suffix(".pub").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a real sshd for the session."""
    if SSHD is None:
        pytest.skip("there is no sshd here; openssh-server brings it")
    directory = tmp_path_factory.mktemp("sshd")
    port = free_port()
    host_key = make_key(directory / "host_key")
    (directory / "authorized_keys").write_text(make_key(directory / "key"))
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (directory / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nPidFile none\nUsePAM no\n"
        "StrictModes no\nPasswordAuthentication no\nPrintMotd no\nPermitRootLogin yes\n"
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(directory / "config")],
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        until(
            lambda: "Server listening" in (directory / "log").read_text(),
            timeout_sec=10,
            what="The test's own sshd",
            evidence=lambda: (directory / "log").read_text(),
        )
        yield Server(port, directory, process)
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a runtime directory of the test's own, short enough for sockets."""
    path = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    return path / "kvmlab"
