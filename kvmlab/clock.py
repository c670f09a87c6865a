"""The clocks a host can measure in."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

_ROUND_TRIP_SEC: Final = 60.0
# One second of an emulated host's virtual time takes many seconds of ours.
_WALL_SECONDS: Final = {"wall": 2, "virtual": 40}


class Clock(StrEnum):
    """The clock of a result. Results of different clocks are never mixed silently."""

    WALL = "wall"
    VIRTUAL = "virtual"

    @property
    def meaning(self) -> str:
        """One sentence for figures and reports."""
        if self is Clock.VIRTUAL:
            return (
                "Virtual time: every instruction takes a fixed 2 ns, emulated devices cost nothing "
                "and the work of all CPUs is added up, so figures weigh the software path; they do "
                "not predict a server's Gbit/s."
            )
        return "Wall time: seconds of a real clock, with whatever else the machine was doing."

    def wall_timeout(self, seconds: float) -> float:
        """Return how many seconds of our own to wait for what takes ``seconds`` of the host's."""
        return seconds * _WALL_SECONDS[self.value] + _ROUND_TRIP_SEC
