"""What the doctor reads inside the test VM, through its agent, in one command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from kvmlab.errors import DomainError, HostError, OutputError
from kvmlab.facts.sections import parse_sections

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

#: The drivers of all cards that a scheme shows to a guest.
DRIVERS: Final = ("virtio_net", "e1000", "e1000e", "igbvf")
_READ_SEC: Final = 60.0


@dataclass(frozen=True)
class GuestInterface:
    """A network card inside the VM. ``carrier`` is None where the card is switched off."""

    name: str
    mac: str
    driver: str
    carrier: bool | None


@dataclass(frozen=True)
class Channels:
    """Queue pairs of one card: how many it could use, how many it uses."""

    most: int
    now: int


@dataclass(frozen=True)
class Guest:
    """Source: the guest agent. ``unread`` says why nothing was read."""

    vm: str
    #: "registered", "available" or "missing".
    drivers: Mapping[str, str] = field(default_factory=dict)
    interfaces: tuple[GuestInterface, ...] = ()
    channels: Mapping[str, Channels] = field(default_factory=dict)
    #: Ids of the vhost workers that serve the VM on the host.
    vhost_workers: tuple[int, ...] = ()
    unread: str = ""


def read_guest(vm: TestVM) -> Guest:
    """Read the running VM; one whose agent does not answer says so in ``unread``.

    Raises:
        OutputError: a tool printed something unknown.
    """
    script = files("kvmlab.doctor").joinpath("scripts", "read_guest.sh")
    try:
        answer = vm.agent.run(
            ("sh", "-s", "--", *DRIVERS),
            timeout_sec=_READ_SEC,
            input_text=script.read_text(encoding="utf-8"),
        )
        workers = vm.threads().vhost
    except (DomainError, HostError) as error:
        return Guest(vm.name, unread=error.message)
    return parse_guest(vm.name, answer.stdout, vhost_workers=workers)


def parse_guest(name: str, text: str, *, vhost_workers: tuple[int, ...] = ()) -> Guest:
    """What the doctor's script printed inside the VM.

    Raises:
        OutputError: it is not that.
    """
    sections = parse_sections(text)
    return Guest(
        vm=name,
        drivers=dict(_pairs(sections.text("drivers"))),
        interfaces=parse_interfaces(sections.text("interfaces")),
        channels=parse_channels(sections.text("channels")),
        vhost_workers=vhost_workers,
    )


def parse_interfaces(text: str) -> tuple[GuestInterface, ...]:
    """Cards: name, MAC, driver, carrier.

    ::

        eth0 52:54:00:72:57:24 virtio_net 1

    Raises:
        OutputError: a line of another shape.
    """
    found = []
    for line in text.split("\n"):
        words = line.split()
        if not words:
            continue
        if len(words) != 4:
            raise OutputError("A card of the guest could not be understood.", evidence=line)
        carrier = {"1": True, "0": False}.get(words[3])
        found.append(GuestInterface(words[0], words[1].lower(), words[2], carrier))
    return tuple(found)


def parse_channels(text: str) -> dict[str, Channels]:
    """Channels by interface, from ``ethtool -l``; a card without channels is left out.

    ::

        interface eth0
        Channel parameters for eth0:
        Pre-set maximums:
        RX:             n/a
        Combined:       4
        Current hardware settings:
        RX:             n/a
        Combined:       2
    """
    found = {}
    for block in re.split(r"^interface ", text, flags=re.MULTILINE)[1:]:
        name = block.split("\n", 1)[0].strip()
        combined = re.findall(r"^Combined:\s+(\d+)$", block, re.MULTILINE)
        if len(combined) == 2:
            found[name] = Channels(most=int(combined[0]), now=int(combined[1]))
    return found


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(words[0], words[1]) for line in text.split("\n") if len(words := line.split()) == 2]
