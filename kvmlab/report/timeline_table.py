"""The timeline of one echo as a table: how much of the round trip each part took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.errors import UsageError
from kvmlab.report import names
from kvmlab.results.timeline import LANES, MarkKind, Timeline

if TYPE_CHECKING:
    import pandas as pd

_COUNTS: dict[MarkKind, str] = {
    "exit": "VM exits",
    "system call": "system calls",
    "interrupt": "interrupts",
    "wake-up": "wake-ups",
}


def timeline_table(*timelines: Timeline) -> pd.DataFrame:
    """Return one row a lane and one column a timeline: time and share of the round trip.

    The lanes add up to the row "round trip". The row "without the lab's share" leaves out what
    delays the echo only because the peer is on the same host. Counts of exits, system calls,
    interrupts and wake-ups follow.

    Raises:
        UsageError: there is no timeline.
    """
    import pandas as pd

    if not timelines:
        raise UsageError("There is no timeline to tabulate.", todo="Trace one: lab.timeline(nic).")
    lanes = [lane for lane in LANES if any(one.us(lane) for one in timelines)]
    columns = {
        one.label: [
            *(_share(one.us(lane), one.total_us) for lane in lanes),
            names.duration(one.total_us),
            names.duration(one.total_us - one.lab_us),
            "–" if one.untraced_us is None else names.duration(one.untraced_us),
            *(str(one.count(kind)) for kind in _COUNTS),
        ]
        for one in timelines
    }
    index = [*lanes, "round trip", "without the lab's share", "untraced, median", *_COUNTS.values()]
    return pd.DataFrame(columns, index=pd.Index(index, name="on the path"))


def _share(us: float, total_us: float) -> str:
    return f"{names.duration(us)} ({us / total_us:.0%})" if us else "–"
