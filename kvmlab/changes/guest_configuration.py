"""Configuration of the interface inside the VM: one static script, one guest-agent call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.changes.steps import ConfigureGuest, TuneGuest
from kvmlab.errors import GuestCommandFailed, OutputError, StepFailed
from kvmlab.hosts import script_text

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

_WALL_PER_GUEST_SEC: Final = 4
_TUNE_SEC: Final = 60
#: The word of a `TuneGuest` command that stands for the interface's name.
INTERFACE: Final = "ethN"


@dataclass(frozen=True)
class ConfiguredInterface:
    """The configured interface. Seconds count from the script's start, on the VM's own clock."""

    name: str
    driver: str
    found_sec: float
    carrier_sec: float
    answered_sec: float


def configure(step: ConfigureGuest, vm: TestVM) -> ConfiguredInterface:
    """Give the interface its address inside the VM and wait until the peer answers a ping.

    Raises:
        StepFailed: no such interface, no link or no answer in time; the evidence says which.
        AgentTimeout: the guest agent does not answer.
    """
    peer = step.peer_address.partition("/")[0] if step.must_answer else "-"
    parameters = (step.mac, step.vm_address, peer, str(step.timeout_sec), str(step.channels))
    argv = ("sh", "-s", "--", *parameters)
    try:
        done = vm.agent.run(
            argv,
            # A second in the VM may last several wall seconds: an emulated host's virtual time.
            timeout_sec=step.timeout_sec * _WALL_PER_GUEST_SEC + 15,
            input_text=script_text("kvmlab.changes", "configure_guest.sh"),
        )
    except GuestCommandFailed as error:
        raise StepFailed(
            f"The interface {step.mac} could not be used inside {vm.name}.",
            todo="If it was not found, the guest's kernel may lack the card's driver; if nothing "
            "answered, look at the cable and at the peer.",
            evidence=error.completed.stdout + error.completed.stderr,
        ) from error
    return parse_configured(done.stdout)


def tune(step: TuneGuest, interface: str, vm: TestVM) -> None:
    """Run the step's commands on the interface inside the VM, then its checks.

    Raises:
        StepFailed: a command failed, or the driver did not take a setting.
        AgentTimeout: the guest agent does not answer.
    """
    for command in step.commands:
        argv = _on(interface, command)
        done = vm.agent.run(argv, timeout_sec=_TUNE_SEC, check=False)
        # ethtool calls it a failure when nothing had to change; the checks decide.
        if done.returncode != 0 and not step.checks:
            raise _not_taken(step, vm, done.stdout + done.stderr)
    for command, pattern in step.checks:
        done = vm.agent.run(_on(interface, command), timeout_sec=_TUNE_SEC, check=False)
        if re.search(pattern, done.stdout, re.MULTILINE) is None:
            raise _not_taken(step, vm, done.stdout + done.stderr)


def _on(interface: str, command: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(interface if word == INTERFACE else word for word in command)


def _not_taken(step: TuneGuest, vm: TestVM, output: str) -> StepFailed:
    return StepFailed(
        f"{step.what} The driver in {vm.name} did not take it.",
        todo="What the tool printed is below; `ethtool -k`, `-g` and `-c` in the VM show what the "
        "driver can change.",
        evidence=output[-2000:],
    )


def parse_configured(text: str) -> ConfiguredInterface:
    """Parse the output of ``configure_guest.sh``.

    Its output::

        interface eth0
        driver virtio_net
        seconds 0.04 0.05 0.11

    Raises:
        OutputError: a line is missing or of another shape.
    """
    fields = dict(line.partition(" ")[::2] for line in text.splitlines())
    try:
        appeared, carrier, answered = (float(word) for word in fields["seconds"].split())
        return ConfiguredInterface(
            fields["interface"], fields["driver"], appeared, carrier, answered
        )
    except (KeyError, ValueError) as error:
        raise OutputError(
            "The VM's report on its new interface could not be parsed.", evidence=text
        ) from error
