"""The base class of all tunings."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from kvmlab.domain import LAB_VM_NAME
from kvmlab.errors import Unavailable, UsageError
from kvmlab.facts import Rule
from kvmlab.facts.rules import unavailable
from kvmlab.tunings.texts import TuningText, text_of

if TYPE_CHECKING:
    from kvmlab.changes import HostStep
    from kvmlab.domain import Domain, Interface
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable
    from kvmlab.schemes import Scheme

#: The host's device of the VM's interface, under a name that is known before it exists.
TAP = "kvmlabtap0"


class TuningPlace(StrEnum):
    """Places in which a tuning sets something."""

    GUEST = "guest"
    VM = "VM"
    HOST = "host"


@dataclass(frozen=True)
class Target:
    """A scheme on a host, to which a tuning is applied.

    ``settings`` are those that its tunings asked for (`Tuning.reads`), as they read when the plan
    was made; None stands for a missing one. Without a reachable host there are none.
    """

    facts: HostFacts
    cable: Cable
    scheme: Scheme
    interface: Interface | None
    vm_name: str = LAB_VM_NAME
    settings: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_virtio(self) -> bool:
        """True where the VM's interface is a virtio NIC."""
        return self.interface is not None and self.interface.model == "virtio"

    @property
    def has_bridge(self) -> bool:
        """True where packets pass the lab's bridge and a tap of the VM."""
        return self.interface is not None and self.interface.type == "bridge"


@dataclass(frozen=True)
class Tuning(ABC):
    """One setting beside a scheme, with its values, its default and its undo. Frozen.

    A subclass names itself (`id`, `values`, `default`, `place`; its sentences stand under its id
    in ``texts.toml``) and overrides the hooks
    of what it sets: the XML of the interface, the host before and after the interface is plugged
    in, the guest, or the whole VM, which is then started anew. `TunedScheme` makes one plan of a
    scheme and its tunings, so that all of it is shown, guarded, journalled and undone as any plan.

    Raises:
        UsageError: ``value`` is none of the tuning's.
    """

    id: ClassVar[str]
    values: ClassVar[tuple[str, ...]]
    default: ClassVar[str]
    place: ClassVar[TuningPlace]
    #: True where it works with the VM started anew with another definition.
    restarts_vm: ClassVar[bool] = False
    #: True where nothing but the VM's own interface is touched: fit for a host with other users.
    is_local: ClassVar[bool] = False
    #: True where its effect is a matter of several CPUs, which the virtual clock does not have.
    needs_wall_clock: ClassVar[bool] = False
    #: The values of which an atlas has a row; empty for all but the default.
    surveyed: ClassVar[tuple[str, ...]] = ()
    value: str

    def __post_init__(self) -> None:
        if self.value not in self.values:
            raise UsageError(
                f"{self.value!r} is no value of the tuning {self.id}.",
                todo=f"Use one of {', '.join(self.values)}.",
            )

    def __str__(self) -> str:
        return f"{self.id}={self.value}"

    @property
    def text(self) -> TuningText:
        """Its sentences, in both languages."""
        return text_of(self.id)

    @property
    def is_default(self) -> bool:
        """True for the value that a scheme has without tunings."""
        return self.value == self.default

    def refusal(self, target: Target) -> str:
        """Return why it cannot be applied there, in a sentence; "" where it can."""
        return "" if target.is_virtio else "Only a virtio NIC has it."

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return the paths of the host's settings that it needs to know (`Target.settings`)."""
        return ()

    def edit_interface(self, interface: Interface, target: Target) -> None:  # noqa: B027  # a hook
        """Change the XML of the interface that is plugged in."""

    def edit_domain(self, domain: Domain) -> None:  # noqa: B027  # a hook
        """Change the XML of the VM (`restarts_vm`)."""

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Return the changes of the host before the interface is plugged in."""
        return ()

    def tap_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Return the changes of the host's device `TAP`, or of what depends on it."""
        return ()

    def guest_settings(self) -> tuple[tuple[str, str], ...]:
        """Return files inside the VM, each with its new text, written before plugging in."""
        return ()

    def guest_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return commands inside the VM, once the interface is up; "ethN" is its name."""
        return ()

    def guest_checks(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Return commands inside the VM and what their output must match afterwards."""
        return ()

    def check(self, target: Target) -> None:
        """Raise unless it can be applied there.

        Raises:
            Unavailable: it cannot; the rule's id is "tuning-unavailable".
        """
        reason = self.refusal(target)
        if not reason and self.restarts_vm and target.facts.emulated is None:
            reason = (
                "The VM has to be started anew for it, which kvmlab does to its own VM on an "
                "embedded host only."
            )
        if reason:
            raise self.unavailable(reason)

    def unavailable(self, reason: str) -> Unavailable:
        """Return the error of a tuning that cannot be applied."""
        return unavailable(
            Rule.TUNING_UNAVAILABLE, f"The tuning {self} cannot be applied. {reason}"
        )
