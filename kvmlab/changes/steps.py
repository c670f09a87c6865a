"""Steps: the smallest changes that a plan consists of, each with its undo.

A step of the host moves one *setting*, something that can be read at one path of /sys, from its
value before to the value that a scheme needs. Because the setting can be read, a step that was
never applied, was applied halfway or is undone already is recognised, and undoing it twice does
nothing: that is what lets `restore` work from a journal after a crash.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from kvmlab.domain import alias_for


@dataclass(frozen=True)
class Setting:
    """A value of the host that reads as one short text, before and after a step.

    ``path`` is a file or a link; a link reads as the last part of its target, a directory as
    "present", a network device's ``flags`` as "up" or "down" and what is missing as None.
    """

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Command:
    """One command of a step: an argv and its standard input.

    ``only_when`` is a path and the value at which the command is needed at all; ``shown_as`` says
    in one line what a script does.
    """

    argv: tuple[str, ...]
    input_text: str | None = None
    only_when: tuple[str, str] | None = None
    shown_as: str = ""
    #: Name and values of the operation that this command is; () for one that no journal may hold.
    operation: tuple[str, ...] = ()

    @property
    def exact(self) -> str:
        """The argv that runs, and how much it reads."""
        text = shlex.join(self.argv)
        if self.input_text is not None:
            first = self.input_text.partition("\n")[0].lstrip("# ").partition(":")[0]
            text += f" < {len(self.input_text)} bytes: {first[:60]}"
        return text

    @property
    def shown(self) -> str:
        """The command as a person would type it."""
        text = self.shown_as or shlex.join(self.argv)
        if self.argv[0] == "tee" and self.input_text is not None:
            text = f"echo {shlex.quote(self.input_text.strip())} > {shlex.quote(self.argv[-1])}"
        elif self.input_text is not None and not self.shown_as:
            text += "   # reads:\n" + self.input_text.rstrip()
        if self.only_when is not None and not self.shown_as:
            path, value = self.only_when
            text += f"   # only where {path} reads {value}"
        return text

    @classmethod
    def write(cls, path: str, text: str, *, only_when: tuple[str, str] | None = None) -> Self:
        """Write a text into a file of the host, as root."""
        return cls(("tee", path), text + "\n", only_when)


@dataclass(frozen=True)
class Step(ABC):
    """One change and its undo. ``what`` is a sentence that says what changes and why."""

    kind: ClassVar[str]
    what: str

    @property
    @abstractmethod
    def before(self) -> str:
        """The state before, in words for a table."""

    @property
    @abstractmethod
    def after(self) -> str:
        """The state after the step, in words for a table."""

    @property
    @abstractmethod
    def do_text(self) -> tuple[str, ...]:
        """The commands that make the change, as a person would type them."""

    @property
    @abstractmethod
    def undo_text(self) -> tuple[str, ...]:
        """The commands that undo the change, as a person would type them."""


@dataclass(frozen=True)
class HostStep(Step):
    """Moves one setting of the host by commands, and back by others.

    ``touches`` names the host interfaces (or PCI addresses) that the step changes: the guard
    reads it. A step that ``settles`` has an undo that leads back from any value of the setting,
    since others (libvirt, a driver) move it too. A step ``below_device`` is not undone while the
    VM still has the device that depends on it. A step ``after_attach`` moves a setting of the
    device that the host has for the VM's interface, so it is made once that is plugged in, and
    gone with it. ``meanings`` are pairs of a text that a rejected command prints and the sentence
    that explains it.
    """

    kind: ClassVar[str] = "host"
    setting: Setting
    do: tuple[Command, ...]
    undo: tuple[Command, ...]
    touches: tuple[str, ...] = ()
    settles: bool = False
    below_device: bool = False
    after_attach: bool = False
    meanings: tuple[tuple[str, str], ...] = ()

    @property
    def before(self) -> str:
        """The setting's value before."""
        return _words(self.setting.before)

    @property
    def after(self) -> str:
        """The setting's value after."""
        return _words(self.setting.after)

    @property
    def do_text(self) -> tuple[str, ...]:
        """The commands, in order."""
        return tuple(command.shown for command in self.do)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The commands, in order."""
        return tuple(command.shown for command in self.undo)


@dataclass(frozen=True)
class AttachInterface(Step):
    """Hot-plugs a device into the running test VM; its undo unplugs it by its alias.

    ``vhost_workers`` is the number of kernel threads that must serve it afterwards: libvirt falls
    back to QEMU silently where vhost_net is missing. ``touches`` is as for `HostStep`. ``device``
    is the alias in the XML, where it is not the usual one of the MAC.
    """

    kind: ClassVar[str] = "attach"
    domain: str
    mac: str
    interface_xml: str
    vhost_workers: int = 0
    touches: tuple[str, ...] = ()
    device: str = ""

    @property
    def alias(self) -> str:
        """The device's alias in the VM's XML, by which it is found again."""
        return self.device or alias_for(self.mac)

    @property
    def before(self) -> str:
        """The VM has no such interface."""
        return "absent"

    @property
    def after(self) -> str:
        """The VM has it."""
        return f"interface {self.mac}"

    @property
    def do_text(self) -> tuple[str, ...]:
        """The virsh command; the XML is in the plan."""
        return (f"virsh attach-device {shlex.quote(self.domain)} interface.xml --live",)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The virsh command."""
        return (f"virsh detach-device-alias {shlex.quote(self.domain)} {self.alias} --live",)


