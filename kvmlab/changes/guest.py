"""Configuring the interface inside the VM: one static script, one call of the guest agent."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from kvmlab.changes.steps import ConfigureGuest
from kvmlab.errors import GuestCommandFailed, OutputError, StepFailed

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

_OUR_SECONDS: Final = 4


@dataclass(frozen=True)
class GuestInterface:
    """What the script found. Seconds count from its begin, by the VM's own clock."""

    name: str
    driver: str
    found_sec: float
    carrier_sec: float
    answered_sec: float


def configure(step: ConfigureGuest, vm: TestVM) -> GuestInterface:
    """Address the interface inside the VM and wait until the peer answers from there.

    Raises:
        StepFailed: no such interface, no link or no answer in time; the evidence says which.
        AgentTimeout: the guest agent does not answer.
    """
    script = files("kvmlab.changes").joinpath("scripts", "configure_guest.sh")
    peer = step.peer_address.partition("/")[0] if step.must_answer else "-"
    wanted = (step.mac, step.vm_address, peer, str(step.timeout_sec), str(step.channels))
    argv = ("sh", "-s", "--", *wanted)
    try:
        done = vm.agent.run(
            argv,
            # Seconds in the VM may last several of ours: on an emulated host, in virtual time.
            timeout_sec=step.timeout_sec * _OUR_SECONDS + 15,
            input_text=script.read_text(encoding="utf-8"),
        )
    except GuestCommandFailed as error:
        raise StepFailed(
            f"The interface {step.mac} could not be used inside {vm.name}.",
            todo="If it was not found, the guest's kernel may lack the card's driver; if nothing "
            "answered, look at the cable and at the peer.",
            evidence=error.completed.stdout + error.completed.stderr,
        ) from error
    return parse_configured(done.stdout)


def parse_configured(text: str) -> GuestInterface:
    """Read what ``configure_guest.sh`` prints.

    Its output::

        interface eth0
        driver virtio_net
        seconds 0.04 0.05 0.11

    Raises:
        OutputError: a line is missing or of another shape.
    """
    said = dict(line.partition(" ")[::2] for line in text.splitlines())
    try:
        found, carrier, answered = (float(word) for word in said["seconds"].split())
        return GuestInterface(said["interface"], said["driver"], found, carrier, answered)
    except (KeyError, ValueError) as error:
        raise OutputError(
            "What the VM said about its new interface could not be understood.", evidence=text
        ) from error
