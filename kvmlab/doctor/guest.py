"""Readings inside the test VM, through its agent, in one command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kvmlab.doctor.symptoms import parse_offloads, parse_vulnerabilities
from kvmlab.errors import DomainError, HostError, OutputError
from kvmlab.hosts import parse_output, script_text

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

#: The drivers of all cards that a scheme shows to a guest.
DRIVERS: Final = ("virtio_net", "e1000", "e1000e", "igbvf")
_READ_SEC: Final = 60.0


@dataclass(frozen=True)
class GuestNic:
    """A network card inside the VM. ``carrier`` is None where the card is switched off."""

    name: str
    mac: str
    driver: str
    carrier: bool | None


@dataclass(frozen=True)
class QueueCounts:
    """Queue pairs of one card: how many it could use, how many it uses."""

    most: int
    now: int


@dataclass(frozen=True)
class Guest:
    """Source: the guest agent. ``unread`` says why nothing was read."""

    vm: str
    #: "registered", "available" or "missing".
    drivers: Mapping[str, str] = field(default_factory=dict)
    interfaces: tuple[GuestNic, ...] = ()
    channels: Mapping[str, QueueCounts] = field(default_factory=dict)
    #: Buffers of the receiving ring in use, by interface.
    receive_rings: Mapping[str, int] = field(default_factory=dict)
    #: By interface: offloads that can be switched, on or off.
    offloads: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    #: Words that its kernel was started with.
    command_line: str = ""
    #: Its CPU has an x2apic; None where there is none to have (Arm), or it was not read.
    x2apic: bool | None = None
    #: What its kernel says of each known bug of CPUs, by name.
    vulnerabilities: Mapping[str, str] = field(default_factory=dict)
    #: Ids of the vhost workers that serve the VM on the host.
    vhost_workers: tuple[int, ...] = ()
    unread: str = ""


def read_guest(vm: TestVM) -> Guest:
    """Read the running VM; one whose agent does not answer says so in ``unread``.

    Raises:
        OutputError: a tool printed something unknown.
    """
    try:
        answer = vm.agent.run(
            ("sh", "-s", "--", *DRIVERS),
            timeout_sec=_READ_SEC,
            input_text=script_text("kvmlab.doctor", "read_guest.sh"),
        )
        workers = vm.threads().vhost
    except (DomainError, HostError) as error:
        return Guest(vm.name, unread=error.message)
    return parse_guest(vm.name, answer.stdout, vhost_workers=workers)


def parse_guest(name: str, text: str, *, vhost_workers: tuple[int, ...] = ()) -> Guest:
    """Parse what the doctor's script printed inside the VM.

    Raises:
        OutputError: it is not that.
    """
    output = parse_output(text)
    return Guest(
        vm=name,
        drivers=dict(_pairs(output.text("drivers"))),
        interfaces=parse_interfaces(output.text("interfaces")),
        channels=parse_channels(output.text("channels")),
        receive_rings=parse_receive_rings(output.optional_text("rings")),
        offloads=parse_offloads(output.optional_text("offloads")),
        command_line=output.optional_text("command_line").strip(),
        x2apic={"yes": True, "no": False}.get(output.optional_text("x2apic").strip()),
        vulnerabilities=parse_vulnerabilities(output.optional_text("vulnerabilities")),
        vhost_workers=vhost_workers,
    )


def parse_interfaces(text: str) -> tuple[GuestNic, ...]:
    """Parse lines of name, MAC, driver and carrier.

    ::

        eth0 52:54:00:72:57:24 virtio_net 1

    Raises:
        OutputError: a line of another shape.
    """
    nics = []
    for line in text.split("\n"):
        words = line.split()
        if not words:
            continue
        if len(words) != 4:
            raise OutputError("A card of the guest could not be understood.", evidence=line)
        carrier = {"1": True, "0": False}.get(words[3])
        nics.append(GuestNic(words[0], words[1].lower(), words[2], carrier))
    return tuple(nics)


def parse_channels(text: str) -> dict[str, QueueCounts]:
    """Parse ``ethtool -l`` into channels by interface; a card without channels is left out.

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
    channels = {}
    for block in re.split(r"^interface ", text, flags=re.MULTILINE)[1:]:
        name = block.split("\n", 1)[0].strip()
        combined = re.findall(r"^Combined:\s+(\d+)$", block, re.MULTILINE)
        if len(combined) == 2:
            channels[name] = QueueCounts(most=int(combined[0]), now=int(combined[1]))
    return channels


def parse_receive_rings(text: str) -> dict[str, int]:
    """Parse ``ethtool -g`` into the buffers of the receiving ring by interface.

    ::

        interface eth0
        Ring parameters for eth0:
        Pre-set maximums:
        RX:             1024
        Current hardware settings:
        RX:             16
    """
    rings = {}
    for block in re.split(r"^interface ", text, flags=re.MULTILINE)[1:]:
        name = block.split("\n", 1)[0].strip()
        sizes = re.findall(r"^RX:\s+(\d+)$", block, re.MULTILINE)
        if len(sizes) == 2:
            rings[name] = int(sizes[1])
    return rings


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(words[0], words[1]) for line in text.split("\n") if len(words := line.split()) == 2]