@dataclass(frozen=True)
class ConfigureGuest(Step):
    """Gives the interface its address inside the VM and waits until the peer answers a ping.

    It has no undo: the settings go with the interface. ``timeout_sec`` are seconds of the VM's
    own clock. ``channels`` are the queue pairs to use, 0 for the driver's own choice. Without
    ``must_answer`` it does not wait for the peer: to show an interface that does not reach it.
    """

    kind: ClassVar[str] = "configure"
    mac: str
    vm_address: str
    peer_address: str
    timeout_sec: int
    channels: int = 0
    must_answer: bool = True

    @property
    def before(self) -> str:
        """A new interface has no address."""
        return "no address"

    @property
    def after(self) -> str:
        """The address that it gets."""
        return self.vm_address

    @property
    def do_text(self) -> tuple[str, ...]:
        """The commands in the guest; the interface's name is known once it is attached."""
        peer = self.peer_address.partition("/")[0]
        lines = [
            f"ip address replace {self.vm_address} dev ethN",
            "ip link set dev ethN up",
        ]
        if self.channels:
            lines.insert(0, f"ethtool -L ethN combined {self.channels}")
        if self.must_answer:
            lines.append(f"ping -c 1 {peer}   (until it answers)")
        return tuple(f"in the VM: {line}" for line in lines)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """Nothing: the address goes with the interface."""
        return ()


@dataclass(frozen=True)
class RestartVm(Step):
    """Starts the lab's own VM anew with another definition; its undo starts it with the old one.

    Both are the persistent definitions as libvirt prints them. Whatever ran inside the VM ends.
    """

    kind: ClassVar[str] = "restart"
    domain: str
    old_xml: str
    new_xml: str

    @property
    def before(self) -> str:
        """The definition as it was."""
        return "as defined"

    @property
    def after(self) -> str:
        """The lines that the new definition has and the old one has not."""
        old = self.old_xml.splitlines()
        added = (line.strip() for line in self.new_xml.splitlines() if line not in old)
        return "; ".join(added) or "the same definition"

    @property
    def do_text(self) -> tuple[str, ...]:
        """The virsh commands; the changed lines are in ``after``."""
        name = shlex.quote(self.domain)
        return (f"virsh destroy {name}", "virsh define domain.xml", f"virsh start {name}")

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The same commands, with the old definition."""
        return self.do_text


@dataclass(frozen=True)
class GuestSetting(Step):
    """Writes a file of /sys or /proc/sys inside the VM; its undo writes the old text again."""

    kind: ClassVar[str] = "guest-setting"
    domain: str
    path: str
    old: str
    new: str

    @property
    def before(self) -> str:
        """The text before."""
        return self.old

    @property
    def after(self) -> str:
        """The text after."""
        return self.new

    @property
    def do_text(self) -> tuple[str, ...]:
        """The command inside the VM."""
        return (f"in the VM: echo {shlex.quote(self.new)} > {self.path}",)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The command inside the VM."""
        return (f"in the VM: echo {shlex.quote(self.old)} > {self.path}",)


@dataclass(frozen=True)
class TuneGuest(Step):
    """Runs commands on the interface inside the VM; their effect ends with the interface.

    ``commands`` hold "ethN" where the interface's name belongs. Each of ``checks`` is a command
    and a regular expression that its output must match afterwards, since ethtool reports success
    for some settings that a driver did not take.
    """

    kind: ClassVar[str] = "tune-guest"
    mac: str
    commands: tuple[tuple[str, ...], ...]
    checks: tuple[tuple[tuple[str, ...], str], ...] = ()

    @property
    def before(self) -> str:
        """A new interface is as its driver made it."""
        return "the driver's default"

    @property
    def after(self) -> str:
        """The commands' effect."""
        return "set"

    @property
    def do_text(self) -> tuple[str, ...]:
        """The commands inside the VM."""
        return tuple(f"in the VM: {shlex.join(command)}" for command in self.commands)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """Nothing: the settings go with the interface."""
        return ()


@dataclass(frozen=True)
class DefineInterface(Step):
    """Writes a device into a domain's persistent definition; its undo removes it again.

    ``before_xml`` is the definition before, without its passwords.
    """

    kind: ClassVar[str] = "define"
    domain: str
    mac: str
    interface_xml: str
    before_xml: str

    @property
    def before(self) -> str:
        """The definition has no such device."""
        return "absent"

    @property
    def after(self) -> str:
        """The definition has it."""
        return f"interface {self.mac}, from the VM's next start"

    @property
    def do_text(self) -> tuple[str, ...]:
        """The virsh command; the XML is in the plan."""
        return (f"virsh attach-device {shlex.quote(self.domain)} interface.xml --config",)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The virsh command."""
        alias = alias_for(self.mac)
        return (f"virsh detach-device-alias {shlex.quote(self.domain)} {alias} --config",)


def _words(value: str | None) -> str:
    if value is None:
        return "absent"
    return value or "empty"
