"""Steps: the smallest changes that a plan is made of, each with its undo.

A step of the host moves one *setting* - something that can be read at one path of /sys - from what
was found to what a scheme needs. Because the setting can be read, a step that was never made, was
made halfway or was undone already is recognised, and undoing it twice does nothing: that is what
lets `restore` work from a journal after a crash.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from kvmlab.domain import alias_for
from kvmlab.errors import OutputError


@dataclass(frozen=True)
class Setting:
    """Something of a host that reads as one short text, and what a step makes of it.

    ``path`` is a file or a link; a link reads as the last part of its target, a directory as
    "present", a network device's ``flags`` as "up" or "down" and what is missing as None.
    """

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Command:
    """One command of a step: an argv, and what it reads from its standard input.

    ``only_when`` is a path and what it must read for the command to be needed at all;
    ``shown_as`` says in one line what a script does, and when.
    """

    argv: tuple[str, ...]
    input_text: str | None = None
    only_when: tuple[str, str] | None = None
    shown_as: str = ""

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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a command from a journal."""
        when = data["only_when"]
        return cls(
            tuple(data["argv"]),
            data["input_text"],
            tuple(when) if when else None,
            data.get("shown_as", ""),
        )


@dataclass(frozen=True)
class Step(ABC):
    """One change and its undo. ``what`` is a sentence that says what changes and why."""

    kind: ClassVar[str]
    what: str

    @property
    @abstractmethod
    def before(self) -> str:
        """What was found, in words for a table."""

    @property
    @abstractmethod
    def after(self) -> str:
        """What the step makes of it, in words for a table."""

    @property
    @abstractmethod
    def do_text(self) -> tuple[str, ...]:
        """The commands that make the change, as a person would type them."""

    @property
    @abstractmethod
    def undo_text(self) -> tuple[str, ...]:
        """The commands that undo the change, as a person would type them."""

    def to_dict(self) -> dict[str, Any]:
        """The step as JSON, for the journal; `step_from_dict` reads it."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a step of this kind from a journal."""
        return cls(**data)


@dataclass(frozen=True)
class HostStep(Step):
    """Moves one setting of the host by commands, and back by others.

    ``touches`` names the host interfaces (or PCI addresses) that the step changes: the guard
    reads it. A step that ``settles`` has an undo that leads back from whatever the setting reads,
    since others (libvirt, a driver) move it too. What is ``below_device`` is not undone while the
    VM still has the device that stands on it. ``meanings`` are pairs of what a refused command
    prints and what that means here.
    """

    kind: ClassVar[str] = "host"
    setting: Setting
    do: tuple[Command, ...]
    undo: tuple[Command, ...]
    touches: tuple[str, ...] = ()
    settles: bool = False
    below_device: bool = False
    meanings: tuple[tuple[str, str], ...] = ()

    @property
    def before(self) -> str:
        """What the setting read."""
        return _words(self.setting.before)

    @property
    def after(self) -> str:
        """What it will read."""
        return _words(self.setting.after)

    @property
    def do_text(self) -> tuple[str, ...]:
        """The commands, in order."""
        return tuple(command.shown for command in self.do)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The commands, in order."""
        return tuple(command.shown for command in self.undo)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a step of this kind from a journal."""
        return cls(
            what=data["what"],
            setting=Setting(**data["setting"]),
            do=tuple(Command.from_dict(command) for command in data["do"]),
            undo=tuple(Command.from_dict(command) for command in data["undo"]),
            touches=tuple(data["touches"]),
            settles=data.get("settles", False),
            below_device=data.get("below_device", False),
            meanings=tuple((said, means) for said, means in data.get("meanings", ())),
        )


@dataclass(frozen=True)
class AttachInterface(Step):
    """Hot-plugs a device into the running test VM; its undo unplugs it by its alias.

    ``vhost_workers`` is how many threads of the kernel's must serve it afterwards: libvirt falls
    back to QEMU silently where vhost_net is missing. ``touches`` is as for `HostStep`.
    """

    kind: ClassVar[str] = "attach"
    domain: str
    mac: str
    interface_xml: str
    vhost_workers: int = 0
    touches: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a step of this kind from a journal."""
        return cls(**{**data, "touches": tuple(data.get("touches", ()))})

    @property
    def alias(self) -> str:
        """The device's name in the VM's XML, by which it is found again."""
        return alias_for(self.mac)

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
        """Virsh's words for it; the XML is in the plan."""
        return (f"virsh attach-device {shlex.quote(self.domain)} interface.xml --live",)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """Virsh's words for it."""
        return (f"virsh detach-device-alias {shlex.quote(self.domain)} {self.alias} --live",)


@dataclass(frozen=True)
class ConfigureGuest(Step):
    """Gives the interface its address inside the VM and waits until the peer answers a ping.

    It has no undo: what it sets goes with the interface. ``timeout_sec`` are seconds of the VM's
    own clock. ``channels`` are the queue pairs to use, 0 to leave that to the driver. Without
    ``must_answer`` nobody waits for the peer: to show an interface that does not reach it.
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
        """What the guest agent is asked to do; the name is known once the card is there."""
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


def step_from_dict(data: Mapping[str, Any]) -> Step:
    """Read a step from a journal.

    Raises:
        OutputError: the journal was written by a kvmlab that knew other steps.
    """
    fields = {name: value for name, value in data.items() if name != "kind"}
    kinds: dict[str, type[Step]] = {kind.kind: kind for kind in Step.__subclasses__()}
    try:
        return kinds[data["kind"]].from_dict(fields)
    except (KeyError, TypeError) as error:
        raise OutputError(
            "A journal holds a step that this version of kvmlab does not know.",
            todo="Restore with the version that wrote it.",
            evidence=str(data)[:2000],
        ) from error


def _words(value: str | None) -> str:
    if value is None:
        return "absent"
    return value or "empty"
