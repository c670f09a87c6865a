"""Settings of the embedded host that a user may choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kvmlab.clock import Clock
from kvmlab.errors import UsageError

ACCELERATORS = ("auto", "kvm", "tcg")
SMALLEST_MEMORY_MIB = 1024


@dataclass(frozen=True)
class Settings:
    """Settings of the lab host.

    Attributes:
        clock: the clock of the lab host. In virtual time, figures repeat on any machine.
        accel: "kvm", "tcg" (emulation), or "auto" for KVM where a real boot proves it.
        qemu: a QEMU to use instead of the machine's or the image's.
        memory_mib: memory of the lab host.
        cpus: CPUs of the lab host; the virtual clock always has one.
        ssh_port: port of the lab host's sshd on 127.0.0.1; 0 picks a free one.
        idle_sec: a host started by ``up`` ends after so long without a client.

    Raises:
        UsageError: a value that cannot be used.
    """

    clock: Clock = Clock.VIRTUAL
    accel: str = "auto"
    qemu: Path | None = None
    memory_mib: int = 3072
    cpus: int = 2
    ssh_port: int = 0
    idle_sec: float = 7200.0

    def __post_init__(self) -> None:
        if self.accel not in ACCELERATORS:
            raise UsageError(
                f"The accelerator {self.accel!r} is unknown.",
                todo=f"Use one of {', '.join(ACCELERATORS)}.",
            )
        if self.clock is Clock.VIRTUAL and self.accel == "kvm":
            raise UsageError(
                "The virtual clock counts emulated instructions, which KVM does not.",
                todo="Use the wall clock with KVM, or the accelerator tcg.",
            )
        if self.memory_mib < SMALLEST_MEMORY_MIB:
            raise UsageError(
                f"{self.memory_mib} MiB of memory are too few for the lab host and its test VM.",
                todo=f"Give it at least {SMALLEST_MEMORY_MIB} MiB; 3072 are usual.",
            )
        if not 1 <= self.cpus <= 16:
            raise UsageError(f"{self.cpus} CPUs were asked for.", todo="Use 1 to 16.")
        if not (self.ssh_port == 0 or 1024 <= self.ssh_port <= 65535):
            raise UsageError(
                f"The port {self.ssh_port} cannot be used for the lab host's sshd.",
                todo="Use 0 for a free one, or 1024 to 65535.",
            )

    @property
    def cpus_used(self) -> int:
        """CPUs that the machine gets: one with the virtual clock, which adds their work up."""
        return 1 if self.clock is Clock.VIRTUAL else self.cpus
