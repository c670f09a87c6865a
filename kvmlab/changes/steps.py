"""Steps: the smallest changes that a plan is made of, each with its undo.

A step of the host moves one *setting* - something that can be read at one path of /sys - from what
was found to what a scheme needs. Because the setting can be read, a step that was never made, was
made halfway or was undone already is recognised, and undoing it twice does nothing: that is what
lets `restore` work from a journal after a crash.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from kvmlab.errors import OutputError

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host


@dataclass(frozen=True)
class Command:
    """One command of a step: an argv, and what it reads from its standard input."""

    argv: tuple[str, ...]
    input_text: str | None = None

    @property
    def shown(self) -> str:
        """The command as a person would type it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Setting:
    """Something of a host that reads as one short text, and what a step makes of it.

    ``path`` is a file or a link under /sys; a link reads as the last part of its target, a
    directory as "present", a network device's ``flags`` as "up" or "down" and what is missing
    as None.
    """

    path: str
    before: str | None
    after: str | None


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


@dataclass(frozen=True)
class HostStep(Step):
    """Moves one setting of the host by commands, and back by others.

    ``touches`` names the host interfaces (or PCI addresses) that the step changes: the guard
    reads it.
    """

    kind: ClassVar[str] = "host"
    setting: Setting
    do: tuple[Command, ...]
    undo: tuple[Command, ...]
    touches: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttachInterface(Step):
    """Hot-plugs an interface into the running test VM; its undo unplugs it by its MAC."""

    kind: ClassVar[str] = "attach"
    domain: str
    interface_xml: str
    mac: str


@dataclass(frozen=True)
class ConfigureGuest(Step):
    """Gives the interface its address inside the VM and waits until the peer answers a ping.

    It has no undo: what it sets goes with the interface.
    """

    kind: ClassVar[str] = "configure"
    mac: str
    vm_address: str
    peer_address: str
    timeout_sec: float


def step_from_dict(data: Mapping[str, Any]) -> Step:
    """Read a step from a journal.

    Raises:
        OutputError: the journal was written by a kvmlab that knew other steps.
    """
    raise NotImplementedError
