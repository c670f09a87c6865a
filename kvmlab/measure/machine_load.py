"""How much of the machine beneath an emulated host was stolen: what explains a bad trial there."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from kvmlab.clock import Clock
from kvmlab.measure.parsing import cpu_ticks
from kvmlab.measure.snapshot import US_PER_TICK
from kvmlab.results import Cost

if TYPE_CHECKING:
    from kvmlab.hosts import Host

_STAT = Path("/proc/stat")


class StealMeter:
    """Steal of this machine from its making to its reading, for a host emulated on it.

    A host with its own hardware reports its steal itself; for the embedded host, whose kernel
    cannot see it, the machine that runs kvmlab is the one to ask.
    """

    def __init__(self, host: Host) -> None:
        # Under the virtual clock what others take from this machine costs the host nothing.
        wall = host.clock is Clock.WALL
        self._counts = wall and host.emulated is not None and _STAT.exists()
        self._begin = self._ticks()
        self._since = monotonic()

    def costs(self) -> tuple[Cost, ...]:
        """The time that others took from this machine's CPUs, in its own wall time."""
        if not self._counts:
            return ()
        stolen = (self._ticks() - self._begin) * US_PER_TICK
        return (Cost("machine_steal_us", "all CPUs of the machine beneath", stolen, "µs"),)

    def flags(self, share: float) -> tuple[str, ...]:
        """A flag where more than ``share`` of one CPU was stolen."""
        passed_us = (monotonic() - self._since) * 1e6
        return tuple(
            f"steal on the machine beneath {cost.value / passed_us:.0%} of one CPU"
            for cost in self.costs()
            if cost.value > share * passed_us
        )

    def _ticks(self) -> int:
        return cpu_ticks(_STAT.read_text())["steal"] if self._counts else 0
