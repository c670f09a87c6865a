"""Queue pairs of one virtio NIC: those that the host offers and those that the VM uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.errors import UsageError
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.domain import Domain

#: The most that a tap can have (linux, drivers/net/tun.c).
MOST_QUEUES: Final = 256


def check_queues(queues: int, channels: int) -> None:
    """Raise unless a NIC can have ``queues`` queue pairs and use ``channels`` of them.

    Raises:
        UsageError: it cannot.
    """
    if not 1 <= queues <= MOST_QUEUES:
        raise UsageError(
            f"{queues} queue pairs were asked for.",
            todo=f"Use 1 to {MOST_QUEUES}; more than the VM has vCPUs are of no use.",
        )
    if not 0 <= channels <= queues:
        raise UsageError(
            f"The VM was to use {channels} of {queues} queue pairs.",
            todo=f"Use 1 to {queues}, or 0 to leave it to the driver.",
        )


def name_of_queues(queues: int, channels: int) -> str:
    """Return the suffix of an id: "" for one queue, "-q4", "-q4-c1".

    >>> name_of_queues(4, 1)
    '-q4-c1'
    """
    if queues == 1:
        return ""
    return f"-q{queues}" + (f"-c{channels}" if channels else "")


def words_on_queues(queues: int, channels: int) -> str:
    """Return the suffix of a label.

    >>> words_on_queues(4, 1)
    ', 1 of 4 queues'
    """
    if queues == 1:
        return ""
    return f", {channels} of {queues} queues" if channels else f", {queues} queues"


def notes_on_queues(queues: int, domain: Domain) -> tuple[str, ...]:
    """Return a warning where ``queues`` is more than the VM has vCPUs."""
    vcpus = domain.vcpus or 1
    if queues <= vcpus:
        return ()
    return (
        f"{queues} queue pairs for {vcpus} vCPU{'s' if vcpus > 1 else ''}: the driver in the VM "
        f"uses {vcpus} by itself, and more only share the same vCPUs ({Rule.QUEUES_MISMATCH}).",
    )
