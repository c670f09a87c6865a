"""The embedded host as a stranger's: reached by a URI and an ssh configuration, and nothing else.

`Stranger` leases an embedded host, writes what a user would write into ``~/.ssh/config``, and puts
an ``ssh`` before the real one on the path that reads that file in the place of the user's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kvmlab.clock import Clock
from kvmlab.embedded import Settings, acquire
from kvmlab.hosts import Cable, Host, open_host
from kvmlab.lab import EMBEDDED_CABLE, preparation
from kvmlab.lab.embedded_host import EMBEDDED_NIC_CABLE

NAME = "strangers-host"
SPEC = f"qemu+ssh://{NAME}/system"
CABLES: dict[str, Cable] = {"p2p1": EMBEDDED_CABLE, "p1p1": EMBEDDED_NIC_CABLE}
CABLE = "p2p1,192.0.2.10/24,192.0.2.1/24,netns:peer/p2p2"


@dataclass(frozen=True)
class Stranger:
    """Its address; ``environment`` is what another process needs to reach it."""

    environment: dict[str, str]
    plain_uri: str

    def open(self, *, allows_changes: bool = True, cable: str = "p2p1") -> Host:
        """Open it as `open_lab(SPEC)` would."""
        return open_host(SPEC, cable=CABLES[cable], allows_changes=allows_changes, deadline_sec=60)


@contextmanager
def stranger(folder: Path, *, clock: Clock = Clock.VIRTUAL) -> Iterator[Stranger]:
    """Lease an embedded host for the length of the block, reached only by ssh."""
    with acquire(Settings(clock=clock), preparation=preparation()) as lease:
        config = folder / "config"
        config.write_text(
            f"Host {NAME} 127.0.0.1\n"
            f"    HostName {lease.address}\n"
            f"    Port {lease.port}\n"
            f"    User {lease.user}\n"
            f"    IdentityFile {lease.key_path}\n"
            "    IdentitiesOnly yes\n"
            f"    UserKnownHostsFile {lease.known_hosts}\n"
            f"    HostKeyAlias {alias_of(lease.known_hosts)}\n"
        )
        tools = folder / "tools"
        tools.mkdir()
        real = shutil.which("ssh")
        (tools / "ssh").write_text(f'#!/bin/sh\nexec {real} -F "{config}" "$@"\n')
        (tools / "ssh").chmod(0o755)
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "KVMLAB_STATE_HOME": str(folder / "state"),
        }
        with environ(environment):
            yield Stranger(environment, f"qemu+ssh://root@{lease.address}:{lease.port}/system")


@contextmanager
def environ(values: Mapping[str, str]) -> Iterator[None]:
    """Set these environment variables for the length of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def alias_of(known_hosts: Path) -> str:
    """Return the name under which the host's key is known."""
    return known_hosts.read_text().split()[0]
