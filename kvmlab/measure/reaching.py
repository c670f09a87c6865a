"""Whether host and VM hear each other through the port under test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.errors import OutputError
from kvmlab.hosts import run_script
from kvmlab.measure.meters import patience, wire_of

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.hosts import Host

_HEARD = ("REACHABLE", "STALE", "DELAY", "PROBE")


@dataclass(frozen=True, repr=False)
class Hearing:
    """Did the VM answer, when the host asked through ``device`` who has its address?"""

    label: str
    device: str
    answered: bool

    def __str__(self) -> str:
        outcome = "**the VM answered**" if self.answered else "**no answer**"
        asked = f"the host asked through {self.device} who has the VM's address"
        return f"{self.label}: {asked}: {outcome}."

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return str(self)


def host_hears(host: Host, nic: Nic) -> Hearing:
    """Ask from the host, by ARP, for the VM's address. Host and VM keep their addresses.

    Raises:
        CommandFailed: the host cannot ask.
    """
    done = run_script(
        host.runner,
        "kvmlab.measure",
        "host_asks.sh",
        nic.vm_ip,
        wire_of(host, nic).port,
        timeout_sec=patience(host, 4),
        root=True,
    )
    device, answered = parse_hearing(done.stdout)
    return Hearing(nic.label, device, answered)


def parse_hearing(text: str) -> tuple[str, bool]:
    """The device through which was asked, and whether an answer came.

    >>> parse_hearing("asked kvmlab0 REACHABLE")
    ('kvmlab0', True)
    >>> parse_hearing("asked p2p1 FAILED")
    ('p2p1', False)

    Raises:
        OutputError: it is not what ``host_asks.sh`` prints.
    """
    words = text.split()
    if words[:1] != ["asked"] or len(words) < 2:
        raise OutputError("The host did not say whether the VM answered.", evidence=text)
    return words[1], words[-1] in _HEARD
