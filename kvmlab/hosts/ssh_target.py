"""The address of a machine for ssh, as plain values without a connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SshTarget:
    """Address, port, user and keys of a host for ssh.

    ``known_hosts`` pins the host key: nothing else is believed, and the user's own ssh
    configuration is left aside. Without it that configuration applies (jumps, agents, keys).
    ``options`` are further ``-o`` options, ``"Name=value"``.
    """

    address: str
    port: int = 22
    user: str | None = None
    key_path: Path | None = None
    known_hosts: Path | None = None
    options: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """Short form for messages, ``root@kvm1`` or ``kvm1:2222``."""
        who = f"{self.user}@" if self.user else ""
        where = f"[{self.address}]" if ":" in self.address else self.address
        return f"{who}{where}" + (f":{self.port}" if self.port != 22 else "")
