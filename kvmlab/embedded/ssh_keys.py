"""The keys of one lab host: the client's key, and the host key that proves its identity."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from kvmlab import process

KEYGEN_SEC = 30.0


@dataclass(frozen=True)
class Keys:
    """Key files in one private directory; every saved state has its own."""

    directory: Path

    @property
    def client(self) -> Path:
        """Private key that opens the lab host."""
        return self.directory / "id_ed25519"

    @property
    def authorized(self) -> Path:
        """Public half of `client`, which the lab host lets in."""
        return self.directory / "id_ed25519.pub"

    @property
    def host(self) -> Path:
        """Private key of the lab host's sshd."""
        return self.directory / "ssh_host_ed25519_key"

    @property
    def host_public(self) -> Path:
        """Public half of `host`, by which the lab host is known."""
        return self.directory / "ssh_host_ed25519_key.pub"

    @property
    def files(self) -> tuple[Path, ...]:
        """All four."""
        return (self.client, self.authorized, self.host, self.host_public)

    def known_hosts_line(self, port: int) -> str:
        """Return the known_hosts line that pins the lab host's key for 127.0.0.1 and ``port``."""
        kind, key = self.host_public.read_text(encoding="ascii").split()[:2]
        return f"[127.0.0.1]:{port} {kind} {key}\n"

    def copy_to(self, directory: Path) -> Keys:
        """Copy the keys to another private directory; return the copy."""
        for file in self.files:
            copy = directory / file.name
            shutil.copyfile(file, copy)
            copy.chmod(0o600)
        return Keys(directory)


def make_keys(directory: Path) -> Keys:
    """Make new keys in ``directory``, in place of any that are there.

    Raises:
        HostError: ssh-keygen is not installed or failed.
    """
    keys = Keys(directory)
    for private in (keys.client, keys.host):
        private.unlink(missing_ok=True)
        process.run(
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kvmlab", "-f", private),
            timeout_sec=KEYGEN_SEC,
        )
    return keys
