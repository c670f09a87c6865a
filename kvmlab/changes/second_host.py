"""The step that makes a second KVM host inside the embedded one, and its undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kvmlab.changes.operations import is_interface, is_pci, register
from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.domain import LAB_POOL, LAB_TAP_POOL
from kvmlab.facts.interface_users import LAB_BRIDGE
from kvmlab.hosts import script_text

FOLDER: Final = "/run/kvmlab-second"
NAME: Final = "hostb"
#: Both QEMUs are in one kernel, but in two networks: they meet at a socket of the file system.
TRANSPORT: Final = f"unix://{FOLDER}/migration.sock"
_UUID: Final = "6b766d6c-6162-4b48-8000-000000000002"


@dataclass(frozen=True)
class SecondHostPorts:
    """Ports of the second host: ``port`` for its bridge, and a PF with one VF where named.

    ``address`` is the PF's PCI address; "" for both where it gets none.
    """

    port: str
    pf: str = ""
    address: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The names, as the operation's values."""
        return (self.port, *((self.pf, self.address) if self.pf else ()))


def second_host_step(ports: SecondHostPorts) -> HostStep:
    """Return the step that makes the second host, with these ports."""
    what = f"Make the second host {NAME}: a libvirtd in namespaces of its own, with the port " + (
        f"{ports.port} on a bridge {LAB_BRIDGE} of its own"
    )
    if ports.pf:
        what += f", and a VF of {ports.pf} in its networks {LAB_POOL} and {LAB_TAP_POOL}"
    return HostStep(
        what=f"{what}.",
        setting=Setting(FOLDER, None, "present"),
        do=(_command("up", ports.words),),
        undo=(remove_second_host(*ports.words),),
        touches=(ports.port,),
    )


def repair_second_host() -> Command:
    """Return the command that starts the second host's libvirtd again where it has died."""
    return _command("up", ())


@register("remove-second-host", is_interface, more=str.isprintable)
def remove_second_host(port: str, *function: str) -> Command:
    """End the second host, with the VMs in it; its ports come back.

    Raises:
        ValueError: ``function`` is not empty, and no name and PCI address of a PF.
    """
    if function and not (len(function) == 2 and is_interface(function[0]) and is_pci(function[1])):
        raise ValueError(f"{' '.join(function)[:80]!r} is no port of a second host")
    return _command("down", (port, *function))


def _command(action: str, ports: tuple[str, ...]) -> Command:
    words = (
        action,
        FOLDER,
        NAME,
        _UUID,
        LAB_BRIDGE,
        *ports,
        *((LAB_POOL, LAB_TAP_POOL) if ports[1:] else ()),
    )
    return Command(
        ("sh", "-s", "--", *words),
        script_text("kvmlab.changes", "second_host.sh"),
        shown_as=f"second_host.sh {' '.join(words)}",
    )
