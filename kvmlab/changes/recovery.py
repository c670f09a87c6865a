"""After a crash: what was left behind, and putting it back from the journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmlab.hosts import Host


@dataclass(frozen=True)
class Leftover:
    """Something a run that died left on a host."""

    scheme: str
    what: str
    """The sentence of the step that was not undone."""
    journal: Path | None
    """The journal that can put it back; None where a trace was found without one."""


def leftovers(host: Host) -> tuple[Leftover, ...]:
    """What earlier runs left on ``host``: open journals, and traces on the host without one.

    Reads only. The changes of a run that is alive are not leftovers.
    """
    raise NotImplementedError


def restore(host: Host) -> tuple[str, ...]:
    """Put back what runs that died left on ``host``; returns one sentence for each thing done.

    Can be repeated: with nothing left it does nothing and returns nothing.

    Raises:
        HostBusy: a run that is alive holds the host.
        RevertFailed: something could not be put back; the message says what to do by hand.
    """
    raise NotImplementedError
