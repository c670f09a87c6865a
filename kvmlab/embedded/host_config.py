"""The configuration of one lab host, stored in its run directory for the supervisor."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvmlab.clock import Clock
from kvmlab.directories import write_atomically
from kvmlab.embedded import saved_state
from kvmlab.embedded.accelerator import Accel
from kvmlab.embedded.qemu import Qemu
from kvmlab.embedded.settings import Settings
from kvmlab.embedded.ssh_keys import Keys
from kvmlab.embedded.topology import Hardware, machine_identity

# A client and a supervisor of different versions do not understand each other.
PROTOCOL = 1
KNOWN_HOSTS = "known_hosts"


@dataclass(frozen=True)
class HostConfig:
    """A lab host with everything chosen and nothing started.

    Attributes:
        run_dir: private directory of this host, removed when it ends.
        states: directory of saved states.
        preparation: key of what the client does to a fresh host before its state is saved.
        owner_pid: the process with which the host ends, until it is detached.
        owner: the command line of that process, for messages.
    """

    run_dir: Path
    states: Path
    images: Path
    image: Path
    image_hash: str
    qemu: Qemu
    accel: Accel
    settings: Settings
    preparation: str
    owner_pid: int
    owner: str

    @property
    def keys(self) -> Keys:
        """Keys of the running host."""
        return Keys(self.run_dir)

    @property
    def console(self) -> Path:
        """Log of the lab host's serial console."""
        return self.run_dir / "console.log"

    @property
    def qemu_log(self) -> Path:
        """Log of QEMU's own messages."""
        return self.run_dir / "qemu.log"

    @property
    def known_hosts(self) -> Path:
        """File that pins the lab host's key."""
        return self.run_dir / KNOWN_HOSTS

    @property
    def label(self) -> str:
        """One line for figures: "QEMU 10.0.13, TCG, 2 CPUs, wall clock"."""
        number = ".".join(map(str, self.qemu.version))
        cpus = self.settings.cpus_used
        return (
            f"QEMU {number}, {self.accel.name.upper()}, {cpus} CPU{'s' if cpus > 1 else ''}, "
            f"{self.settings.clock.value} clock"
        )

    def hardware(
        self, *, ram_path: Path, ram_shared: bool, incoming: bool, ssh_port: int
    ) -> Hardware:
        """Return the machine to start; `Machine.start` fills in the QMP socket."""
        return Hardware(
            image=self.image,
            accel=self.accel.name,
            clock=self.settings.clock,
            memory_mib=self.settings.memory_mib,
            cpus=self.settings.cpus_used,
            ram_path=ram_path,
            ram_shared=ram_shared,
            incoming=incoming,
            authorized_keys=self.keys.authorized,
            host_key=self.keys.host,
            console=self.console,
            qmp_fd=-1,
            ssh_port=ssh_port,
        )

    def facts(self) -> saved_state.Facts:
        """Return what a saved state of this host depends on."""
        nowhere = Path("x")
        hardware = self.hardware(ram_path=nowhere, ram_shared=False, incoming=True, ssh_port=0)
        return saved_state.Facts(
            image=self.image_hash,
            qemu=self.qemu.digest,
            accel=self.accel.name,
            cpu=self.accel.cpu_id,
            machine=machine_identity(hardware),
            preparation=self.preparation,
        )

    def write(self) -> None:
        """Write ``config.json`` to the run directory."""
        data = asdict(self)
        data["qemu"] = self.qemu.to_dict()
        data["protocol"] = PROTOCOL
        text = json.dumps(data, default=str, indent=1)
        write_atomically(self.run_dir / "config.json", text, mode=0o600)

    @classmethod
    def read(cls, run_dir: Path) -> HostConfig:
        """Read ``config.json`` from ``run_dir``.

        Raises:
            OSError, ValueError, LookupError, TypeError: there is none of this version.
        """
        data: dict[str, Any] = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
        settings = data["settings"]
        settings["clock"] = Clock(settings["clock"])
        settings["qemu"] = Path(settings["qemu"]) if settings["qemu"] else None
        places = {name: Path(data[name]) for name in ("run_dir", "states", "images", "image")}
        return cls(
            **places,
            image_hash=data["image_hash"],
            qemu=Qemu.from_dict(data["qemu"]),
            accel=Accel(**data["accel"]),
            settings=Settings(**settings),
            preparation=data["preparation"],
            owner_pid=data["owner_pid"],
            owner=data["owner"],
        )
