"""Queue pairs inside the VM: the number offered and the number in use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.errors import OutputError, UsageError

if TYPE_CHECKING:
    from kvmlab.changes.nic import Nic
    from kvmlab.domain import TestVM

_SEC: Final = 60.0
_COMBINED: Final = re.compile(r"^Combined:\s+(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Channels:
    """Queue pairs of one NIC: offered by the host, used by the VM."""

    offered: int
    used: int


def parse_channels(text: str) -> Channels:
    """Read ``ethtool -l``.

    Its output::

        Channel parameters for eth0:
        Pre-set maximums:
        RX:		n/a
        TX:		n/a
        Other:		n/a
        Combined:	4
        Current hardware settings:
        RX:		n/a
        TX:		n/a
        Other:		n/a
        Combined:	1

    Raises:
        OutputError: it is not that.
    """
    numbers = [int(number) for number in _COMBINED.findall(text)]
    if len(numbers) != 2:
        raise OutputError("The output of `ethtool -l` could not be understood.", evidence=text)
    return Channels(offered=numbers[0], used=numbers[1])


def read_channels(vm: TestVM, nic: Nic) -> Channels:
    """Read the queue pairs of ``nic`` inside the VM."""
    done = vm.agent.run(("ethtool", "-l", nic.guest_interface), timeout_sec=_SEC)
    return parse_channels(done.stdout)


def set_channels(vm: TestVM, nic: Nic, used: int) -> Channels:
    """Make the VM use ``used`` queue pairs of ``nic`` (``ethtool -L … combined``).

    The setting goes with the interface, so there is nothing to undo.

    Raises:
        UsageError: the NIC does not have as many.
    """
    now = read_channels(vm, nic)
    if not 1 <= used <= now.offered:
        raise UsageError(
            f"{nic.guest_interface} was to use {used} queue pairs and has {now.offered}.",
            todo=f"Use 1 to {now.offered}, or attach it with more: queues=N.",
        )
    if used != now.used:
        vm.agent.run(
            ("ethtool", "-L", nic.guest_interface, "combined", str(used)), timeout_sec=_SEC
        )
        now = read_channels(vm, nic)
    return now
