"""The clocks a host can measure in."""

from __future__ import annotations

from enum import StrEnum


class Clock(StrEnum):
    """What one second means in a result. Results of different clocks are never mixed silently."""

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
